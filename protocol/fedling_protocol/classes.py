"""Data classes that cost a device little: the standard ones compile six methods of each class.

On a board with two hundred of them that is a quarter of a start, and 1.7 MB. Here a class has its
own __init__; what compares, hashes and shows it is the same for all, by a tuple of its fields. To
whoever reads or checks types it is dataclasses.dataclass: `frozen` is the word of the type checker,
and lets a class be hashed. decisions/0084-frozen-by-the-type-checker.md
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(plain=None, /, *, frozen=False, eq=True, order=False, slots=False):
        """As dataclasses.dataclass; frozen is not enforced while it runs."""

        def make(plain: type) -> type:
            plain.__doc__ = plain.__doc__ or ""  # else the signature is looked up for one
            made = dataclasses.dataclass(slots=slots, repr=False, eq=False)(plain)
            made._compared = staticmethod(_compared(made))
            shared = {"__repr__": _repr} | (_EQUAL if eq else {}) | (_ORDERED if order else {})
            if eq:
                shared["__hash__"] = _hash if frozen else None
            for name, method in shared.items():
                if plain.__dict__.get(name) is None:
                    setattr(made, name, method)
            return made

        return make if plain is None else make(plain)


def _compared(made: type) -> Callable[[Any], tuple[Any, ...]]:
    """What gets the values that tell one object of this class from another."""
    names = [field.name for field in dataclasses.fields(made) if field.compare]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda one: tuple(getattr(one, name) for name in names)


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._compared(self) == self._compared(other)


def _lt(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._compared(self) < self._compared(other)


def _le(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._compared(self) <= self._compared(other)


def _hash(self: Any) -> int:
    return hash(self._compared(self))


@recursive_repr()
def _repr(self: Any) -> str:
    values = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
    return f"{self.__class__.__qualname__}({', '.join(values)})"


_EQUAL = {"__eq__": _eq}
_ORDERED = {"__lt__": _lt, "__le__": _le}  # and, as Python mirrors them, > and >=
