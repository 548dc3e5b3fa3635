"""The owner's floor holds against plans that are rightly signed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.conditions.used import MB
from fedling_agent.config import FloorSettings
from fedling_agent.service import report
from fedling_agent.service.floor import ROUND_TRIP, Floor
from fedling_agent.session.state import Joining
from fedling_agent.training.process import Asked, Step
from fedling_native import dense, weights_size
from fedling_protocol.disk.errors import Missing
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.messages import Join
from tests.support.device import SPEC, TRAINING
from tests.support.service import HandService
from tests.support.waiting import until

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


def test_nothing_is_frozen_below_the_owners_floor(device: HandService) -> None:
    """Examples may go between the count, on which the device joined, and the freeze."""
    device.config = replace(device.config, floor=FloorSettings(min_examples=10_000))
    device.boot()
    freezer = device.service.runners._parts.freezer
    plan = device.offer()
    asks = replace(plan.training, min_examples=1)
    with pytest.raises(Missing, match="at least 10000 are needed"):
        finish(freezer.freeze(replace(plan, training=asks)))


def test_a_model_that_costs_more_than_the_day_gives_is_declined_before_it_is_fetched() -> None:
    """As it is declined on the spec alone, not a byte of it comes."""
    large = replace(SPEC, layers=(dense(20, 30_000), dense(30_000, 2)))
    assert Floor(traffic_mb=2).forbids(SPEC) == ""
    assert Floor(traffic_mb=2).forbids(large) == (
        "one round moves 2.9 MB, and policy.traffic gives 2 a day"
    )


def test_a_model_that_costs_as_much_as_the_day_gives_is_taken() -> None:
    """Fetched and sent: twice its weights."""
    layers = (dense(999, 250),)
    spec = replace(SPEC, layers=layers)
    megabytes = ROUND_TRIP * weights_size(layers) / MB
    assert Floor(traffic_mb=megabytes).forbids(spec) == ""  # type: ignore[arg-type]
    assert Floor(traffic_mb=megabytes - 1e-6).forbids(spec) != ""  # type: ignore[arg-type]


def test_work_of_the_day_that_is_used_up_pauses_and_goes_on_when_hours_are_over(
    device: HandService,
) -> None:
    service = device.service
    plan = device.begin()
    (child,) = device.children
    child.say(Step(1, child.job.total_steps, 481 * 60.0), Asked())
    device.clock.move(service.config.policy.check_s)
    assert child.did[-1] == "stop"
    child.exit()
    device.clock.settle()
    assert device.phase == "Paused"
    facts = report.of_used(service.config.policy, service.used)
    assert facts["work"] == {"used": 481.0, "limit": 480, "unit": "min"}
    told = report.sentence(device.runner, None, device.clock.now())
    assert "the day's work is used up: 481.0 of 480 min" in told
    device.crash()  # and over a restart
    device.connect()
    device.clock.move(23 * 3600)
    assert device.phase == "Paused"
    most = device.clock.now() + 2 * 3600

    def a_minute(_: float) -> None:
        assert device.clock.now() < most
        device.clock.move(60)

    until(lambda: device.phase != "Paused", a_minute)
    device.settle(lambda: len(device.children) == 2)
    assert device.children[1].job.plan_id == plan.plan_id


def test_traffic_of_the_day_that_is_used_up_ends_transfers_not_training(
    device: HandService,
) -> None:
    device.begin()
    device.service.on_traffic(Traffic(600_000_000, 401_000_000))
    device.clock.move(1)  # until there is another reading
    device.children[-1].finish()
    device.settle(lambda: device.runner.session.spool)
    device.clock.move(3600)
    assert device.updates == []
    told = report.sentence(device.runner, None, device.clock.now())
    assert "an update waits to be sent: the day's traffic is used up" in told
    device.clock.move(24 * 3600)
    assert device.sent(Join)[-1].have is not None
