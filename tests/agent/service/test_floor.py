"""The owner's floor holds against plans that are rightly signed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.service.floor import Floor
from fedling_agent.session.state import Joining
from tests.support.device import SPEC, TRAINING
from tests.support.service import HandService

WORDS = st.sampled_from(["walk", "run", "fall", "sit"])


@given(st.sets(WORDS), st.lists(WORDS, max_size=4).map(tuple))
def test_a_label_that_is_not_allowed_is_named(allowed: set[str], labels: tuple[str, ...]) -> None:
    found = Floor(labels=tuple(allowed)).forbids(replace(SPEC, labels=labels))
    strange = [label for label in labels if label not in allowed]
    expected = f'agent.toml allows no label "{strange[0]}"' if allowed and strange else ""
    assert found == expected


def test_other_tasks_than_those_named_are_forbidden() -> None:
    """Their plans are not subscribed; the MQTT broker may send them all the same."""
    assert Floor(tasks=("other",)).forbids(SPEC) == "agent.toml names other tasks"
    assert Floor(tasks=("other", SPEC.task)).forbids(SPEC) == ""


@given(st.integers(1, 100), st.integers(0, 100))
def test_the_larger_number_of_examples_is_wanted(floor: int, asked: int) -> None:
    found = Floor(min_examples=floor).examples(replace(TRAINING, min_examples=asked))
    assert found == max(floor, asked)


@pytest.mark.parametrize("floor", [1, 10_000])
def test_a_device_does_not_join_below_its_floor(device: HandService, floor: int) -> None:
    parts = device.service.runners._parts
    object.__setattr__(parts, "floor", Floor(min_examples=floor))
    device.service.runners.close()
    device.service.runners.restore()
    plan = device.offer()
    asks = replace(plan.training, min_examples=1)
    device.service.runners.see("another", replace(plan, plan_id=b"p" * 16, training=asks))
    device.clock.move(60.0)
    runner = device.service.runners.find("another")
    assert runner is not None
    assert runner.wanted == floor
    assert isinstance(runner.session.phase, Joining) == (floor == 1)
