"""Says on a dataclass's field what a configuration file may hold there; settings.py reads it."""

from collections.abc import Callable
from dataclasses import MISSING, field
from typing import Any

from fedling_protocol.classes import dataclass

RULE = "fedling"  # the key of a Rule in a field's metadata


@dataclass(frozen=True, slots=True)
class Rule:
    """Range, unit and meaning of one key."""

    low: float | None
    high: float | None
    unit: str
    help: str
    check: Callable[[Any], str | None] | None


def setting(
    default: Any = MISSING,
    *,
    help: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """Make a field with its meaning. low, high: inclusive; of a text or tuple: of its length.

    check: returns what would be allowed if the value is not, None if it is.
    """
    return field(default=default, metadata={RULE: Rule(low, high, unit, help, check)})
