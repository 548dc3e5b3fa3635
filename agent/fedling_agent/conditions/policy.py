"""The owner's limits ([policy] in agent.toml), and a task's beside them: the stricter wins."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

from fedling_agent.conditions import hours
from fedling_agent.conditions.condition import (
    Asker,
    Bound,
    Condition,
    Direction,
    Limit,
    Switch,
    Unless,
    Value,
)
from fedling_agent.conditions.table import TABLE
from fedling_protocol.classes import dataclass
from fedling_protocol.settings import setting
from fedling_protocol.wire.messages import Conditions

P = TypeVar("P", bound="Policy")


def _keys(row: Condition) -> Iterator[tuple[str, type, Any]]:
    """List name, type and meaning of each key of [policy] that a row has."""
    limit = row.limit
    if isinstance(limit, Unless):
        return
    if isinstance(limit, Switch):
        yield row.name, bool, setting(limit.default, help=limit.help)
        return
    for name, default, words in (
        (row.name, limit.default, limit.help),
        (_resume(row), limit.resume, limit.resume_help),
    ):
        if not words:
            continue
        rule = setting(default, help=words, unit=row.unit, low=limit.low, high=limit.high)
        yield name, int, rule


def _resume(row: Condition) -> str:
    return f"{row.name}_resume"


def with_keys_of(rows: tuple[Condition, ...]) -> Callable[[type[P]], type[P]]:
    """Add the keys of these rows to a policy: `battery` and `battery_resume` of a Bound."""

    def decorate(plain: type[P]) -> type[P]:
        keys = [key for row in rows for key in _keys(row)]
        body: dict[str, Any] = {name: rule for name, _, rule in keys}
        body["__annotations__"] = {name: kind for name, kind, _ in keys}
        body |= {"rows": rows, "__module__": plain.__module__, "__doc__": plain.__doc__}
        return dataclass(frozen=True, slots=True)(type(plain.__name__, (plain,), body))

    return decorate


def _zone(value: str) -> str | None:
    return None if value.removeprefix("-") else 'the type of a zone, or "-" and the type'


def _interface(value: str) -> str | None:
    return None if value.isprintable() and value.split() == [value] else "a name, as wwan0 or wwan*"


def _hours(value: str) -> str | None:
    try:
        hours.window_of(value)
    except ValueError as error:
        return str(error)
    return None


def _absolute(value: str) -> str | None:
    return None if not value or value.startswith("/") else "an absolute path, as /run/ups"


@with_keys_of(TABLE)
@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's own conditions; a task's are added, the stricter wins.

    The rows of the table add their keys; own() and limit() read them.
    """

    rows: ClassVar[tuple[Condition, ...]] = ()

    zones: tuple[str, ...] = setting(
        (),
        help="the thermal zones that count, by their type; or, as -TYPE, those that do not",
        check=_zone,
    )
    supplies: str = setting(
        "",
        help="a folder, laid out as /sys/class/power_supply, where a program of yours keeps what a"
        " UPS hat says; empty: none",
        check=_absolute,
    )
    metered: tuple[str, ...] = setting(
        ("ww*", "ppp*", "usb*"),
        help="interfaces whose bytes cost something: names, with * and ?; by default a mobile"
        " network's; a phone, at a USB port (enx...) or over Wi-Fi, looks like any other adapter",
        check=_interface,
    )
    hours: tuple[str, ...] = setting(
        (),
        help="train only at these times of the day, by the clock where the device is; none: at any",
        check=_hours,
    )
    dwell_s: float = setting(
        10.0, help="conditions must hold so long before work goes on", unit="s", low=0, high=86_400
    )
    check_s: float = setting(
        60.0,
        help="how often conditions are looked at while nothing is trained",
        unit="s",
        low=0.05,
        high=86_400,
    )

    def __post_init__(self) -> None:
        if len({name.startswith("-") for name in self.zones}) > 1:
            raise ValueError("zones: allowed: zones to take, or -zones to leave out, not both")
        for row in self.rows:
            limit = self.own(row)
            if not row.keeps(limit.resume, limit.value):
                side = "more" if row.direction is Direction.AT_LEAST else "less"
                raise ValueError(f"{_resume(row)}: allowed: {limit.value} ({row.name}) or {side}")

    def own(self, row: Condition) -> Limit:
        """What the owner asks of a condition."""
        if isinstance(row.limit, Unless):
            return Limit(False, False, Asker.OWNER)
        value: Value = getattr(self, row.name)
        resumes = isinstance(row.limit, Bound) and row.limit.resume_help
        resume: Value = getattr(self, _resume(row)) if resumes else value
        return Limit(value, resume, Asker.POLICY)

    def limit(self, row: Condition, task: Conditions | None) -> Limit:
        """The stricter of policy and task; the gap of the hysteresis is the policy's."""
        own = self.own(row)
        asked = row.asks(task) if row.asks and task else own.value
        if row.keeps(own.value, asked):
            return own
        if not isinstance(row.limit, Bound):
            return Limit(asked, asked, Asker.TASK)
        resume = asked + (own.resume - own.value)
        return Limit(asked, min(max(resume, row.limit.low), row.limit.high), Asker.TASK)
