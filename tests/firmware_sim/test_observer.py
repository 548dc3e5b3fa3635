"""What is said of a device adds up: no numbers in the reasons."""

import pytest

from fedling_sim.observer import describe, short


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("battery 34 % < 40 %", "battery low"),
        ("temperature 85.0 °C > 70 °C", "too hot"),
        ("no network: no default route that is up", "no network"),
        ("conditions are good, but were not 1 s ago", "conditions must hold a while"),
        ("something new", "something new"),
    ],
)
def test_short_drops_the_numbers(reason: str, word: str) -> None:
    assert short(reason) == word


def test_describe_of_each_phase() -> None:
    low = ["battery 34 % < 40 %"]
    assert describe("training", [], connected=True) == ("training", "")
    assert describe("paused", low, connected=True) == ("paused", "battery low")
    assert describe("idle", low, connected=False) == ("waiting", "cut off")
    assert describe("joining", [], connected=True) == ("talking", "")
    assert describe("waiting", [], connected=True) == ("waiting", "no place in the round")
    assert describe("idle", [], connected=True) == ("waiting", "round done")
