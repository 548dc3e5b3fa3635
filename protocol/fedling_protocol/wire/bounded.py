"""A walk over CBOR from outside that lets only the bounded, deterministic subset of SPEC.md pass.

It runs before cbor2 sees a byte. What passes is one item, of definite lengths, in shortest form,
without tags (but the envelope's), floats or undefined, with unsigned map keys in rising order, at
most MAX_DEPTH deep and MAX_ITEMS large. It copies nothing but one text at a time.
"""

from dataclasses import dataclass
from typing import Final, NoReturn

from fedling_protocol.wire.limits import MAX_DEPTH, MAX_ITEMS
from fedling_protocol.wire.refused import Reason, Refused

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_ENVELOPE_TAG: Final = 0xD2  # tag 18, COSE_Sign1
_SIMPLE_VALUES: Final = frozenset({20, 21, 22})  # false, true, null
_SMALLEST: Final = {24: 24, 25: 2**8, 26: 2**16, 27: 2**32}  # that needs so many bytes


@dataclass(slots=True)
class _Container:
    """An array or map whose items are being read."""

    left: int  # items, a map's keys and values counted each
    is_map: bool
    key: int = -1  # the last one

    def at_key(self) -> bool:
        return self.is_map and self.left % 2 == 0


def check(data: bytes, *, tagged: bool = False) -> None:
    """Refused(cbor) unless all of `data` is one such item.

    tagged: inside the envelope's tag; without it Refused(envelope).
    """
    position = 0
    if tagged:
        if data[:1] != bytes([_ENVELOPE_TAG]):
            raise Refused(Reason.ENVELOPE, "not a COSE_Sign1 with its tag")
        position = 1
    containers: list[_Container] = []
    items = 0
    while True:
        items += 1
        if items > MAX_ITEMS:
            _refuse(f"more than {MAX_ITEMS} items")
        major, value, position = _head(data, position)
        if containers and containers[-1].at_key():
            _check_key(containers[-1], major, value)
        position = _body(data, major, value, position, containers)
        if not _more(containers):
            break
    if position != len(data):
        _refuse("bytes after the end")


def _head(data: bytes, position: int) -> tuple[int, int, int]:
    """Major type, value and the position after them."""
    if position >= len(data):
        _refuse("cut off")
    major, info = data[position] >> 5, data[position] & 31
    position += 1
    if info < 24:
        return major, info, position
    if info not in _SMALLEST:
        _refuse("an indefinite length or a reserved value")
    if major == _SIMPLE:
        _refuse("a float or an unknown simple value")
    size = 1 << (info - 24)
    value = int.from_bytes(data[position : position + size], "big")
    position += size
    if position > len(data):
        _refuse("cut off")
    if value < _SMALLEST[info]:
        _refuse("not in shortest form")
    return major, value, position


def _check_key(container: _Container, major: int, value: int) -> None:
    if major != _UNSIGNED:
        _refuse("a map key that is no unsigned integer")
    if value <= container.key:
        _refuse("map keys twice or not in order")
    container.key = value


def _body(data: bytes, major: int, value: int, position: int, containers: list[_Container]) -> int:
    """Check what follows a head, open a container; the position after it."""
    if major in (_BYTES, _TEXT):
        end = position + value
        if end > len(data):
            _refuse("cut off")
        if major == _TEXT:
            _check_text(data[position:end])
        return end
    if major in (_ARRAY, _MAP):
        count = 2 * value if major == _MAP else value
        if count > len(data) - position:  # an item has at least one byte
            _refuse("cut off")
        if len(containers) == MAX_DEPTH:
            _refuse(f"deeper than {MAX_DEPTH} levels")
        containers.append(_Container(count + 1, major == _MAP))  # + 1: itself, see _more
    elif major == _TAG:
        _refuse("a tag")
    elif major == _SIMPLE and value not in _SIMPLE_VALUES:
        _refuse("an unknown simple value")
    return position


def _check_text(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        _refuse("text that is not UTF-8")


def _more(containers: list[_Container]) -> bool:
    """Count an item as read, close what it completes; whether another must follow."""
    while containers:
        containers[-1].left -= 1
        if containers[-1].left:
            return True
        containers.pop()
    return False


def _refuse(detail: str) -> NoReturn:
    raise Refused(Reason.CBOR, detail)
