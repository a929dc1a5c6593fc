"""What may enter a memory: texts are cleaned, and what tries to instruct a later reader is quarantined.

Observations, tool results, thoughts and goals are untrusted: whoever writes a web page or a log line that an agent
reads can try to reach the next agent through its memory (prompt injection, and poisoning: LLM01 and LLM04 in OWASP's
list of 2025). Three layers stand in between. :func:`clean` takes out what no reader sees; :func:`scan` says what is
suspicious, and :func:`vet` quarantines it with its reason; what is admitted is shown framed as data
(:mod:`atlas.framing`). None of them is a proof. That is why entries enter on trial as well, and have to earn their
place by what they do to the outcomes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import ValidationError

from atlas.framing import clean as clean
from atlas.framing import hidden, smuggled
from atlas.memory.database import Status
from atlas.memory.demonstration import Demonstration
from atlas.memory.safety_readings import leet, readings
from atlas.memory.safety_rules import HIDDEN, RULES, SECRET, WHY, Rule
from atlas.memory.safety_screen import Screen
from atlas.memory.safety_told import untold
from atlas.record import Record
from atlas.redact import scrub

Profile = Literal["text", "data"]
"""``text`` is strict: guidance, which is read as advice. ``data`` is lenient: what was recorded, shown as a record."""

PROFILES: tuple[Profile, ...] = ("text", "data")

R = TypeVar("R", bound=Record)

_OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that show text in another order than it has."""
_FLAG = 6
"""Tag characters in the flag of Scotland, which hides nothing."""
_SHORT = 2_000
"""Characters up to which what was found in a text is remembered."""
LOOKED_AT = 500_000
"""Characters of an item that are looked at, which takes a second or so; a longer one is quarantined for that alone."""
_SHOWN = 80
"""Characters of an excerpt."""


class Finding(NamedTuple):
    """Something suspicious in a text."""

    kind: str
    """One of those in :data:`atlas.memory.safety_rules.WHY`."""
    excerpt: str
    """The place, as it was read: in lower case and decoded; for people, never for a prompt."""
    why: str
    """One clause for the reason that is kept with a quarantined item."""


_ALL = {profile: tuple(rule for rule in RULES if rule.lenient or profile == "text") for profile in PROFILES}


@cache
def _by_needs(profile: Profile, plain: bool) -> dict[str, list[int]]:
    """The rules, by place, that need a text, which is empty for those that always have to be run; where ``plain``,
    those that may find something in ASCII."""
    found: dict[str, list[int]] = {"": []}
    for place, rule in enumerate(_ALL[profile]):
        for need in (rule.needs or {""}) if not (plain and rule.foreign) else ():
            if not plain or need.isascii():
                found.setdefault(need, []).append(place)
    return found


def _rules(reading: str, spelt: str, profile: Profile) -> list[Rule]:
    """Those that may find something: looking for what they need first is most of what makes this quick."""
    places = _by_needs(profile, reading.isascii())
    able = {place for need in filter(reading.__contains__, places) for place in places[need]}
    if spelt:
        able.update(place for place, rule in enumerate(_ALL[profile]) if rule.leet is not None)
    return [_ALL[profile][place] for place in sorted(able)]


@cache
def _screen(profile: Profile) -> Screen:
    return Screen(_ALL[profile])


def scan(text: str, profile: Profile = "text") -> tuple[Finding, ...]:
    """What is suspicious in ``text``, at most one finding per kind, in the order of the rules. Never raises."""
    found = _scan(text, profile)
    return (*found, Finding(SECRET, "", WHY[SECRET])) if scrub(text) != text else found


def _scan(text: str, profile: Profile) -> tuple[Finding, ...]:
    return _remembered(text, profile) if len(text) <= _SHORT else _look(text, profile)


@lru_cache(maxsize=8192)
def _remembered(text: str, profile: Profile) -> tuple[Finding, ...]:
    """The same observations stand in demonstration after demonstration."""
    return _look(text, profile)


def _look(text: str, profile: Profile) -> tuple[Finding, ...]:
    found: dict[str, Finding] = {}
    unseen = hidden(text)
    if len(smuggled(text)) > _FLAG or (profile == "text" and (unseen or _OVERRIDES.search(text))):
        found[HIDDEN] = Finding(HIDDEN, _excerpt(unseen), WHY[HIDDEN])
    for how, reading in readings(untold(text) if profile == "data" else text):
        spelt = leet(reading)
        for rule in _rules(reading, spelt, profile):
            if rule.kind in found:
                continue
            match = rule.pattern.search(reading)
            if match is None and rule.leet is not None and spelt:
                match = rule.leet.search(spelt)
            if match is not None:
                why = f"{WHY[rule.kind]} ({how})" if how else WHY[rule.kind]
                found[rule.kind] = Finding(rule.kind, _excerpt(match[0]), why)
    return tuple(found.values())


def found_by(text: str, profile: Profile) -> frozenset[int]:
    """The rules of :data:`RULES`, by place, that find something in ``text``: for who measures them."""
    found = set()
    for _, reading in readings(untold(text) if profile == "data" else text):
        spelt = leet(reading)
        for place, rule in enumerate(RULES):
            if rule.lenient or profile == "text":
                leeted = rule.leet is not None and bool(spelt) and rule.leet.search(spelt) is not None
                if leeted or rule.pattern.search(reading) is not None:
                    found.add(place)
    return frozenset(found)


@dataclass(frozen=True)
class Vetted(Generic[R]):
    """An item as it may be stored."""

    item: R
    """Cleaned, and without secrets."""
    status: Status
    reason: str
    """Why it is quarantined, or what was taken out of it; empty for an item that passed untouched."""


def vet(item: R, *, status: Status | None = None) -> Vetted[R]:
    """Clean every text of ``item`` and decide its status: ``quarantined`` where something in it is suspicious, else
    ``status``. That is, where not given, ``admitted`` for demonstrations, which are recordings of what succeeded, and
    ``trial`` for everything else. What is longer than :data:`LOOKED_AT` is not looked at, and quarantined. Secrets and
    invisible characters are taken out and quarantine nothing by themselves.
    """
    recorded = isinstance(item, Demonstration)
    profile: Profile = "data" if recorded else "text"
    fields = item.model_dump()
    texts = list(dict.fromkeys(_texts(fields)))
    if not recorded:
        # An entry is one line when it is shown: what is split over its fields is read as one there.
        texts.append(" ".join(texts))
    # Looking at all at once, as a demonstration has a hundred.
    together = "\n".join(texts)
    secret = scrub(together) != together
    look: Callable[[str, Profile], tuple[Finding, ...]] = scan if secret else _scan
    found: dict[str, Finding] = {}
    length = sum(map(len, texts))
    long = length > LOOKED_AT
    for text in (texts if secret else _screen(profile).suspects(texts)) if not long else ():
        for finding in look(text, profile):
            found.setdefault(finding.kind, finding)
    mended = {}
    # An end of a line is never why cleaning keeps a character: where all together are clean, each of them is.
    if secret or clean(together) != together:
        mended = {text: shown for text in texts if (shown := scrub(clean(text)) if secret else clean(text)) != text}
    try:
        kept = type(item).model_validate(_replaced(fields, mended)) if mended else item
    except ValidationError:
        # A part that has to say something consisted of what nobody sees.
        return Vetted(item, "quarantined", "nothing that can be read is left of it")
    if long:
        return Vetted(kept, "quarantined", f"it is too long to be looked at: {length:,} characters")
    bad = [finding for finding in found.values() if finding.kind != SECRET]
    if bad:
        reasons = (f.why + (f": {f.excerpt!r}" if f.excerpt else "") for f in bad)
        return Vetted(kept, "quarantined", scrub("; ".join(reasons)))
    taken = ["secrets"] if SECRET in found else []
    if any(clean(text) != text for text in mended):
        taken.append("characters that nobody sees")
    reason = f"taken out: {' and '.join(taken)}" if taken else ""
    return Vetted(kept, status or ("admitted" if recorded else "trial"), reason)


def _texts(value: Any) -> list[str]:
    """Every text in a dumped record."""
    found: list[str] = []
    _collect((value,), found)
    return found


def _collect(values: Iterable[Any], found: list[str]) -> None:
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list | tuple):
            _collect(value, found)
        elif isinstance(value, Mapping):
            _collect(value.values(), found)


def _replaced(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, Mapping):
        return {key: _replaced(part, texts) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replaced(part, texts) for part in value)
    return value


def _excerpt(text: str) -> str:
    """``text`` as people may see it: cleaned, one line, short."""
    words = " ".join(clean(text).split())
    return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 1]}\u2026"
