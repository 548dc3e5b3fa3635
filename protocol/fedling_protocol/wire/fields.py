"""What one field may be on the wire: each class here checks a value, either way.

A value that does not pass is Refused(shape). `to_wire` takes what a dataclass holds, `from_wire`
what cbor2 made of the bytes.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, NoReturn, Protocol

from fedling_protocol.classes import dataclass
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
    """tstr .size (low..high), printable: it is shown to people as it is."""

    high: int  # bytes in UTF-8
    low: int = 1

    def to_wire(self, value: object) -> str:
        if not isinstance(value, str) or not value.isprintable():
            refuse("not a printable text")
        if not self.low <= len(value.encode()) <= self.high:
            refuse(f"not a text of {self.low} to {self.high} bytes")
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


class _Field(NamedTuple):
    """A field of a record, ready to be used for each message."""

    name: str
    key: int
    to_wire: Callable[[object], object]
    from_wire: Callable[[object], object]
    optional: bool
    absent: object

    @classmethod
    def of(cls, name: str, key: int, wire: Wire) -> "_Field":
        if isinstance(wire, Optional):
            return cls(name, key, wire.wire.to_wire, wire.wire.from_wire, True, wire.absent)
        return cls(name, key, wire.to_wire, wire.from_wire, False, None)


@dataclass(frozen=True, slots=True)
class Record:
    """{ key: value, ... }: the fields of a dataclass in order, each with its key."""

    make: Callable[..., object]
    wires: Mapping[int, Wire]
    constants: Mapping[int, object]  # keys that say which message it is
    _fields: tuple[_Field, ...] = field(init=False, repr=False, compare=False)
    _order: dict[int, None] = field(init=False, repr=False, compare=False)  # of all keys

    def __post_init__(self) -> None:
        names = (f.name for f in fields(self.make))  # type: ignore[arg-type]
        found = zip(names, self.wires.items(), strict=True)
        known = tuple(_Field.of(name, key, wire) for name, (key, wire) in found)
        object.__setattr__(self, "_fields", known)
        object.__setattr__(self, "_order", dict.fromkeys(sorted({*self.constants, *self.wires})))

    @property
    def names(self) -> tuple[str, ...]:
        """The fields of the dataclass, in order."""
        return tuple(known.name for known in self._fields)

    def to_wire(self, value: object) -> dict[int, object]:
        values: dict[int, object] = {**self._order, **self.constants}
        key = -1
        try:
            for name, key, to_wire, _, optional, absent in self._fields:
                item = getattr(value, name)
                if optional and item == absent:
                    del values[key]
                else:
                    values[key] = to_wire(item)
        except Refused as refused:
            raise at_key(key, refused) from None
        return values

    def from_wire(self, value: object) -> object:
        if not isinstance(value, dict):
            refuse("not a map")
        for key, constant in self.constants.items():
            if value.get(key) != constant or type(value.get(key)) is not type(constant):
                refuse(f"key {key}: not {constant!r}")
        found = []
        try:
            for _, key, _, from_wire, optional, absent in self._fields:
                if key in value:
                    found.append(from_wire(value[key]))
                elif optional:
                    found.append(absent)
                else:
                    refuse("missing")
        except Refused as refused:
            raise at_key(key, refused) from None
        return self.make(*found)


def at_key(key: int, refused: Refused) -> Refused:
    """Tell at which key it was; of maps in maps from the outside in."""
    return Refused(refused.reason, f"key {key}: {refused.detail}")


def refuse(detail: str) -> NoReturn:
    """Raise Refused(shape) with this detail."""
    raise Refused(Reason.SHAPE, detail)
