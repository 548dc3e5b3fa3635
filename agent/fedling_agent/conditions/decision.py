"""Decides from readings whether a device may train or transfer. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import lru_cache

from fedling_agent.conditions import words
from fedling_agent.conditions.condition import Code, Condition, Limit, Readings, Reason
from fedling_agent.conditions.policy import Policy
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import Conditions

DWELL_CHECK_S = 1.0  # while conditions have to hold, they are looked at again and again


@dataclass(frozen=True, slots=True)
class Past:
    """What the last decision about one condition leaves for the next."""

    passed: bool = False  # the limit was: `resume` must be reached
    bad_at: float | None = None  # of the last reading that said no


NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Memory:
    """The past of all conditions, by name: hysteresis and dwell. Starts empty."""

    past: Mapping[str, Past] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a device may do now, and why not."""

    train_reasons: tuple[Reason, ...] = ()
    transfer_reasons: tuple[Reason, ...] = ()
    send_reasons: tuple[Reason, ...] = ()  # those of transfers among them
    next_check_s: float = 0.0

    @property
    def train(self) -> bool:
        return not self.train_reasons

    @property
    def transfer(self) -> bool:
        return not self.transfer_reasons

    @property
    def send(self) -> bool:
        return not self.send_reasons

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why not, whatever is not allowed; each reason once."""
        return tuple(dict.fromkeys(self.train_reasons + self.send_reasons))

    @property
    def sentence(self) -> str:
        """Say it as "battery 34 % < 40 %, next check in 12 min"; empty if all is allowed."""
        return words.of_all(self.reasons, self.next_check_s)


def decide(
    policy: Policy, task: Conditions | None, readings: Readings, memory: Memory
) -> tuple[Allowance, Memory]:
    """Decide for one task, whose Memory it is. task: what its plan asks, None when none is known.

    A "no" comes at once, a "yes" after dwell_s of good readings. Said again of the same readings
    it is the same.
    """
    found = []
    for row, limit, off in _limits(policy, task):
        if off and not memory.past:
            continue
        verdict = _judge(policy, row, limit, off, readings, memory)
        if verdict is not None:
            found.append(verdict)
    if not found:
        return Allowance(next_check_s=policy.check_s), Memory()
    same_s = readings.good_until - readings.at  # until then a look would be at these readings
    waits = [max(min(v.left_s, DWELL_CHECK_S), same_s) for v in found if v.left_s > 0]
    allowance = Allowance(
        _reasons(policy, [v for v in found if v.condition.trains]),
        _reasons(policy, [v for v in found if v.condition.transfers]),
        _reasons(policy, [v for v in found if v.condition.transfers or v.condition.sends]),
        min([policy.check_s, *waits]),
    )
    return allowance, Memory({v.condition.name: v.past for v in found})


@lru_cache(maxsize=64)
def _limits(policy: Policy, task: Conditions | None) -> tuple[tuple[Condition, Limit, bool], ...]:
    """The limit of each row, and whether it asks for nothing.

    A device has one policy and few plans, and decides all the time.
    """
    limits = ((row, policy.limit(row, task)) for row in policy.rows)
    return tuple((row, limit, row.is_off(limit.value)) for row, limit in limits)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What was decided about one condition that is not good, or has not been so for long enough."""

    condition: Condition
    reason: Reason | None  # None: it has to hold longer
    past: Past
    left_s: float = 0.0  # of the dwell


def _judge(
    policy: Policy, row: Condition, limit: Limit, off: bool, readings: Readings, memory: Memory
) -> _Verdict | None:
    """A plug that flaps ten times a second must not start a training ten times a second.

    None: the condition is good, and has been for as long as it must; most are, most of the time.
    """
    past = memory.past.get(row.name, NO_PAST)
    reason = None if off else _reason(row, limit, readings, past.passed)
    if reason is not None:
        return _Verdict(row, reason, Past(reason.code == row.code, readings.at))
    if past.bad_at is None:
        return None
    left_s = policy.dwell_s - (readings.at - past.bad_at)
    if left_s <= 0:
        return None
    return _Verdict(row, None, Past(bad_at=past.bad_at), left_s)


def _reason(row: Condition, limit: Limit, readings: Readings, passed: bool) -> Reason | None:
    """Why this reading says no; None if it does not."""
    signal = readings.signals[row.name]
    if row.exempt(readings):
        return None
    if signal.value is None:
        return row.when_absent(readings) if signal.lack in row.harmless else row.lacking(signal)
    if row.keeps(signal.value, limit.resume if passed else limit.value):
        return None
    resumes = row.keeps(signal.value, limit.value)
    return Reason(
        row,
        row.code,
        signal.value,
        limit.value,
        limit.resume if resumes else None,
        row.unit,
        limit.asker,
        signal.source,
        signal.detail,
    )


def _reasons(policy: Policy, found: Sequence[_Verdict]) -> tuple[Reason, ...]:
    """What is wrong now; if nothing is, that it has to stay so for a while."""
    wrong = tuple(dict.fromkeys(v.reason for v in found if v.reason is not None))
    last = max(found, key=lambda v: v.left_s, default=None)
    if wrong or last is None:
        return wrong
    held_s = policy.dwell_s - last.left_s
    return (Reason(last.condition, Code.TOO_SOON, held_s, policy.dwell_s, unit="s"),)
