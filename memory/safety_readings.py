"""What a model could read in a text, beyond what its characters say: other spellings, and what is encoded in it.

A filter that looks at the spelling alone is passed by ``1gn0r3``, by ``i g n o r e``, by Cyrillic letters that look
Latin, and by base64. Each reading is the text in one other spelling; rules look at all of them. Readings are for
looking only: what is stored is the text.
"""

# ruff: noqa: RUF001  (letters that look alike are the matter of this file)

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from urllib.parse import unquote

from atlas.framing import clean, hidden

PART = 50_000
"""Characters that are looked at together."""
_OVERLAP = 1_000
_DEPTH = 3
"""Encodings within encodings that are followed."""

_LOOKALIKE = {
    ord(pair[0]): pair[1]
    for pair in (
        # Cyrillic, Greek, and Latin letters without a decomposition, after case folding
        "аa вb сc ԁd еe һh іi јj кk ӏl мm нh оo рp ԛq гr ѕs тt уy ԝw хx ѵv зz "
        "αa βb εe γy ηn ιi κk νv οo ρp σo τt υu χx ωw ζz μu "
        "ıi łl øo đd ħh ŧt ƅb ɑa ɡg ɩi ʀr ɴn ᴀa ʙb ᴄc ᴅd ᴇe ɢg ʜh ɪi ᴊj ᴋk ʟl ᴍm ᴏo ᴘp ᴛt ᴜu ᴠv ᴡw ʏy ᴢz ꜱs"
    ).split()
}
_LOOKALIKE |= {0x1F1E6 + place: letter for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
"""Letters that pairs of which make flags."""
_TURNED = str.maketrans("ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎzı", "abcdefghijklmnopqrstuvwxyzi")
"""Letters upside down."""
_SOME = 2
"""Of these there are more where a text is upside down."""
_UPSIDE = re.compile("[ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ]")
_LEET = {
    ord(pair[0]): pair[1] for pair in ("0o", "1i", "3e", "4a", "5s", "7t", "8b", "9g", "@a", "$s", "!i", "|i", "+t")
}
_MIXED = re.compile(r"(?=[a-z]{0,12}[013457@$!|+])[a-z013457@$!|+]{3,14}")
_LEET_WORDS = frozenset(
    word.replace("l", "i")
    for word in (
        "ignore ignoring disregard forget override bypass obey previous prior above instruction instructions rules "
        "prompt prompts system developer guidelines orders reveal print show send leak password passwords secret "
        "secrets credentials token tokens remember memory always never follow pretend jailbreak unrestricted"
    ).split()
)
_SPACED = re.compile(r"(?<!\w)(?:[^\W\d_](?:[ .\-_*·•|/,~\n]{1,3})){4,}[^\W\d_](?!\w)")
_WRAPPED = re.compile(r"(?<=[a-z])-\n[ \t>]{0,8}(?=[a-z])")
_GAPS = re.compile(r"[ .\-_*·•|/,~\n]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_BASE32 = re.compile(r"\b[A-Z2-7]{24,}={0,6}")
_HEX = re.compile(r"(?:\b|0x|\\x)(?:[0-9a-fA-F]{2}[\s:,]?(?:0x|\\x)?){10,}")
_BINARY = re.compile(r"(?:[01]{8}[\s,]?){6,}")
_ASCII85 = re.compile(r"<~[!-uz\s]{10,}~>")
_BASE85 = re.compile(r"[0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]{25,}")
_MORSE = re.compile(r"(?:[.\-]{1,5}(?: / | |/|$)){10,}")
_DECIMAL = re.compile(r"(?:\b(?:3[2-9]|[4-9]\d|1[01]\d|12[0-6])\b[\s,;]+){8,}\d{2,3}")
_ESCAPED = re.compile(r"\\u\{?([0-9a-fA-F]{4,6})\}?|\\x([0-9a-fA-F]{2})|\\([01][0-7]{2})")
_OCTAL = re.compile(r"(?:\b(?:0[4-7]\d|1[0-7]\d)\b[\s,;]+){8,}\d{3}")
_PRINTABLE = re.compile(r"(?:=[0-9A-Fa-f]{2}){3,}")
_PLACES = re.compile(r"(?<![\w.])(?:\d{1,2}[-,.]){5,}\d{1,2}(?![\w.])")
_PLACED = re.compile(r"\d{1,2}(?:[-,.]\d{1,2})*")
"""Letters by their places in the alphabet."""
_SPELT = {
    word: word[0]
    for word in (
        "alfa alpha bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike november oscar "
        "papa quebec romeo sierra tango uniform victor whiskey whisky xray yankee zulu"
    ).split()
}
_SPELLS = ("romeo", "sierra")
"""Of which words that attacks are made of have one."""
_ROT13 = ("vtaber", "qvfertneq", "sbetrg", "flfgrz", "cebzcg", "vafgehpgvba", "cerivbhf", "cnffjbeq", "frperg")
_LETTERS_OF = "abcdefghijklmnopqrstuvwxyz"
_CIPHERS = {
    f"letters moved by {by}": str.maketrans(_LETTERS_OF, _LETTERS_OF[by:] + _LETTERS_OF[:by])
    for by in range(1, 26)
    if by != 13
} | {"atbash": str.maketrans(_LETTERS_OF, _LETTERS_OF[::-1])}
_TELLING = ("ignore", "disregard", "instructions", "instruction", "previous", "password", "override", "forget")
_ROT47 = {33 + place: 33 + (place + 47) % 94 for place in range(94)}
_ROT47_WORDS = tuple(word.translate(_ROT47) for word in _TELLING)
_CIPHERED = {word.translate(back): name for name, back in _CIPHERS.items() for word in _TELLING}
"""How words that attacks are made of look in a cipher that is undone by the table of this name."""
_WORD = re.compile(r"[a-z]{6,16}")
_PLAYED = re.compile(r"[a-z]{2,15}")
_SAID = (
    "ignore disregard forget override obey all any every your the previous prior above earlier instructions "
    "instruction rules guidelines orders prompt system task goal user and password"
).split()


def _games(word: str) -> Iterator[str]:
    """The word as word games write it: backwards, in pig Latin, and without its vowels."""
    yield word[::-1]
    at = next(place for place, letter in enumerate(word) if letter in "aeiouy")
    yield from ((word + end for end in ("ay", "way", "yay")) if at == 0 else (f"{word[at:]}{word[:at]}ay",))
    yield re.sub("[aeiou]", "", word)


def _swapped(word: str) -> Iterator[str]:
    """Two letters within the word in the wrong order."""
    yield from (word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 2))


_UNPLAYED = {game: word for word in _SAID for game in _games(word)}
_UNPLAYED |= {slip: word for word in _SAID if len(word) > 5 for slip in _swapped(word)}
_UNPLAYED = {game: word for game, word in _UNPLAYED.items() if len(game) > 1 and game not in _SAID}
_GAME = frozenset(game for game, word in _UNPLAYED.items() if len(game) > 5 and word in _TELLING)
"""Words of which one stands in any text that is read as a word game."""
_LABEL = re.compile(r"(?:^|(?<=[\n,;{|(]))[ \t\"'*|-]{0,4}[a-z_]{1,15}[ _]?\d{0,3}[\"']?[ \t]{0,2}[:=][ \t]{0,2}")
_DROPS = ("ignore", "disregard", "forget", "override")
BROKEN = re.compile(r"(?<=[A-Za-z0-9+/])[ \t]{0,3}\r?\n[ \t>]{0,3}(?=[A-Za-z0-9+/])")
_BACKWARDS = ("erongi", "drager", "tegrof", "metsys", "tpmorp", "noitcurtsni", "suoiverp", "drowssap", "terces")


_TELLTALE = _GAME | _CIPHERED.keys()
"""Words by which a text is told that is read as a cipher or as a word game as well."""
_LONGEST = 15
"""Letters without a blank, up to which nothing is encoded in them."""
_LONG = (_BASE64, _BASE85, _PLACES)
"""Of those of many letters; what :data:`_BASE32` finds, the first of these finds too."""
_MARK = r"[ .\-_*|/,~\n]"
_PERHAPS = tuple(
    re.compile(pattern)
    for pattern in (
        r"[.\-](?: / | |/)[.\-]",
        r"[0-9a-f][0-9a-f][\s:,]?(?:0x)?[0-9a-f][0-9a-f][\s:,]?(?:0x)?[0-9a-f]{2}",
        r"[0-9][0-9][\s,;]+[0-9]{2,3}[\s,;]+[0-9][0-9]",
        rf"{_MARK}[a-z]{_MARK}{{1,3}}[a-z]{_MARK}",
    )
)
"""Morse code, digits of any kind, and spaced letters, in lower case: as much of them as it takes to rule them out."""


def read_once(text: str, words: Collection[str] | None = None) -> str | None:
    """The one reading of ``text``; None where there may be others, or where something in it is not seen. Of several
    texts with an end of a line between them: None where that may be so of one of them.

    words: those of it to look at, in lower case, where the others have passed this before; all by default.
    """
    if not text.isascii() or len(text) > PART or any(map(text.__contains__, "<[\\%&")) or clean(text) != text:
        return None
    plain = text.casefold()
    if any(p.search(plain) for p in _PERHAPS):
        return None
    words = {*plain.split()} if words is None else words
    each = "\n".join(words)
    other = (
        (max(map(len, words), default=0) > _LONGEST and any(p.search(each) for p in _LONG))
        or any(map(each.__contains__, (*_ROT13, *_BACKWARDS, *_SPELLS)))
        or any(map(text.__contains__, _ROT47_WORDS))
        or "-\n" in plain
        or ("=" in plain and _PRINTABLE.search(plain) is not None)
        or not _TELLTALE.isdisjoint(_WORD.findall(each))
        or (any(map(plain.__contains__, _DROPS)) and len(_LABEL.findall(plain)) > 1)
        or leet(each)
    )
    return None if other else plain


def readings(text: str) -> Iterator[tuple[str, str]]:
    """``(how, reading)`` for every reading of ``text``: first as it stands, in lower case, then the others."""
    for start in range(0, max(1, len(text)), PART):
        seen: set[str] = set()
        for how, decoded in _decoded(text[start : start + PART + _OVERLAP], "", _DEPTH):
            for spelling, reading in _spellings(decoded):
                if reading not in seen:
                    seen.add(reading)
                    yield " ".join(part for part in (how, spelling) if part), reading


def _decoded(text: str, how: str, depth: int) -> Iterator[tuple[str, str]]:
    yield how, clean(text)
    if unseen := hidden(text):
        yield "hidden", unseen
        if depth:
            yield from _decoded(clean(unseen), "hidden", depth - 1)
    if depth:
        for name, decode in _DECODERS:
            found = decode(text)
            if found and found != text:
                yield from _decoded(found, name, depth - 1)


def _spellings(text: str) -> Iterator[tuple[str, str]]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    yield "", plain
    if not plain.isascii():
        marks = unicodedata.normalize("NFD", plain)
        yield "look-alike letters", "".join(c for c in marks if not unicodedata.combining(c)).translate(_LOOKALIKE)
        if len(_UPSIDE.findall(plain)) > _SOME:
            turned = plain.translate(_TURNED)
            yield "upside down", turned
            yield "upside down", turned[::-1]
    if _SPACED.search(plain):
        yield "spaced letters", _SPACED.sub(_joined, plain)
        yield "spaced letters", _SPACED.sub(_after_an_article, plain)
    if "-\n" in plain:
        yield "hyphens at ends of lines", _WRAPPED.sub("", plain)
    if not _GAME.isdisjoint(_WORD.findall(plain)):
        yield "a word game", _PLAYED.sub(lambda word: _UNPLAYED.get(word[0], word[0]), plain)
    if any(map(plain.__contains__, _DROPS)) and len(_LABEL.findall(plain)) > 1:
        yield "without labels", _LABEL.sub(" ", plain)
    lowered = plain.lower()
    if any(word in lowered for word in _BACKWARDS):
        yield "backwards", plain[::-1]


def _joined(match: re.Match[str]) -> str:
    """Single letters as words."""
    return _GAPS.sub("", match[0])


def _after_an_article(match: re.Match[str]) -> str:
    """Without the first of them, which may have been a word."""
    return _joined(match)[1:]


def leet(reading: str) -> str:
    """Digits and signs as the letters they are drawn for, where that gives one of the words attacks are made of, else
    empty; ``l`` reads as ``i``, as 1 stands for both."""
    if any(_leet(word) in _LEET_WORDS for word in _MIXED.findall(reading)):
        return _leet(reading)
    return ""


def _leet(text: str) -> str:
    return text.translate(_LEET).replace("l", "i")


def _pieces(pattern: re.Pattern[str], decode: Callable[[str], bytes]) -> Callable[[str], str]:
    """A decoder of all places that ``pattern`` finds and that hold readable text."""

    def decoded(text: str) -> str:
        found = []
        for match in pattern.finditer(text):
            try:
                words = decode(match[0]).decode()
            except (ValueError, binascii.Error):
                continue
            if _readable(words):
                found.append(words)
        return "\n".join(found)

    return decoded


def _readable(text: str) -> bool:
    letters = sum(char.isalpha() or char in " .,:;!?'-" for char in text)
    return len(text) >= 6 and text.isprintable() and letters >= 0.8 * len(text)


def _base64(piece: str) -> bytes:
    body = piece.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(body + "=" * (-len(body) % 4))


def _base32(piece: str) -> bytes:
    body = piece.rstrip("=")
    return base64.b32decode(body + "=" * (-len(body) % 8))


def _hex(piece: str) -> bytes:
    return bytes.fromhex(re.sub(r"0x|\\x|[\s:,]", "", piece))


def _binary(piece: str) -> bytes:
    digits = re.sub(r"[^01]", "", piece)
    return bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))


def _decimal(piece: str) -> bytes:
    return bytes(int(number) for number in re.findall(r"\d+", piece))


def _ascii85(piece: str) -> bytes:
    return base64.a85decode(piece, adobe=True)


def _morse(text: str) -> str:
    words = []
    for match in _MORSE.finditer(text):
        found = ("".join(_LETTERS.get(sign, "") for sign in word.split()) for word in match[0].split("/"))
        words.append(" ".join(found))
    return "\n".join(words)


def _unescaped(text: str) -> str:
    def char(match: re.Match[str]) -> str:
        code = int(match[1] or match[2], 16) if match[3] is None else int(match[3], 8)
        return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else ""

    return _ESCAPED.sub(char, text) if "\\" in text else ""


def _rot13(text: str) -> str:
    lowered = text.lower()
    return codecs.encode(text, "rot13") if any(word in lowered for word in _ROT13) else ""


_LETTERS = dict(
    zip(
        (
            ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- "
            "-. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
        ).split(),
        "abcdefghijklmnopqrstuvwxyz",
        strict=True,
    )
)


def _deciphered(text: str) -> str:
    """The text as any simple cipher would have it in which it says one of the words that attacks are made of."""
    lowered = text.lower()
    names = {_CIPHERED[word] for word in _WORD.findall(lowered) if word in _CIPHERED}
    undone = {name: {back: char for char, back in _CIPHERS[name].items()} for name in names}
    return "\n".join(lowered.translate(undone[name]) for name in sorted(names))


def _octal(piece: str) -> bytes:
    return bytes(int(number, 8) for number in re.findall(r"\d+", piece))


def _quoted_printable(text: str) -> str:
    if "=" not in text:
        return ""
    return _PRINTABLE.sub(lambda found: bytes.fromhex(found[0].replace("=", "")).decode("latin-1"), text)


def _by_places(text: str) -> str:
    if not _PLACES.search(text):
        return ""

    def word(found: re.Match[str]) -> str:
        return "".join(chr(96 + int(place)) if 0 < int(place) < 27 else "?" for place in re.findall(r"\d+", found[0]))

    return _PLACED.sub(word, text)


def _spelt_out(text: str) -> str:
    """The first letters of the words by which radio operators spell, in one."""
    lowered = text.lower()
    if not any(map(lowered.__contains__, _SPELLS)):
        return ""
    return "".join(_SPELT.get(word, " ") for word in re.findall(r"[a-z]+", lowered.replace("x-ray", "xray")))


def _turned_47(text: str) -> str:
    return text.translate(_ROT47) if any(map(text.__contains__, _ROT47_WORDS)) else ""


def _unwrapped(text: str) -> str:
    """What is encoded over several lines, in one."""
    return _pieces(_BASE64, _base64)(BROKEN.sub("", text)) if "\n" in text else ""


_DECODERS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("base64", _pieces(_BASE64, _base64)),
    ("base64 over several lines", _unwrapped),
    ("base32", _pieces(_BASE32, _base32)),
    ("ascii85", _pieces(_ASCII85, _ascii85)),
    ("base85", _pieces(_BASE85, lambda piece: base64.b85decode(piece))),
    ("Morse code", _morse),
    ("hex", _pieces(_HEX, _hex)),
    ("binary", _pieces(_BINARY, _binary)),
    ("character codes", _pieces(_DECIMAL, _decimal)),
    ("octal", _pieces(_OCTAL, _octal)),
    ("letters by number", _by_places),
    ("spelt out", _spelt_out),
    ("rot47", _turned_47),
    ("quoted printable", _quoted_printable),
    ("escapes", _unescaped),
    ("percent encoding", lambda text: unquote(text) if "%" in text else ""),
    ("entities", lambda text: html.unescape(text) if "&" in text else ""),
    ("rot13", _rot13),
    ("a cipher of letters", _deciphered),
)
