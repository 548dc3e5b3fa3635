"""Decisions, hysteresis, dwell, and how they are told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.conditions.policy import Allowance, Memory, Policy, decide, duration, sentence
from fedling_agent.conditions.sensors import Readings, Signal
from fedling_protocol import settings
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.messages import Conditions

SECOND = 1_000_000_000
POLICY = Policy(dwell_s=0)
FRESH = Memory()


def readings(
    *,
    mains: bool | None = False,
    battery: int | None = 80,
    temperature: float | None = 40.0,
    network: bool | None = True,
    at_s: float = 1000,
) -> Readings:
    return Readings(
        Signal(mains, "online"),
        Signal(battery, "capacity"),
        Signal(temperature, "temp"),
        Signal(network, "route"),
        int(at_s * SECOND),
    )


def test_all_good() -> None:
    allowance, memory = decide(POLICY, None, readings(), FRESH)
    assert allowance == Allowance(True, True, next_check_s=60)
    assert memory == FRESH
    assert sentence(allowance) == ""


def test_low_battery_says_why() -> None:
    allowance, _ = decide(replace(POLICY, check_s=720), None, readings(battery=34), FRESH)
    assert not allowance.train
    assert not allowance.transfer
    assert sentence(allowance) == "battery 34 % < 40 %, next check in 12 min"


def test_battery_does_not_matter_on_mains() -> None:
    assert decide(POLICY, None, readings(mains=True, battery=3), FRESH)[0].train


def test_machine_without_supplies_is_on_mains() -> None:
    everything = Conditions(mains=True, battery=100, temperature=90)
    allowance, _ = decide(POLICY, everything, readings(mains=None, battery=None), FRESH)
    assert allowance.train


@pytest.mark.parametrize(
    ("policy", "asked", "words"),
    [
        (replace(POLICY, mains=True), None, "on battery, and the policy asks for mains"),
        (POLICY, Conditions(True, 0, 90), "on battery, and the task asks for mains"),
        (POLICY, Conditions(False, 90, 90), "battery 80 % < 90 %"),
        (replace(POLICY, battery=85, battery_resume=85), Conditions(False, 0, 90), "80 % < 85 %"),
        (POLICY, Conditions(False, 0, 30), "temperature 40.0 °C > 30 °C"),
        (
            replace(POLICY, temperature=35, temperature_resume=35),
            Conditions(False, 0, 90),
            "temperature 40.0 °C > 35 °C",
        ),
    ],
)
def test_the_stricter_wins(policy: Policy, asked: Conditions | None, words: str) -> None:
    allowance, _ = decide(policy, asked, readings(), FRESH)
    assert not allowance.train
    assert words in allowance.train_reasons[0]


def test_heat_stops_training_only_and_network_transfers_only() -> None:
    hot, _ = decide(POLICY, None, readings(temperature=75), FRESH)
    assert (hot.train, hot.transfer) == (False, True)
    offline, _ = decide(POLICY, None, readings(network=False), FRESH)
    assert (offline.train, offline.transfer) == (True, False)
    assert "no default route" in offline.transfer_reasons[0]
    assert decide(replace(POLICY, network=False), None, readings(network=False), FRESH)[0].transfer


def test_battery_resumes_higher_than_it_stopped() -> None:
    _, low = decide(POLICY, None, readings(battery=39), FRESH)
    still, low = decide(POLICY, None, readings(battery=42), low)
    assert still.train_reasons == ("battery 42 % < 45 % (it was below 40 %)",)
    enough, memory = decide(POLICY, None, readings(battery=45), low)
    assert enough.train
    assert decide(POLICY, None, readings(battery=42), memory)[0].train


def test_heat_resumes_cooler_than_it_stopped() -> None:
    _, hot = decide(POLICY, None, readings(temperature=70.1), FRESH)
    still, hot = decide(POLICY, None, readings(temperature=66), hot)
    assert still.train_reasons == ("temperature 66.0 °C > 65 °C (it was above 70 °C)",)
    assert decide(POLICY, None, readings(temperature=65), hot)[0].train


def test_good_conditions_must_hold() -> None:
    policy = Policy(mains=True, dwell_s=10)
    _, memory = decide(policy, None, readings(at_s=0), FRESH)
    waiting, memory = decide(policy, None, readings(mains=True, at_s=4), memory)
    assert waiting.train_reasons == ("conditions are good, but were not 10 s ago",)
    assert 0 < waiting.next_check_s <= 6
    _, memory = decide(policy, None, readings(at_s=6), memory)
    assert not decide(policy, None, readings(mains=True, at_s=15), memory)[0].train
    assert decide(policy, None, readings(mains=True, at_s=16), memory)[0].train


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=60))
def test_flapping_plug_never_trains_within_the_dwell(steps: list[tuple[int, bool]]) -> None:
    policy, memory = Policy(mains=True, dwell_s=1), FRESH
    now, last_bad = 0, -10_000
    for tenths, mains in steps:
        now += tenths
        allowance, memory = decide(policy, None, readings(mains=mains, at_s=now / 10), memory)
        last_bad = last_bad if mains else now
        assert allowance.train == (now - last_bad >= 10)


def test_unreadable_power_is_no_permission() -> None:
    reason = "'x' is not a number"
    plug: Signal[bool] = Signal(None, "/sys/online", reason, broken=True)
    allowance, _ = decide(replace(POLICY, mains=True), None, replace(readings(), mains=plug), FRESH)
    assert allowance.train_reasons == (f"mains unknown: /sys/online: {reason}",)
    cell: Signal[int] = Signal(None, "/sys/capacity", reason, broken=True)
    allowance, _ = decide(POLICY, None, replace(readings(), battery=cell), FRESH)
    assert allowance.train_reasons == (f"battery unknown: /sys/capacity: {reason}",)


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(SettingsError, match="battery_resume: allowed: 40"):
        settings.parse("battery_resume = 30", "agent.toml", Policy)
    with pytest.raises(SettingsError, match="temperature_resume: allowed: 70"):
        settings.parse("temperature_resume = 80", "agent.toml", Policy)
    assert settings.parse("", "agent.toml", Policy) == Policy()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (45, "45 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (7200, "2 h")],
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words
