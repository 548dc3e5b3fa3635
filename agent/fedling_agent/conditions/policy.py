"""Decides from readings whether a device may train or transfer, in sentences a person can read."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fedling_agent.conditions.sensors import Readings, Signal
from fedling_protocol.settings import setting
from fedling_protocol.wire.messages import Conditions

SECOND_NS = 1_000_000_000
DWELL_CHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's own conditions; a task's are added, the stricter wins."""

    mains: bool = setting(False, help="work only while on mains")
    battery: int = setting(
        40, help="work on battery only from here", unit="percent", low=0, high=100
    )
    battery_resume: int = setting(
        45, help="once it was too low, from here", unit="percent", low=0, high=100
    )
    temperature: int = setting(
        70, help="train only up to here", unit="degrees Celsius", low=-60, high=200
    )
    temperature_resume: int = setting(
        65, help="once it was too hot, only up to here", unit="degrees Celsius", low=-60, high=200
    )
    network: bool = setting(True, help="models and updates need a default route")
    dwell_s: float = setting(
        10.0, help="conditions hold so long before work goes on", unit="s", low=0, high=86_400
    )
    check_s: float = setting(
        60.0, help="between looks while nothing is trained", unit="s", low=0.05, high=86_400
    )

    def __post_init__(self) -> None:
        if self.battery_resume < self.battery:
            raise ValueError(f"battery_resume: allowed: {self.battery} (battery) or more")
        if self.temperature_resume > self.temperature:
            raise ValueError(
                f"temperature_resume: allowed: {self.temperature} (temperature) or less"
            )


@dataclass(frozen=True, slots=True)
class Memory:
    """What the last decision leaves for the next: hysteresis and dwell. Starts empty."""

    battery_low: bool = False
    too_hot: bool = False
    bad_power_ns: int | None = None  # CLOCK_MONOTONIC of the last reading that said no
    bad_heat_ns: int | None = None
    bad_network_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a device may do now. Power and network gate transfers, power and heat training."""

    train: bool
    transfer: bool
    train_reasons: tuple[str, ...] = field(default=())  # why not: "battery 34 % < 40 %"
    transfer_reasons: tuple[str, ...] = field(default=())
    next_check_s: float = 0.0

    @property
    def reasons(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(self.train_reasons + self.transfer_reasons))


def decide(
    policy: Policy, asked: Conditions | None, readings: Readings, memory: Memory
) -> tuple[Allowance, Memory]:
    """Pure. asked: the conditions of the task, None when no plan is known.

    Keep one Memory per task. A "no" comes at once, a "yes" after dwell_s of good readings.
    """
    limits = _stricter(policy, asked)
    low = _battery_low(limits, readings, memory.battery_low)
    hot = _too_hot(limits, readings, memory.too_hot)
    now = readings.at_ns
    power, bad_power = _dwell(
        policy, tuple(_power(limits, readings, low)), memory.bad_power_ns, now
    )
    heat, bad_heat = _dwell(policy, tuple(_heat(limits, readings, hot)), memory.bad_heat_ns, now)
    net, bad_net = _dwell(policy, tuple(_network(limits, readings)), memory.bad_network_ns, now)
    # While conditions have to hold, they are looked at again and again.
    waits = [min(g.left_s, DWELL_CHECK_S) for g in (power, heat, net) if g.left_s > 0]
    allowance = Allowance(
        train=not (power.reasons or heat.reasons),
        transfer=not (power.reasons or net.reasons),
        train_reasons=power.reasons + heat.reasons,
        transfer_reasons=power.reasons + net.reasons,
        next_check_s=min([policy.check_s, *waits]),
    )
    return allowance, Memory(low, hot, bad_power, bad_heat, bad_net)


def sentence(allowance: Allowance) -> str:
    """As "battery 34 % < 40 %, next check in 12 min"; empty if all is allowed."""
    if not allowance.reasons:
        return ""
    return f"{'; '.join(allowance.reasons)}, next check in {duration(allowance.next_check_s)}"


def duration(seconds: float) -> str:
    """As people say it: 45 s, 12 min, 3 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"


@dataclass(frozen=True, slots=True)
class _Limits:
    """The stricter of policy and task, and where each gap of the hysteresis ends."""

    mains: bool
    mains_asker: str
    battery: int
    battery_resume: int
    temperature: int
    temperature_resume: int
    network: bool


def _stricter(policy: Policy, asked: Conditions | None) -> _Limits:
    if asked is None:
        asked = Conditions(False, policy.battery, policy.temperature)
    battery = max(policy.battery, asked.battery)
    temperature = min(policy.temperature, asked.temperature)
    return _Limits(
        policy.mains or asked.mains,
        "the policy" if policy.mains else "the task",
        battery,
        min(100, battery + policy.battery_resume - policy.battery),
        temperature,
        temperature - (policy.temperature - policy.temperature_resume),
        policy.network,
    )


def _on_mains(readings: Readings) -> bool:
    """A machine that lists no supply is one that is plugged in."""
    mains = readings.mains
    return mains.value is True or (mains.value is None and not mains.broken)


def _battery_low(limits: _Limits, readings: Readings, was_low: bool) -> bool:
    percent = readings.battery.value
    if percent is None or _on_mains(readings):
        return False
    return percent < (limits.battery_resume if was_low else limits.battery)


def _too_hot(limits: _Limits, readings: Readings, was_hot: bool) -> bool:
    degrees = readings.temperature.value
    if degrees is None:
        return False
    return degrees > (limits.temperature_resume if was_hot else limits.temperature)


def _power(limits: _Limits, readings: Readings, low: bool) -> Iterator[str]:
    if _on_mains(readings):
        return
    battery = readings.battery
    if limits.mains:
        yield (
            _unknown("mains", readings.mains)
            or f"on battery, and {limits.mains_asker} asks for mains"
        )
    elif battery.value is None:
        yield _unknown("battery", battery) or _unknown("mains", readings.mains) or "not on mains"
    elif low and battery.value >= limits.battery:
        was = f"(it was below {limits.battery} %)"
        yield f"battery {battery.value} % < {limits.battery_resume} % {was}"
    elif low:
        yield f"battery {battery.value} % < {limits.battery} %"


def _heat(limits: _Limits, readings: Readings, hot: bool) -> Iterator[str]:
    degrees = readings.temperature.value
    if not hot or degrees is None:
        return
    if degrees > limits.temperature:
        yield f"temperature {degrees:.1f} °C > {limits.temperature} °C"
    else:
        yield (
            f"temperature {degrees:.1f} °C > {limits.temperature_resume} °C "
            f"(it was above {limits.temperature} °C)"
        )


def _network(limits: _Limits, readings: Readings) -> Iterator[str]:
    if limits.network and readings.network.value is not True:
        yield _unknown("network", readings.network) or "no network: no default route that is up"


def _unknown(name: str, signal: Signal[bool] | Signal[int]) -> str:
    """A value that hardware should give and does not is no permission."""
    return f"{name} unknown: {signal.source}: {signal.reason}" if signal.broken else ""


@dataclass(frozen=True, slots=True)
class _Gate:
    reasons: tuple[str, ...]
    left_s: float  # of the dwell


def _dwell(
    policy: Policy, reasons: tuple[str, ...], bad_ns: int | None, now_ns: int
) -> tuple[_Gate, int | None]:
    """A plug that flaps ten times a second must not start a training ten times a second."""
    if reasons:
        return _Gate(reasons, 0.0), now_ns
    if bad_ns is None:
        return _Gate((), 0.0), None
    left_s = policy.dwell_s - (now_ns - bad_ns) / SECOND_NS
    if left_s <= 0:
        return _Gate((), 0.0), None
    return _Gate(
        (f"conditions are good, but were not {duration(policy.dwell_s)} ago",), left_s
    ), bad_ns
