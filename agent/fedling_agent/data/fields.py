"""Fields of a row of text, turned into labels, times and int16 counts."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal, DecimalException
from math import floor

from fedling_protocol.wire.labels import tidy

SHOWN = 32  # characters of a wrong value
COUNT_MIN, COUNT_MAX = -32768, 32767
LATEST_S = 2**33  # the year 2242

# What one of a time's units is worth in seconds, the largest unit first. A time since 1970 tells
# its unit by its size: what is a time in 1973 or later as ms is none before 2242 as seconds.
UNITS = (Decimal(1), Decimal("1e-3"), Decimal("1e-6"), Decimal("1e-9"))
_FIRST_S = 10**8  # March 1973, the first time that is read in a unit below a second
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d").match

# More digits than any sensor writes; results beyond the exponents are errors, not infinities.
_CONTEXT = Context(prec=50, Emin=-999, Emax=999)
_HALF = Decimal("0.5")

_PLAIN = re.compile(r"[-+]?[0-9]+\.?[0-9]*").fullmatch
_NEAR = 1e-6  # of a count


class Wrong(Exception):
    """The reason why a row is not kept."""


def text(name: str, value: object, longest: int) -> str | None:
    """Read a field as text, a whole number as its digits; None if it is absent or empty."""
    if value is None:
        return None
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        value = str(value)
    if not isinstance(value, str):
        raise Wrong(f"{name} = {shown(value)} is not a text")
    found = tidy(value)
    if len(found.encode(errors="surrogatepass")) > longest or not found.isprintable():
        raise Wrong(f"{name} = {shown(found)}: allowed: {longest} bytes of printable text")
    return found or None


def number(written: str) -> Decimal | str:
    """Read a field as a number; a text that is none stays one, for the error."""
    try:
        return _CONTEXT.create_decimal(written)
    except DecimalException:
        return written


def point(field: str) -> str:
    """Write a number that has a decimal comma with a point."""
    return field.replace(",", ".") if field.count(",") == 1 and "." not in field else field


def _decimal(name: str, value: object) -> Decimal:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Wrong(f"{name} is missing")
    found = number(value.strip()) if isinstance(value, str) and "_" not in value else value
    if not isinstance(found, Decimal) or not found.is_finite():
        raise Wrong(f"{name} = {shown(value)} is not a number")
    return found


def count(name: str, value: object, resolution: float) -> int:
    """Exact, as decimals are. Most values are plain, and so far from the next count that a float
    cannot be wrong: it errs by less than 2^-36 of a count."""
    if type(value) is str and _PLAIN(value := value.strip()):
        scaled = float(value) / resolution + 0.5
        if COUNT_MIN < scaled < COUNT_MAX:
            found = floor(scaled)
            if _NEAR < scaled - found < 1 - _NEAR:
                return found
    return _exact_count(name, value, Decimal(repr(resolution)))


def _exact_count(name: str, value: object, resolution: Decimal) -> int:
    found = _decimal(name, value)
    try:
        scaled = _CONTEXT.add(_CONTEXT.divide(found, resolution), _HALF)
    except DecimalException:
        scaled = Decimal(COUNT_MAX + 1)
    if not COUNT_MIN <= scaled < COUNT_MAX + 1:
        low, high = COUNT_MIN * resolution, COUNT_MAX * resolution
        raise Wrong(f"{name} = {shown(value)} is out of range ({low:f} to {high:f})")
    return int(scaled.to_integral_value(ROUND_FLOOR))


def time_us(name: str, value: object) -> int | None:
    """Read a time since 1970, in s, ms, us or ns, or a date of ISO 8601 (without a zone: UTC)."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str) and _DATE(value.strip()):
        return _date_us(name, value.strip())
    found = _decimal(name, value)
    for unit in UNITS:
        if 0 <= found * unit < LATEST_S and (unit == 1 or found * unit >= _FIRST_S):
            return int(found * unit * 1_000_000)
    raise _no_time(name, value)


def is_date(value: str) -> bool:
    """Whether it is a date of ISO 8601."""
    try:
        return bool(_DATE(value.strip())) and time_us("", value) is not None
    except Wrong:
        return False


def _date_us(name: str, value: str) -> int:
    try:
        date = datetime.fromisoformat(value)
        since = (date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        raise _no_time(name, value) from None
    if not 0 <= since.total_seconds() < LATEST_S:
        raise _no_time(name, value)
    return since // timedelta(microseconds=1)


def _no_time(name: str, value: object) -> Wrong:
    allowed = "a time since 1970 in s, ms, us or ns, or a date as 2026-03-01T12:00:00.25+01:00"
    return Wrong(f"{name} = {shown(value)}: allowed: {allowed}")


def shown(value: object) -> str:
    """Show a wrong value in a sentence, cut off when it is long."""
    words = str(value) if isinstance(value, str | Decimal) else json.dumps(value, default=str)
    words = "".join(c if c.isprintable() else "?" for c in words)
    return words if len(words) <= SHOWN else words[:SHOWN] + "..."
