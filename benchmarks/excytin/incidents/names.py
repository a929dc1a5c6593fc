"""Names for generated incidents. A name alone decides which split may use it, so no two seeds can share one across."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Literal
from uuid import UUID

Split = Literal["train", "test"]

_TEST_SHARE = 4
"""One possible name in four belongs to the test split."""
_FIRST = (
    "Ada Amir Anouk Bela Bruno Carla Chidi Dana Dario Edda Emil Fadi Farah Greta Hugo Ilse Imani Jonas Juno Kaito Kira "
    "Lars Leila Mara Milan Nadia Nils Oksana Olaf Paola Priya Quentin Rana Ravi Rosa Selim Sven Tala Tomas Uma Vera "
    "Wanda Xenia Yusuf Zora"
).split()
_LAST = (
    "Abbas Adeyemi Almeida Arnesen Bakker Barros Bauer Castell Chandra Dahl Dembele Dietz Eklund Esposito Farkas "
    "Ferreira Gruber Haddad Halvorsen Ibarra Iyer Jansen Jovanovic Kaya Keller Kowal Lindqvist Lombardi Maas Mbeki "
    "Moreau Nakata Nowak Okafor Olsen Pavlov Pereira Quist Rahimi Rossi Sato Schuster Silva Tanaka Thorne Uddin "
    "Vargas Vasquez Weber Wolff Yilmaz Zimmer"
).split()
_STARTS = "b br c cr d dr f fl g gl h j k kr l m n p pl pr qu r s sk st t tr v w z".split()
_MIDDLES = "a e i o u ai au ea ia oa ou".split()
_ENDS = "b ck d ft g l lm m n nd nt p r rk rn s sk st t x".split()
_START_OF_TIME = datetime.fromisoformat("2025-01-06 00:00:00+00:00")


def belongs(name: str) -> Split:
    """The split that ``name`` may be used in."""
    digest = hashlib.sha256(name.casefold().encode()).digest()
    return "test" if digest[0] % _TEST_SHARE == 0 else "train"


class Namer:
    """Draws names that belong to ``split``, each at most once."""

    def __init__(self, split: Split, rng: Random) -> None:
        self.split = split
        self.rng = rng
        self._used: set[str] = set()

    def fresh(self, draw: Callable[[], str]) -> str:
        """The first of the names that ``draw`` gives which is the split's and not used yet."""
        while True:
            name = draw()
            if name.casefold() not in self._used and belongs(name) == self.split:
                self._used.add(name.casefold())
                return name

    def word(self) -> str:
        """A word of no language, of two syllables."""
        return self.fresh(lambda: syllables(self.rng))

    def person(self) -> tuple[str, str]:
        """First and last name."""
        first, _, last = self.fresh(lambda: f"{self.rng.choice(_FIRST)} {self.rng.choice(_LAST)}").partition(" ")
        return first, last

    def outside(self) -> str:
        """An address of the internet."""
        return self.fresh(lambda: outside(self.rng))

    def inside(self) -> str:
        """An address of the company's network."""
        return self.fresh(
            lambda: f"10.{self.rng.randint(1, 250)}.{self.rng.randint(0, 250)}.{self.rng.randint(2, 250)}"
        )

    def guid(self) -> str:
        return self.fresh(lambda: guid(self.rng))

    def sid(self, authority: str) -> str:
        return self.fresh(lambda: f"{authority}-{self.rng.randint(1100, 99_999)}")

    def digest(self, bits: int) -> str:
        """A hash of so many bits, in hex."""
        return self.fresh(lambda: f"{self.rng.getrandbits(bits):0{bits // 4}x}")


def syllables(rng: Random, count: int = 2) -> str:
    return "".join(rng.choice(_STARTS) + rng.choice(_MIDDLES) for _ in range(count)) + rng.choice(_ENDS)


def outside(rng: Random) -> str:
    # 100 to 169 and 173 to 191: none of them private, none of them multicast.
    first = rng.choice([*range(101, 127), *range(128, 169), *range(173, 192)])
    return f"{first}.{rng.randint(1, 254)}.{rng.randint(0, 254)}.{rng.randint(1, 254)}"


def guid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def begin(rng: Random) -> datetime:
    """When an incident begins: some day of 2025, in working hours."""
    return _START_OF_TIME + timedelta(days=rng.randrange(300), seconds=rng.randrange(8 * 3600, 17 * 3600))


def stamp(when: datetime) -> str:
    """A time as the tables write it, always with microseconds."""
    return when.isoformat(sep=" ", timespec="microseconds")
