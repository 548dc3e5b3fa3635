"""What one field may be on the wire: each class here checks a value, either way.

A value that does not pass is Refused(shape). `to_wire` takes what a dataclass holds, `from_wire`
what cbor2 made of the bytes.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum, StrEnum
from typing import Any, NoReturn, Protocol

from fedling_protocol.wire.refused import Reason, Refused


class Wire(Protocol):
    """A type of field."""

    def to_wire(self, value: object) -> object: ...

    def from_wire(self, value: object) -> object: ...


@dataclass(frozen=True, slots=True)
class Integer:
    """low..high"""

    low: int
    high: int

    def to_wire(self, value: object) -> int:
        if type(value) is not int or not self.low <= value <= self.high:  # a bool is no integer
            refuse(f"not an integer in {self.low}..{self.high}")
        return value

    from_wire = to_wire


@dataclass(frozen=True, slots=True)
class Flag:
    """bool"""

    def to_wire(self, value: object) -> bool:
        if not isinstance(value, bool):
            refuse("neither true nor false")
        return value

    from_wire = to_wire


@dataclass(frozen=True, slots=True)
class Bytes:
    """bstr .size (low..high)"""

    low: int
    high: int

    def to_wire(self, value: object) -> bytes:
        if not isinstance(value, bytes) or not self.low <= len(value) <= self.high:
            refuse(f"not {self.low} to {self.high} bytes")
        return value

    from_wire = to_wire


@dataclass(frozen=True, slots=True)
class Text:
    """tstr .regexp pattern"""

    pattern: re.Pattern[str]

    def to_wire(self, value: object) -> str:
        if not isinstance(value, str) or not self.pattern.fullmatch(value):
            refuse(f"not a text like {self.pattern.pattern}")
        return str(value)

    from_wire = to_wire


@dataclass(frozen=True, slots=True)
class Label:
    """tstr .size (1..high), printable: it is shown to people as it is."""

    high: int  # bytes in UTF-8

    def to_wire(self, value: object) -> str:
        if not isinstance(value, str) or not value.isprintable():
            refuse("not a printable text")
        if not 1 <= len(value.encode()) <= self.high:
            refuse(f"not a text of 1 to {self.high} bytes")
        return value

    from_wire = to_wire


@dataclass(frozen=True, slots=True)
class Word:
    """One of the words of an enumeration."""

    words: type[StrEnum]
    _of: dict[str, StrEnum] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_of", {str(word): word for word in self.words})

    def to_wire(self, value: object) -> str:
        return self.from_wire(value).value

    def from_wire(self, value: object) -> StrEnum:
        if not isinstance(value, str) or value not in self._of:
            refuse("none of " + ", ".join(self.words))
        return self._of[value]


@dataclass(frozen=True, slots=True)
class Code:
    """One of some numbers of an enumeration."""

    codes: tuple[IntEnum, ...]

    def to_wire(self, value: object) -> int:
        return int(self._find(value))

    def from_wire(self, value: object) -> IntEnum:
        if type(value) is not int:  # a bool is no integer
            refuse("not an integer")
        return self._find(value)

    def _find(self, value: object) -> IntEnum:
        if value not in self.codes:
            refuse("none of " + ", ".join(str(int(code)) for code in self.codes))
        return self.codes[self.codes.index(value)]


@dataclass(frozen=True, slots=True)
class Nullable:
    """A value or null."""

    wire: Wire

    def to_wire(self, value: object) -> object:
        return None if value is None else self.wire.to_wire(value)

    def from_wire(self, value: object) -> object:
        return None if value is None else self.wire.from_wire(value)


@dataclass(frozen=True, slots=True)
class Optional:
    """A key that may be absent; the dataclass then has `absent`. Understood by Record only."""

    wire: Wire
    absent: object = None

    def to_wire(self, value: object) -> object:
        return self.wire.to_wire(value)

    def from_wire(self, value: object) -> object:
        return self.wire.from_wire(value)


@dataclass(frozen=True, slots=True)
class Array:
    """[low*high item], a tuple in the dataclass."""

    item: Wire
    low: int
    high: int

    def to_wire(self, value: object) -> list[object]:
        return [self.item.to_wire(item) for item in self._items(value)]

    def from_wire(self, value: object) -> tuple[object, ...]:
        return tuple(self.item.from_wire(item) for item in self._items(value))

    def _items(self, value: object) -> list[object] | tuple[object, ...]:
        if not isinstance(value, list | tuple) or not self.low <= len(value) <= self.high:
            refuse(f"not an array of {self.low} to {self.high}")
        return value


@dataclass(frozen=True, slots=True)
class Row:
    """[integer, ...]: what is written as a row of integers, each in a range of its own."""

    ranges: tuple[Integer, ...]
    write: Callable[[Any], tuple[int, ...]]
    read: Callable[[list[int]], object]

    def to_wire(self, value: object) -> list[int]:
        return self._checked(self.write(value))

    def from_wire(self, value: object) -> object:
        return self.read(self._checked(value))

    def _checked(self, value: object) -> list[int]:
        if not isinstance(value, list | tuple) or len(value) != len(self.ranges):
            refuse(f"not an array of {len(self.ranges)}")
        return [r.from_wire(v) for v, r in zip(value, self.ranges, strict=True)]


@dataclass(frozen=True, slots=True)
class Record:
    """{ key: value, ... }: the fields of a dataclass in order, each with its key."""

    make: Callable[..., object]
    wires: Mapping[int, Wire]
    constants: Mapping[int, object]  # keys that say which message it is
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)  # of the fields
    _order: dict[int, None] = field(init=False, repr=False, compare=False)  # of all keys

    def __post_init__(self) -> None:
        names = tuple(f.name for f in fields(self.make))  # type: ignore[arg-type]
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_order", dict.fromkeys(sorted({*self.constants, *self.wires})))

    def to_wire(self, value: object) -> dict[int, object]:
        values: dict[int, object] = {**self._order, **self.constants}
        for name, (key, wire) in zip(self._names, self.wires.items(), strict=True):
            item = getattr(value, name)
            if isinstance(wire, Optional) and item == wire.absent:
                del values[key]
            else:
                values[key] = within(key, wire.to_wire, item)
        return values

    def from_wire(self, value: object) -> object:
        if not isinstance(value, dict):
            refuse("not a map")
        for key, constant in self.constants.items():
            if value.get(key) != constant or type(value.get(key)) is not type(constant):
                refuse(f"key {key}: not {constant!r}")
        found = []
        for key, wire in self.wires.items():
            if key in value:
                found.append(within(key, wire.from_wire, value[key]))
            elif isinstance(wire, Optional):
                found.append(wire.absent)
            else:
                refuse(f"key {key}: missing")
        return self.make(*found)


def within(key: int, check: Callable[[object], object], value: object) -> object:
    """The checked value; a refusal tells at which key, from the outside in."""
    try:
        return check(value)
    except Refused as refused:
        raise Refused(refused.reason, f"key {key}: {refused.detail}") from None


def refuse(detail: str) -> NoReturn:
    """Raise Refused(shape) with this detail."""
    raise Refused(Reason.SHAPE, detail)
