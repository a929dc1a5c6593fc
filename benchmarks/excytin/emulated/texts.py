"""Text functions as MySQL has them. Places are counted from 1; what is searched is found without case."""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import zlib
from typing import Any

from atlas.benchmarks.excytin.emulated.collations import folded, key, weights

MAX_TEXT = 10_000_000
"""Characters a function may return."""


def bounded(text: str) -> str | None:
    return text if len(text) <= MAX_TEXT else None


def upper(text: str) -> str:
    """Each letter by itself: one that has no capital of one letter stays."""
    if text.isascii():
        return text.upper()
    return "".join(big if len(big := char.upper()) == 1 else char for char in text)


def lower(text: str) -> str:
    if text.isascii():
        return text.lower()
    return "".join(small if len(small := char.lower()) == 1 else char for char in text)


def concat(*values: str) -> str | None:
    return bounded("".join(values))


def concat_ws(separator: str | None, *values: str | None) -> str | None:
    return None if separator is None else bounded(separator.join(v for v in values if v is not None))


def substring(text: str, start: int, length: int | None = None) -> str:
    if start == 0 or abs(start) > len(text):
        return ""
    begin = start - 1 if start > 0 else len(text) + start
    return text[begin:] if length is None else text[begin : begin + max(0, length)]


def left(text: str, count: int) -> str:
    return text[: max(0, count)]


def right(text: str, count: int) -> str:
    return text[-count:] if 0 < count < len(text) else text if count > 0 else ""


def substring_index(text: str, separator: str, count: int) -> str:
    """Separators are found with their case."""
    if not separator or not count:
        return ""
    parts = text.split(separator)
    if abs(count) >= len(parts):
        return text
    if count > 0:
        return separator.join(parts[:count])
    return text.rsplit(separator, -count)[-1] if count == -1 else separator.join(text.rsplit(separator, -count)[count:])


def locate(needle: str, text: str, how: str, start: int = 1) -> int:
    """Where ``needle`` first stands, in the collation and with as many bytes as it has; 0 where it does not."""
    if start < 1 or start > len(text) + 1:
        return 0
    if how == "b" or (needle.isascii() and text.isascii()):
        return folded(text, how).find(folded(needle, how), start - 1) + 1
    wanted, size = weights(needle, how), len(needle.encode())
    ends = list(itertools.accumulate((len(char.encode()) for char in text), initial=0))
    place_of = {end: place for place, end in enumerate(ends)}
    for place in range(start - 1, len(text) + 1):
        end = place_of.get(ends[place] + size)
        if end is not None and weights(text[place:end], how) == wanted:
            return place + 1
    return 0


def find_in_set(needle: str, items: str, how: str) -> int:
    if "," in needle or not items:
        return 0
    wanted = weights(needle, how)
    return next((place for place, item in enumerate(items.split(","), 1) if weights(item, how) == wanted), 0)


def strcmp(first: str, last: str, how: str) -> int:
    before, after = key(first, how), key(last, how)
    return (before > after) - (before < after)


def insert(text: str, start: int, length: int, new: str) -> str | None:
    if start < 1 or start > len(text):
        return text
    end = start - 1 + length if 0 <= length <= len(text) - start else len(text)
    return bounded(text[: start - 1] + new + text[end:])


def pad(text: str, length: int, fill: str, at_left: bool) -> str | None:
    if length < 0 or length > MAX_TEXT:
        return None
    missing = length - len(text)
    if missing <= 0:
        return text[:length]
    if not fill:
        return ""
    filled = (fill * (missing // len(fill) + 1))[:missing]
    return filled + text if at_left else text + filled


def repeat(text: str, count: int) -> str | None:
    if count <= 0:
        return ""
    return text * count if len(text) * count <= MAX_TEXT else None


def replace(text: str, old: str, new: str) -> str | None:
    """With its case."""
    return bounded(text.replace(old, new)) if old else text


def trim(text: str, what: str, side: str) -> str:
    if not what:
        return text
    begin, end = 0, len(text)
    if side != "TRAILING":
        while text.startswith(what, begin) and begin + len(what) <= end:
            begin += len(what)
    if side != "LEADING":
        while end - len(what) >= begin and text.startswith(what, end - len(what)):
            end -= len(what)
    return text[begin:end]


def elt(number: int, *values: str | None) -> str | None:
    return values[number - 1] if number is not None and 1 <= number <= len(values) else None


def field(wanted: Any, *values: Any) -> int:
    """Of keys: the first that is the wanted one."""
    if wanted is None:
        return 0
    return next((place for place, value in enumerate(values, 1) if value == wanted), 0)


def char(*codes: int | None) -> bytes:
    found = b""
    for code in codes:
        if code is not None:
            number = code & 0xFFFFFFFF
            found += number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    return found


def ascii_code(text: Any) -> int:
    raw = data(text)
    return raw[0] if raw else 0


def ord_code(text: Any) -> int:
    raw = text[:1].encode() if isinstance(text, str) else data(text)[:1]
    return int.from_bytes(raw, "big")


def data(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def hexed(value: Any) -> str:
    if isinstance(value, int | float):
        return f"{round(value) & (1 << 64) - 1:X}"
    return data(value).hex().upper()


def unhex(text: Any) -> bytes | None:
    digits = str(text)
    try:
        return bytes.fromhex("0" * (len(digits) % 2) + digits) if digits.isalnum() or not digits else None
    except ValueError:
        return None


def to_base64(value: Any) -> str:
    whole = base64.b64encode(data(value)).decode()
    return "\n".join(whole[at : at + 76] for at in range(0, len(whole), 76))


def from_base64(text: Any) -> bytes | None:
    try:
        return base64.b64decode("".join(str(text).split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def sha2(value: Any, bits: int) -> str | None:
    name = {0: "sha256", 224: "sha224", 256: "sha256", 384: "sha384", 512: "sha512"}.get(bits)
    return hashlib.new(name, data(value)).hexdigest() if name else None


def md5(value: Any) -> str:
    return hashlib.md5(data(value), usedforsecurity=False).hexdigest()


def sha1(value: Any) -> str:
    return hashlib.sha1(data(value), usedforsecurity=False).hexdigest()


def crc32(value: Any) -> int:
    return zlib.crc32(data(value))


def quoted(text: str | None) -> str:
    if text is None:
        return "NULL"
    return "'" + text.translate({39: "\\'", 92: "\\\\", 0: "\\0", 26: "\\Z"}) + "'"


def inet_aton(text: str) -> int | None:
    parts = text.split(".")
    if len(parts) > 4 or not all(part.isascii() and part.isdecimal() and int(part) < 256 for part in parts):
        return None
    numbers = [int(part) for part in parts]
    # A short form leaves out bytes before the last one.
    numbers = numbers[:-1] + [0] * (4 - len(numbers)) + numbers[-1:] if len(numbers) > 1 else [0, 0, 0, *numbers]
    return int.from_bytes(bytes(numbers), "big")


def inet_ntoa(number: int) -> str | None:
    return ".".join(map(str, number.to_bytes(4, "big"))) if 0 <= number < 2**32 else None


def soundex(text: str) -> str:
    codes = dict.fromkeys("BFPV", "1") | dict.fromkeys("CGJKQSXZ", "2") | dict.fromkeys("DT", "3")
    codes |= {"L": "4"} | dict.fromkeys("MN", "5") | {"R": "6"}
    found, last = "", ""
    for letter in text:
        letter = letter.upper() if letter.isascii() else letter
        if not letter.isalpha():
            continue
        code = codes.get(letter, "")
        if not found:
            found, last = letter, code
        elif code and code != last:
            found, last = found + code, code
    return found.ljust(4, "0") if found else ""


def is_ipv4(text: str) -> int:
    parts = text.split(".")
    return int(len(parts) == 4 and all(part.isascii() and part.isdecimal() and int(part) < 256 for part in parts))


def is_ipv6(text: str) -> int:
    import ipaddress

    try:
        return int("%" not in text and ipaddress.IPv6Address(text) is not None)
    except ValueError:
        return 0
