"""What is said of a device adds up: no numbers in the reasons."""

import pytest

from fedling_agent.conditions.condition import Code, Reason
from fedling_agent.conditions.table import BATTERY, TABLE
from fedling_agent.service import report
from fedling_sim.observer import describe, word


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("battery-low", "battery low"),
        ("too-hot", "too hot"),
        (Code.SILENT, "a sensor is broken"),
        (Code.TOO_SOON, "conditions must hold a while"),
        ("something-new", "something-new"),
    ],
)
def test_word_of_a_code(code: str, expected: str) -> None:
    assert word(code) == expected


def test_every_row_and_common_code_has_a_word() -> None:
    codes = [*(row.code for row in TABLE), *Code]
    assert all(word(code) != code for code in codes)


def test_describe_of_each_phase() -> None:
    low = [report.of_reason(Reason(BATTERY, BATTERY.code, 34, 40, unit="%"))]
    assert describe("training", [], connected=True) == ("training", "")
    assert describe("paused", low, connected=True) == ("paused", "battery low")
    assert describe("idle", low, connected=False) == ("waiting", "cut off")
    assert describe("joining", [], connected=True) == ("talking", "")
    assert describe("waiting", [], connected=True) == ("waiting", "no place in the round")
    assert describe("idle", [], connected=True) == ("waiting", "round done")
