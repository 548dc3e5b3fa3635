"""What `task add` says that a task costs."""

import pytest

from fedling_broker.tasks.cost import cost_of, size
from fedling_broker.tasks.task_file import ENDLESS_PAUSE_S, parse_task
from tests.support.rounds_on_disk import TEXT


def task(rounds: int, cohort: str = "") -> str:
    return TEXT.replace("[model]", f"rounds = {rounds}\n[model]") + cohort


@pytest.mark.parametrize(
    ("rounds", "cohort", "a_day"),
    [
        (0, "", 24),
        (0, "pause_s = 0\n", None),
        (5, "", None),
        (5, "pause_s = 3600\n", 5),
        (500, "pause_s = 600\n", 144),
    ],
)
def test_rounds_a_day(rounds: int, cohort: str, a_day: int | None) -> None:
    found = parse_task(task(rounds, cohort), "tiny.toml")
    assert cost_of(found).rounds_a_day == a_day


def test_a_task_without_an_end_rests_for_an_hour() -> None:
    assert parse_task(task(0), "tiny.toml").rules.pause_s == ENDLESS_PAUSE_S == 3600
    assert parse_task(task(3), "tiny.toml").rules.pause_s == 0


def test_bytes_of_a_small_model() -> None:
    """50 weights of 2 bytes, 7 biases of 4; a sum has 8 for each."""
    found = parse_task(task(0), "tiny.toml")
    cost = cost_of(found)
    assert cost.device_sends == 128 + 1200
    assert cost.aggregator_keeps == 128 + 57 * 8
    assert cost.sentence == (
        "an update has 128 bytes; at most 24 rounds a day: a device sends 31.9 kB and receives"
        " at most 31.9 kB, the aggregator keeps 14 kB more"
    )


def test_models_on_a_grid_come_in_less() -> None:
    text = task(0) + "[compression]\ntarget_bytes = 20\n"
    cost = cost_of(parse_task(text, "tiny.toml"))
    assert (cost.update, cost.device_sends, cost.device_receives) == (20, 1220, 57 + 1200)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (78_000, "78 kB"), (2_500_000, "2.5 MB")],
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert size(count) == words
