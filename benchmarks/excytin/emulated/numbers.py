"""Numbers as MySQL computes and prints them: exact decimals with a scale, doubles rounded to even, bits of 64."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from atlas.benchmarks.excytin.engine import SqlError

_CONTEXT = Context(prec=90, rounding=ROUND_HALF_UP, traps=[InvalidOperation])
_LEADING = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
WORD = 9
"""Digits of a decimal that MySQL computes at once: a quotient has whole words behind its point."""
_BITS = (1 << 64) - 1
_WIDEST = Decimal(10) ** 65


def leading(text: str) -> Decimal:
    """The number with which a text begins, or 0."""
    found = _LEADING.match(text)
    return Decimal(found[1]) if found else Decimal(0)


def decimal_of(value: Any) -> Decimal:
    if isinstance(value, float):
        return Decimal(repr(value))
    return leading(value) if isinstance(value, str) else Decimal(value)


def plain(value: Decimal) -> str:
    """Without an exponent."""
    return f"{value:f}"


def rounded(value: Any, scale: int) -> str:
    """A DECIMAL with so many digits after the point; half is rounded away from zero."""
    return plain(_zero(decimal_of(value).quantize(Decimal(1).scaleb(-scale), context=_CONTEXT)))


def _zero(value: Decimal) -> Decimal:
    return abs(value) if value == 0 else value


def cast_decimal(value: Any, precision: int, scale: int) -> str:
    """CAST AS DECIMAL: what is too large becomes the largest there is."""
    found = Decimal(rounded(min(max(decimal_of(value), -_WIDEST), _WIDEST), scale))
    most = (Decimal(10) ** precision - 1).scaleb(-scale)
    return plain(max(-most, min(most, found)))


def arithmetic(sign: str) -> Callable[[Any, Any], str]:
    """Exact, as DECIMALs."""
    compute = {"+": operator.add, "-": operator.sub, "*": operator.mul}[sign]

    def computed(left: Any, right: Any) -> str:
        found: Decimal = compute(decimal_of(left), decimal_of(right))
        if abs(found) >= _WIDEST:
            raise out_of_range("DECIMAL")
        return plain(found)

    return computed


def divided(left: Any, right: Any, left_scale: int, right_scale: int) -> str | None:
    """As many digits as MySQL computes, more than the result shows; NULL by zero."""
    over, under = decimal_of(left), decimal_of(right)
    if under == 0:
        return None
    words = [-(-scale // WORD) * WORD for scale in (left_scale, right_scale)]
    more = max(0, 4 - (words[0] - left_scale) - (words[1] - right_scale))
    digits = -(-(words[0] + words[1] + more) // WORD) * WORD
    found = _CONTEXT.divide(over, under)
    return plain(_zero(found.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_DOWN, context=_CONTEXT)))


def remainder(left: Any, right: Any) -> str | None:
    over, under = decimal_of(left), decimal_of(right)
    if under == 0:
        return None
    found = _CONTEXT.remainder(over, under)
    if found == 0 and over < 0 and found.as_tuple().exponent != 0:
        raise SqlError(
            "NotSupportedError",
            "The embedded engine does not run MOD of a DECIMAL below zero that leaves nothing, whose zero has a sign "
            "on servers and is less than 0 there: ask whether MOD(ABS(x), y) = 0",
        )
    return plain(_zero(found))


def counted(value: float) -> float:
    """A number that text tells which servers count as a whole one."""
    if value != math.floor(value):
        raise SqlError(
            "NotSupportedError",
            "The embedded engine does not count text of CAST AS CHAR, DATE_FORMAT, GROUP_CONCAT or UNHEX where it "
            "tells a fraction, which servers round each in its own way: leave out the CAST, or write CAST(x AS DOUBLE)",
        )
    return value


def near(left: float, right: float, scale: int) -> int:
    """-1, 0 or 1. Two DOUBLEs of which the digits after the point are known are equal where those are."""
    if left == right or abs(left - right) < 5 / 10 ** (scale + 1):
        return 0
    return -1 if left < right else 1


def double_remainder(left: float, right: float) -> float | None:
    return None if right == 0 else math.fmod(left, right)


def quotient(left: Any, right: Any) -> int | None:
    """DIV."""
    over, under = decimal_of(left), decimal_of(right)
    if under == 0:
        return None
    found = int(_CONTEXT.divide(over, under).to_integral_value(ROUND_DOWN))
    if not -(2**63) <= found < 2**63:
        raise out_of_range("BIGINT")
    return found


def out_of_range(kind: str) -> SqlError:
    return SqlError("DataError", f"{kind} value is out of range: compute with smaller numbers")


def checked(sign: str, unsigned: bool) -> Callable[[int, int], int]:
    """Whole numbers that must stay whole numbers of 64 bits."""
    compute = {"+": operator.add, "-": operator.sub, "*": operator.mul}[sign]
    least, most = (0, 2**63 - 1) if unsigned else (-(2**63), 2**63 - 1)

    def computed(left: int, right: int) -> int:
        found: int = compute(int(left), int(right))
        if not least <= found <= most:
            raise out_of_range("BIGINT UNSIGNED" if unsigned else "BIGINT")
        return found

    return computed


def bits(sign: str) -> Callable[[int, int], Any]:
    """On 64 bits; numbers beyond SQLite's travel as text."""
    compute: dict[str, Callable[[int, int], int]] = {
        "&": operator.and_,
        "|": operator.or_,
        "^": operator.xor,
        "<<": lambda left, right: left << right if 0 <= right < 64 else 0,
        ">>": lambda left, right: left >> right if 0 <= right < 64 else 0,
    }
    return lambda left, right: carried(compute[sign](int(left) & _BITS, int(right) & _BITS) & _BITS)


def inverted(value: int) -> Any:
    return carried(~int(value) & _BITS)


def carried(value: int) -> Any:
    return value if value < 2**63 else str(value)


def sort_key(value: Any) -> str:
    """Text that sorts as the decimal does."""
    found = decimal_of(value)
    digits = f"{abs(found):.38f}".rjust(110, "0")
    if found < 0:
        return "-" + digits.translate(_COMPLEMENT)
    return "0" + digits


_COMPLEMENT = str.maketrans("0123456789", "9876543210")


def compare(left: str, right: str) -> int:
    first, last = decimal_of(left), decimal_of(right)
    return (first > last) - (first < last)


def whole_of_double(value: float) -> int:
    """The nearest whole number, the even one of two."""
    return max(-(2**63), min(2**63 - 1, round(value)))


def whole_of_decimal(value: Any) -> int:
    return max(-(2**63), min(2**63 - 1, int(decimal_of(value).to_integral_value(ROUND_HALF_UP))))


def double_text(value: float, scale: int) -> str:
    """A DOUBLE as it is printed: as many digits as it needs, or ``scale`` of them after the point."""
    if scale < 31:
        # A zero has no sign; what is less and shown as one has.
        return f"{value + 0.0:.{scale}f}"
    _, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    point = len(digits) + exponent
    written = "".join(map(str, digits))
    sign = "-" if value < 0 else ""
    if value == 0:
        return "0"
    if -15 < point <= 15:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{written}"
        if point >= len(written):
            return sign + written + "0" * (point - len(written))
        return f"{sign}{written[:point]}.{written[point:]}"
    tail = f".{written[1:]}" if len(written) > 1 else ""
    return f"{sign}{written[0]}{tail}e{point - 1}"


def round_double(value: float, digits: int, cut: bool = False) -> float:
    if abs(digits) > 300 or math.isinf(value):
        return value if digits > 0 else 0.0
    power = 10.0 ** abs(digits)
    scaled = value * power if digits >= 0 else value / power
    if math.isinf(scaled):
        return value
    whole = math.trunc(scaled) if cut else round(scaled)
    return whole / power if digits >= 0 else whole * power


def round_decimal(value: Any, digits: int, scale: int, cut: bool = False) -> str:
    """To ``digits``, shown with ``scale`` of them."""
    with_digits = decimal_of(value).quantize(
        Decimal(1).scaleb(-digits), rounding=ROUND_DOWN if cut else ROUND_HALF_UP, context=_CONTEXT
    )
    return rounded(plain(with_digits), scale)


def round_whole(value: int, digits: int, cut: bool = False) -> int:
    if digits >= 0:
        return int(value)
    if digits < -19:
        return 0
    power: int = 10**-digits
    size = abs(int(value))
    found = (size if cut else size + power // 2) // power * power
    return -found if value < 0 else found


def floor(value: Any) -> int:
    return math.floor(decimal_of(value))


def ceiling(value: Any) -> int:
    return math.ceil(decimal_of(value))


def guarded(function: Callable[..., float], *, strict: bool = False) -> Callable[..., float | None]:
    """NULL where it has no value, or refused where ``strict``; refused where it is out of range."""

    def called(*values: float) -> float | None:
        try:
            found = function(*map(float, values))
        except (ValueError, ZeroDivisionError) as error:
            if strict:
                raise out_of_range("DOUBLE") from error
            return None
        except OverflowError as error:
            raise out_of_range("DOUBLE") from error
        if isinstance(found, complex) or math.isnan(found):
            return None
        if math.isinf(found):
            raise out_of_range("DOUBLE")
        return float(found)

    return called


def grouped(value: Any, digits: int) -> str:
    """FORMAT: with a comma before each three digits."""
    scale = max(0, min(38, digits))
    found = Decimal(repr(round_double(value, scale))) if isinstance(value, float) else decimal_of(value)
    return f"{Decimal(rounded(plain(found), scale)):,f}"


def in_base(value: Any, source: int, target: int) -> str | None:
    """CONV: the digits that a number in another base begins with; negative bases have a sign."""
    if not (2 <= abs(source) <= 36 and 2 <= abs(target) <= 36):
        return None
    text = str(value).strip().lower()
    if value == "":
        return None
    negative = text.startswith("-")
    number = 0
    for char in text.lstrip("+-"):
        digit = "0123456789abcdefghijklmnopqrstuvwxyz".find(char)
        if not 0 <= digit < abs(source):
            break
        number = min(number * abs(source) + digit, _BITS)
    number = -number & _BITS if negative else number
    sign = ""
    if target < 0 and number >= 2**63:
        number, sign = 2**64 - number, "-"
    digits = ""
    while number:
        number, rest = divmod(number, abs(target))
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[rest] + digits
    return sign + (digits or "0")
