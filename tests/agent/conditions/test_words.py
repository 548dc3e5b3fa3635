"""Sentences are made of codes and numbers."""

import pytest

from fedling_agent.conditions import words
from fedling_agent.conditions.condition import Code, Reason, Value
from fedling_agent.conditions.table import BATTERY, TEMPERATURE


def test_every_common_code_has_a_word_and_a_meaning() -> None:
    assert set(words.WORDS) == set(words.MEANINGS) == set(Code)


def test_of_all_says_each_sentence_once() -> None:
    soon = [
        Reason(BATTERY, Code.TOO_SOON, 4.0, 10.0, unit="s"),
        Reason(TEMPERATURE, Code.TOO_SOON, 6.0, 10.0, unit="s"),
    ]
    said = "conditions are good, but were not 10 s ago, next check in 1 s"
    assert words.of_all(soon, 0.3) == said
    assert words.of_all([], 5) == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (45, "45 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (7200, "2 h")],
)
def test_duration(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(True, "", "yes"), (34, "%", "34 %"), (40.0, "°C", "40.0 °C"), (None, "%", "unknown")],
)
def test_shown(value: Value | None, unit: str, said: str) -> None:
    assert words.shown(value, unit) == said
