"""The one reader of CBOR from outside: it takes the bounded, deterministic subset of SPEC.md only.

What it takes is one item, of definite lengths, in shortest form, without tags, floats or undefined,
with unsigned map keys in rising order, at most MAX_DEPTH deep and MAX_ITEMS large. Nothing is made
of a length before so many bytes are known to be there, so what is made is no larger than the bytes.
"""

from typing import Final, NoReturn

from fedling_protocol.wire.limits import MAX_DEPTH, MAX_ITEMS
from fedling_protocol.wire.refused import Reason, Refused

Value = int | str | bytes | bool | None | list["Value"] | dict[int, "Value"]

BYTES: Final = 2  # major types
_UNSIGNED, _NEGATIVE, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = 0, 1, 3, 4, 5, 6, 7
_LONGER: Final = 24  # a head of one byte holds a smaller value; most do, so these are read quickly
_SIMPLE_VALUES: Final = {20: False, 21: True, 22: None}
_SMALLEST: Final = {24: 24, 25: 2**8, 26: 2**16, 27: 2**32}  # that needs so many bytes


def read(data: bytes | memoryview) -> Value:
    """Read what all of `data` says, or raise Refused(cbor)."""
    reader = _Reader(data)
    value = reader.item(MAX_DEPTH)
    if reader.position != len(data):
        _refuse("bytes after the end")
    return value


def head(data: bytes | memoryview, position: int) -> tuple[int, int, int]:
    """Read major type, value and the position after them, or raise Refused(cbor)."""
    if position >= len(data):
        _refuse("cut off")
    first = data[position]
    major, info, position = first >> 5, first & 31, position + 1
    if info < _LONGER:
        return major, info, position
    if info not in _SMALLEST:
        _refuse("an indefinite length or a reserved value")
    if major == _SIMPLE:
        _refuse("a float or an unknown simple value")
    end = position + (1 << (info - 24))
    if end > len(data):
        _refuse("cut off")
    value = int.from_bytes(data[position:end], "big")
    if value < _SMALLEST[info]:
        _refuse("not in shortest form")
    return major, value, end


class _Reader:
    """Where the reading of one item has come to."""

    __slots__ = ("data", "items", "position")

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self.position = 0
        self.items = 1  # that are announced: the whole, and what arrays and maps say is in them

    def item(self, levels: int) -> Value:
        """Read the item at the position. levels: of arrays and maps that may still open."""
        position, data = self.position, self.data
        if position < len(data) and (first := data[position]) & 31 < _LONGER:
            self.position = position + 1
            if first < _LONGER:
                return first
            major, value = first >> 5, first & 31
        else:
            major, value, self.position = head(data, position)
        if major == _UNSIGNED:
            return value
        if major == BYTES:
            return bytes(self._take(value))
        if major == _TEXT:
            return self._text(value)
        if major == _MAP:
            return self._map(value, levels)
        if major == _ARRAY:
            return self._array(value, levels)
        if major == _NEGATIVE:
            return -1 - value
        if major == _TAG:
            _refuse("a tag")
        if value not in _SIMPLE_VALUES:
            _refuse("an unknown simple value")
        return _SIMPLE_VALUES[value]

    def _take(self, size: int) -> bytes | memoryview:
        start = self.position
        self.position = start + size
        if self.position > len(self.data):
            _refuse("cut off")
        return self.data[start : self.position]

    def _text(self, size: int) -> str:
        try:
            return str(self._take(size), "utf-8")
        except UnicodeDecodeError:
            _refuse("text that is not UTF-8")

    def _array(self, count: int, levels: int) -> list[Value]:
        self._open(count, levels)
        return [self.item(levels - 1) for _ in range(count)]

    def _map(self, count: int, levels: int) -> dict[int, Value]:
        self._open(2 * count, levels)
        data, values, last = self.data, dict[int, Value](), -1
        for _ in range(count):
            position = self.position
            if position < len(data) and last < (key := data[position]) < _LONGER:
                self.position = position + 1
            else:
                key = self._key(last)
            values[key] = self.item(levels - 1)
            last = key
        return values

    def _open(self, items: int, levels: int) -> None:
        """Refuse an array or map of so many items that they cannot be there, or must not."""
        if items > len(self.data) - self.position:  # an item has at least one byte
            _refuse("cut off")
        self.items += items
        if self.items > MAX_ITEMS:
            _refuse(f"more than {MAX_ITEMS} items")
        if levels == 0:
            _refuse(f"deeper than {MAX_DEPTH} levels")

    def _key(self, last: int) -> int:
        """Read a map key that does not follow on the last one in one byte."""
        major, value, self.position = head(self.data, self.position)
        if major != _UNSIGNED:
            _refuse("a map key that is no unsigned integer")
        if value <= last:
            _refuse("map keys twice or not in order")
        return value


def _refuse(detail: str) -> NoReturn:
    raise Refused(Reason.CBOR, detail)
