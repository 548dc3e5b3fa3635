"""A hostile device in every round: what stands in table B of the cases, as the bench plays it."""

from statistics import fmean

import pytest

from bench import field
from bench.support.kernel_fleet import CLIP_Q8

WELL, RUINED = 0.84, 0.5
SEEDS = (1, 2, 3)


@pytest.mark.parametrize("hostile", ["max", "flip", "random"])
def test_one_hostile_device_of_twenty_ruins_nothing(hostile: str) -> None:
    runs = [field.play(field.ATTACKS[hostile], CLIP_Q8, seed) for seed in SEEDS]
    assert fmean(runs) >= WELL


def test_without_limits_one_device_ruins_all() -> None:
    """A test of the test."""
    assert field.play(field.ATTACKS["max"], 0, 2) < RUINED
