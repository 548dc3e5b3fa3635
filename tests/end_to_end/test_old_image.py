"""A device is restored from an old image of its card, taken at any instant of a round.

Real agent, real aggregator, real MQTT broker. The image is of the moment before a durable write, in
the middle of a file, before or after a message; it is put back in the same round, in the next one,
or several rounds later.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.runtime.loop import Loop
from tests.support.agent import Agent
from tests.support.old_image import Story
from tests.support.waiting import until

POINTS = 42  # about as many as a round has; behind the last one the image is of after it
LATER = (0, 1, 3)  # rounds until it is put back
QUICK = {(12, 0), (20, 3), (28, 1)}


@pytest.fixture
def story(
    tmp_path: Path, make_agent: Callable[..., Agent], mosquitto: Mosquitto
) -> Iterator[Story]:
    loop = Loop()
    story = Story(tmp_path, loop, make_agent(), mosquitto.port)
    yield story
    story.close()
    loop.close()


@pytest.mark.parametrize(
    ("at", "later"),
    [
        pytest.param(at, later, marks=() if (at, later) in QUICK else pytest.mark.long)
        for at in range(1, POINTS)
        for later in LATER
        if (at, later) in QUICK or (at + LATER.index(later)) % 5 == 0
    ],
)
def test_device_is_restored_from_an_old_image(story: Story, at: int, later: int) -> None:
    print("the image is of before:", story.take_image(at))
    until(story.accepted, story.loop.turn, says=lambda: "the device's first update")
    story.hold(later)
    until(lambda: len(story.accepted()) > later, story.loop.turn, says=lambda: "the next one")
    before = story.accepted()
    story.put_back()

    until(
        lambda: story.version() >= story.newest(), story.loop.turn, says=lambda: "the newest model"
    )
    story.hold(2)
    after = story.accepted()
    assert set(before) <= set(after)
    assert len({number for number, _ in after}) == len(after), "no round has two updates of it"
    until(
        lambda: story.version() == story.newest(), story.loop.turn, says=lambda: "the newest model"
    )
    story.replay_plans(but_last=1)
    story.hold(1)
    until(
        lambda: story.version() == story.newest(), story.loop.turn, says=lambda: "the newest model"
    )
    until(
        lambda: len(story.accepted()) == later + 4, story.loop.turn, says=lambda: "the last update"
    )
    until(lambda: story.spool() == [], story.loop.turn, says=lambda: "the last receipt")
    story.agent.stop()
    assert story.left_open() == []
    story.aggregator.run("round", "verify", "--all")
