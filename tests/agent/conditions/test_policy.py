"""[policy], and a task's limits beside it."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.conditions.condition import Asker, Bound, Limit, Unless
from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.table import BATTERY, MAINS, NETWORK, TABLE, TEMPERATURE
from fedling_protocol import settings
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.messages import Conditions
from tests.support.conditions import policy


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(SettingsError, match=r"battery_resume: allowed: 40 \(battery\) or more"):
        settings.parse("battery_resume = 30", "agent.toml", Policy)
    with pytest.raises(SettingsError, match=r"temperature_resume: allowed: 70 .* or less"):
        settings.parse("temperature_resume = 80", "agent.toml", Policy)
    with pytest.raises(SettingsError, match="battery = 101: allowed: 0 to 100 %"):
        settings.parse("battery = 101", "agent.toml", Policy)
    with pytest.raises(SettingsError, match="zones: allowed: zones to take, or -zones to leave"):
        settings.parse('zones = ["cpu", "-gpu"]', "agent.toml", Policy)
    with pytest.raises(SettingsError, match="the type of a zone"):
        settings.parse('zones = ["-"]', "agent.toml", Policy)
    assert settings.parse("", "agent.toml", Policy) == Policy()


def test_every_row_has_its_keys() -> None:
    keys = {key.key for key in settings.describe(Policy)}
    for row in TABLE:
        assert (row.name in keys) == (not isinstance(row.limit, Unless))
        assert (f"{row.name}_resume" in keys) == (
            isinstance(row.limit, Bound) and row.limit.resume_help != ""
        )


def test_own_is_what_stands_in_the_file() -> None:
    mine = policy(mains=True, battery=30, battery_resume=36)
    assert mine.own(MAINS) == Limit(True, True, Asker.POLICY)
    assert mine.own(BATTERY) == Limit(30, 36, Asker.POLICY)
    assert mine.own(TEMPERATURE) == Limit(70, 65, Asker.POLICY)
    assert mine.own(NETWORK).value is True


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        (0, Limit(40, 45, Asker.POLICY)),
        (40, Limit(40, 45, Asker.POLICY)),
        (60, Limit(60, 65, Asker.TASK)),
        (98, Limit(98, 100, Asker.TASK)),  # more than 100 % never comes
    ],
)
def test_limit_keeps_the_gap_of_the_policy(asked: int, limit: Limit) -> None:
    assert Policy().limit(BATTERY, Conditions(False, asked, 75)) == limit


@given(st.booleans(), st.integers(0, 100), st.integers(-60, 125))
def test_limit_is_never_looser_than_either(mains: bool, battery: int, temperature: int) -> None:
    task = Conditions(mains, battery, temperature)
    for row in TABLE:
        limit = Policy().limit(row, task)
        assert row.keeps(limit.value, Policy().own(row).value)
        assert row.asks is None or row.keeps(limit.value, row.asks(task))
        assert row.keeps(limit.resume, limit.value)
        assert Policy().limit(row, None) == Policy().own(row)


def test_a_task_may_ask_what_the_wire_has_fields_for() -> None:
    asked = [f.name for f in fields(Conditions)]
    assert [row.name for row in TABLE if row.asks] == asked
    for row in TABLE:
        if row.asks:
            given = Conditions(**{row.name: 1})  # type: ignore[arg-type]
            assert row.asks(given) == 1
