"""Decisions: limits, hysteresis, dwell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.conditions.condition import Asker, Code, Lack, Signal
from fedling_agent.conditions.decision import Allowance, Memory, decide
from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.table import BATTERY, MAINS, TEMPERATURE
from fedling_protocol.wire.messages import Conditions
from tests.support.conditions import policy, readings

POLICY = policy()
FRESH = Memory()


def codes(allowance: Allowance) -> list[str]:
    return [reason.code for reason in allowance.reasons]


def test_all_good() -> None:
    allowance, memory = decide(POLICY, None, readings(), FRESH)
    assert allowance == Allowance(next_check_s=60)
    assert memory == FRESH
    assert allowance.sentence == ""


def test_low_battery_says_why() -> None:
    allowance, _ = decide(policy(check_s=720.0), None, readings(battery=34), FRESH)
    assert not allowance.train
    assert not allowance.transfer
    assert allowance.sentence == "battery 34 % < 40 %, next check in 12 min"
    (reason,) = allowance.reasons
    assert (reason.condition, reason.code) == (BATTERY, "battery-low")
    assert (reason.value, reason.limit, reason.resume, reason.unit) == (34, 40, None, "%")
    assert (reason.asker, reason.source) == (Asker.POLICY, "/battery")


def test_battery_does_not_matter_on_mains() -> None:
    assert decide(POLICY, None, readings(mains=True, battery=3), FRESH)[0].train


def test_machine_without_supplies_is_on_mains() -> None:
    everything = Conditions(mains=True, battery=100, temperature=90)
    allowance, _ = decide(POLICY, everything, readings(mains=None, battery=None), FRESH)
    assert allowance.train


@pytest.mark.parametrize(
    ("own", "asked", "words"),
    [
        (policy(mains=True), None, "on battery, and the policy asks for mains"),
        (POLICY, Conditions(True, 0, 90), "on battery, and the task asks for mains"),
        (POLICY, Conditions(False, 90, 90), "battery 80 % < 90 %"),
        (policy(battery=85, battery_resume=85), Conditions(False, 0, 90), "80 % < 85 %"),
        (POLICY, Conditions(False, 0, 30), "temperature 40.0 °C > 30 °C"),
        (
            policy(temperature=35, temperature_resume=35),
            Conditions(False, 0, 90),
            "temperature 40.0 °C > 35 °C",
        ),
    ],
)
def test_the_stricter_wins(own: Policy, asked: Conditions | None, words: str) -> None:
    allowance, _ = decide(own, asked, readings(), FRESH)
    assert not allowance.train
    assert words in allowance.sentence


def test_heat_stops_training_only_and_network_transfers_only() -> None:
    hot, _ = decide(POLICY, None, readings(temperature=75.0), FRESH)
    assert (hot.train, hot.transfer) == (False, True)
    unreachable = Signal(False, "mqtt.home:1883", detail="Network is unreachable")
    offline, _ = decide(POLICY, None, readings(network=unreachable), FRESH)
    assert (offline.train, offline.transfer) == (True, False)
    assert offline.sentence.startswith(
        "no network: mqtt.home:1883: Network is unreachable (policy.network asks for a way there),"
    )
    assert decide(policy(network=False), None, readings(network=False), FRESH)[0].transfer


def test_battery_resumes_higher_than_it_stopped() -> None:
    _, low = decide(POLICY, None, readings(battery=39), FRESH)
    still, low = decide(POLICY, None, readings(battery=42), low)
    assert still.reasons[0].resume == 45
    assert still.sentence.startswith("battery 42 % < 45 % (it was below 40 %)")
    enough, memory = decide(POLICY, None, readings(battery=45), low)
    assert enough.train
    assert decide(POLICY, None, readings(battery=42), memory)[0].train


def test_heat_resumes_cooler_than_it_stopped() -> None:
    _, hot = decide(POLICY, None, readings(temperature=70.1), FRESH)
    still, hot = decide(POLICY, None, readings(temperature=66.0), hot)
    assert still.sentence.startswith("temperature 66.0 °C > 65 °C (it was above 70 °C)")
    assert decide(POLICY, None, readings(temperature=65.0), hot)[0].train


def test_good_conditions_must_hold() -> None:
    own = policy(mains=True, dwell_s=10.0)
    _, memory = decide(own, None, readings(at=0), FRESH)
    waiting, memory = decide(own, None, readings(mains=True, at=4), memory)
    assert waiting.sentence.startswith("conditions are good, but were not 10 s ago")
    (reason,) = waiting.reasons
    assert (reason.code, reason.value, reason.limit) == (Code.TOO_SOON, 4.0, 10.0)
    assert 0 < waiting.next_check_s <= 6
    _, memory = decide(own, None, readings(at=6), memory)
    assert not decide(own, None, readings(mains=True, at=15), memory)[0].train
    assert decide(own, None, readings(mains=True, at=16), memory)[0].train


@given(st.floats(0, 4), st.floats(0.001, 3))
def test_next_look_is_at_other_readings(waited: float, dwell: float) -> None:
    """A dwell that is nearly over, or over but for a rounding, was looked at again at once, on the
    same readings, as fast as the loop turns."""
    own = policy(mains=True, dwell_s=dwell)
    _, memory = decide(own, None, readings(at=33.1), FRESH)
    given_ = readings(mains=True, at=33.1 + waited)
    allowance, _ = decide(own, None, given_, memory)
    assert given_.at + allowance.next_check_s >= given_.good_until


def test_what_is_wrong_is_told_alone() -> None:
    own = policy(dwell_s=10.0)
    _, memory = decide(own, None, readings(temperature=80.0, at=0), FRESH)
    cool, _ = decide(own, None, readings(battery=3, at=1), memory)
    assert codes(cool) == ["battery-low"]
    assert not decide(own, None, readings(at=2), memory)[0].train


@given(st.lists(st.tuples(st.integers(1, 24), st.booleans()), min_size=1, max_size=60))
def test_flapping_plug_never_trains_within_the_dwell(steps: list[tuple[int, bool]]) -> None:
    own, memory = policy(mains=True, dwell_s=1.0), FRESH
    now, last_bad = 0, -10_000
    for eighths, mains in steps:
        now += eighths
        allowance, memory = decide(own, None, readings(mains=mains, at=now / 8), memory)
        last_bad = last_bad if mains else now
        assert allowance.train == allowance.transfer == (now - last_bad >= 8)


@given(st.lists(st.integers(30, 55), min_size=1, max_size=60))
def test_hysteresis_is_two_thresholds(levels: list[int]) -> None:
    """Against the plainest automaton that anyone would write."""
    memory, low = FRESH, False
    for number, level in enumerate(levels):
        allowance, memory = decide(POLICY, None, readings(battery=level, at=number), memory)
        low = level < (45 if low else 40)
        assert allowance.train is not low
        again, same = decide(POLICY, None, readings(battery=level, at=number), memory)
        assert (again.train, same) == (allowance.train, memory)


@given(
    st.lists(
        st.tuples(st.sampled_from([True, False, None]), st.integers(0, 100), st.integers(20, 90)),
        max_size=40,
    ),
    st.integers(0, 8),
)
def test_allowed_never_against_a_reading(
    steps: list[tuple[bool | None, int, int]], dwell: int
) -> None:
    own, memory = policy(dwell_s=float(dwell)), FRESH
    for number, (mains, battery, heat) in enumerate(steps):
        given = readings(mains=mains, battery=battery, temperature=float(heat), at=number)
        allowance, memory = decide(own, None, given, memory)
        if allowance.train:
            assert heat <= 70
            assert mains is not False or battery >= 40
        assert bool(allowance.sentence) == bool(allowance.reasons)
        assert 0 < allowance.next_check_s <= own.check_s


def test_unreadable_power_is_no_permission() -> None:
    detail = "'x' is not a number"
    plug = Signal(None, "/sys/online", Lack.UNREADABLE, detail)
    allowance, _ = decide(policy(mains=True), None, readings(mains=plug), FRESH)
    assert allowance.train_reasons[0].condition is MAINS
    assert allowance.sentence.startswith(f"mains unknown: /sys/online: {detail}")
    cell = Signal(None, "/sys/capacity", Lack.UNREADABLE, detail)
    allowance, _ = decide(POLICY, None, readings(battery=cell), FRESH)
    assert codes(allowance) == [Code.UNREADABLE]
    assert allowance.sentence.startswith(f"battery unknown: /sys/capacity: {detail}")


def test_power_that_is_not_told_leaves_the_limit_of_the_battery() -> None:
    mute = Signal(None, "/status", Lack.UNTOLD, "Not charging, and no plug is online")
    assert decide(POLICY, None, readings(mains=mute, battery=80), FRESH)[0].train
    low, _ = decide(POLICY, None, readings(mains=mute, battery=11), FRESH)
    assert low.sentence.startswith("battery 11 % < 40 %")
    asked, _ = decide(policy(mains=True), None, readings(mains=mute, battery=80), FRESH)
    assert asked.sentence.startswith("mains unknown: /status: Not charging, and no plug")


def test_broker_that_was_not_looked_up_yet_is_no_objection() -> None:
    unasked = Signal(None, "mqtt.home:1883", Lack.UNTOLD, "its name has not been looked up yet")
    allowance, memory = decide(POLICY, None, readings(network=unasked), FRESH)
    assert (allowance.transfer, memory) == (True, FRESH)  # nor a reason to wait afterwards


def test_heat_names_its_zone_and_how_to_leave_out_a_dead_one() -> None:
    warm = Signal(75.0, "/temp", detail="cpu-thermal")
    allowance, _ = decide(POLICY, None, readings(temperature=warm), FRESH)
    assert allowance.sentence.startswith("temperature 75.0 °C > 70 °C in cpu-thermal,")
    dead = Signal(125.0, "/temp", detail="PMIC-Die")
    allowance, _ = decide(POLICY, None, readings(temperature=dead), FRESH)
    assert 'is left out by policy.zones = ["-PMIC-Die"]' in allowance.sentence
    assert allowance.train_reasons[0].detail == "PMIC-Die"


def test_without_a_battery_the_plug_is_asked() -> None:
    off, _ = decide(POLICY, None, readings(mains=False, battery=None), FRESH)
    assert off.sentence.startswith("not on mains,")
    plug = Signal(None, "/sys/online", Lack.UNREADABLE, "no")
    broken, _ = decide(POLICY, None, readings(mains=plug, battery=None), FRESH)
    assert [r.condition for r in broken.reasons] == [MAINS]


def test_zone_that_says_nonsense_is_none_but_a_silent_one_is_no_permission() -> None:
    nonsense = Signal(None, "/temp", Lack.UNREADABLE, "'warm' is not a number")
    assert decide(POLICY, None, readings(temperature=nonsense), FRESH)[0].train
    silent = Signal(None, "", Lack.SILENT, "no answer for 5 s", 5.0)
    allowance, _ = decide(POLICY, None, readings(temperature=silent), FRESH)
    (reason,) = allowance.train_reasons
    assert (reason.condition, reason.code, reason.value) == (TEMPERATURE, Code.SILENT, 5.0)
    assert allowance.transfer
    assert allowance.sentence.startswith("temperature unknown: no answer for 5 s")
