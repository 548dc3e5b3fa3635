"""The hours at which the owner lets a device train, on days of which two are none of 24 hours."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fedling_agent import config as configuration
from fedling_agent.conditions.condition import Lack, Roots
from fedling_agent.conditions.decision import Memory, decide
from fedling_agent.conditions.hours import DAY, off_hours, window_of
from fedling_agent.conditions.owner import Owner
from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.words import sentence
from fedling_protocol.settings import SettingsError
from tests.support.agent import Agent
from tests.support.conditions import policy, readings

BERLIN = "Europe/Berlin"
NIGHT = ("22:00-06:00",)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], float]:
    """The device stands there; Unix time of a moment that a clock shows there."""
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    return lambda text: datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(BERLIN)).timestamp()


@pytest.fixture(autouse=True)
def _zone_of_others(monkeypatch: pytest.MonkeyPatch) -> object:
    yield
    monkeypatch.undo()
    time.tzset()


def at(unix_s: float, hours: tuple[str, ...]) -> Roots:
    return Roots(hours=hours, owner=Owner(now=lambda: 7.0, wall=lambda: unix_s))


def is_off(unix_s: float, *hours: str) -> bool:
    value = off_hours(at(unix_s, hours)).value
    assert isinstance(value, bool)
    return value


@pytest.mark.parametrize("text", ["22:00-06:00", "00:00-24:00", "12:00-13:30", "23:59-00:00"])
def test_any_minute_is_in_a_window_or_in_the_rest_of_the_day(
    berlin: Callable[[str], float], text: str
) -> None:
    begin, end = text.split("-")
    rest = f"{end.replace('24', '00')}-{begin}"
    for minute in range(DAY):
        now = berlin(f"2026-05-04T{minute // 60:02}:{minute % 60:02}:59")
        shown = f"{minute // 60:02}:{minute % 60:02}"
        inside = begin <= shown < end if begin < end else not end <= shown < begin
        assert is_off(now, text) == (not inside), shown
        if text != "00:00-24:00":
            assert is_off(now, rest) == inside, shown


def test_one_of_several_windows_is_enough(berlin: Callable[[str], float]) -> None:
    hours = ("12:00-13:00", "22:00-06:00")
    asked = ("11:59", "12:00", "13:00", "21:59", "22:00", "00:00", "05:59", "06:00")
    found = [is_off(berlin(f"2026-05-04T{shown}"), *hours) for shown in asked]
    assert found == [True, False, True, True, False, False, False, True]


def test_the_clock_on_the_wall_counts_when_summer_time_begins_and_ends(
    berlin: Callable[[str], float],
) -> None:
    """A window is an hour shorter in one night, and an hour longer in another."""
    for first, hours in (("2026-03-28T12:00", 7), ("2026-06-01T12:00", 8), ("2026-10-24T12:00", 9)):
        noon = berlin(first)
        within = [not is_off(noon + 60 * minute, *NIGHT) for minute in range(DAY)]
        assert sum(within) == 60 * hours


@pytest.mark.parametrize("zone", ["America/Havana", "Asia/Beirut", "Australia/Lord_Howe"])
def test_a_window_over_midnight_where_midnight_is_left_out(
    monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Summer time begins at midnight in some places, and is half an hour in one."""
    monkeypatch.setenv("TZ", zone)
    here = ZoneInfo(zone)
    begin = datetime(2026, 1, 1, tzinfo=here).timestamp()
    for half_hour in range(48 * 365):
        now = begin + 1800 * half_hour
        shown = f"{datetime.fromtimestamp(now, here):%H:%M}"
        assert is_off(now, "23:30-00:30") == ("00:30" <= shown < "23:30")


def test_a_clock_that_was_never_set_is_no_permission(berlin: Callable[[str], float]) -> None:
    """A board without a clock of its own begins in 1970, or where its file system was made."""
    assert berlin("1970-01-02T00:00") > 0
    told = off_hours(at(3600.0, NIGHT))
    assert (told.lack, told.detail) == (
        Lack.UNREADABLE,
        "the clock is not set: it shows 1970-01-01 02:00:00",
    )


def test_without_hours_any_hour_is_good() -> None:
    assert off_hours(at(3600.0, ())).value is False


def test_a_command_without_a_service_asks_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 3600.0)
    assert off_hours(Roots(hours=NIGHT)).broken


def test_a_zone_that_is_changed_counts_at_once(
    berlin: Callable[[str], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service runs for months; `timedatectl set-timezone` does not restart it."""
    noon = berlin("2026-05-04T12:00")
    assert is_off(noon, *NIGHT)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert off_hours(at(noon, NIGHT)).detail == "it is 19:00, its hours are 22:00-06:00"


@pytest.mark.usefixtures("berlin")
def test_hours_of_agent_toml_are_asked(tmp_path: Path) -> None:
    lists = {"hours": [*NIGHT], "metered": ["wwan7"], "zones": ["cpu-thermal"]}
    lines = [f"{key} = {json.dumps(value)}" for key, value in lists.items()]
    agent = Agent(tmp_path, 1, policy="\n".join([*lines, 'supplies = "/run/ups"']))
    roots = configuration.load(agent.config).roots
    assert {key: [*getattr(roots, key)] for key in lists} == lists
    assert roots.supplies == "/run/ups"
    (row,) = [row for row in Policy.rows if row.name == "off_hours"]
    told = row.read(replace(roots, owner=Owner(now=lambda: 7.0, wall=lambda: 3600.0)))
    assert told.detail == "the clock is not set: it shows 1970-01-01 02:00:00"


def test_outside_of_its_hours_a_device_trains_nothing_and_sends_what_it_has(
    berlin: Callable[[str], float],
) -> None:
    signal = off_hours(at(berlin("2026-05-04T14:05"), NIGHT))
    allowance, _ = decide(policy(hours=[*NIGHT]), None, readings(off_hours=signal), Memory())
    (reason,) = allowance.train_reasons
    assert allowance.transfer
    assert allowance.send
    assert reason.code == "off-hours"
    said = "not at this hour: it is 14:05, its hours are 22:00-06:00 (policy.hours)"
    assert sentence(reason) == said


@pytest.mark.parametrize(
    "text",
    ["", "22-6", "22:00", "22:00-22:00", "00:00-00:00", "24:00-00:00", "22:00-24:01", "25:00-06:00",
     "22:60-06:00", " 22:00-06:00", "22:00-06:00\n", "\u0662\u0662:00-06:00"],
)  # fmt: skip
def test_what_is_no_window_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(ValueError, match="as 22:00-06:00"):
        window_of(text)
    with pytest.raises(SettingsError, match=r"hours.*as 22:00-06:00"):
        policy(hours=[text])
