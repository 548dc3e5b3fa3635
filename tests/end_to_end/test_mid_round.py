"""A backup, a copy, a move in the middle of a round, and what the fleet makes of it.

The aggregator and the MQTT broker are real; devices are by script, so that each stands at its own
point of the round: without a place, with a ticket and an update on its way, accepted and not yet in
any model.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire.messages import Verdict
from tests.support.mid_round import GOAL, Step, Story
from tests.support.waiting import until


@pytest.fixture
def story(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Story]:
    loop = Loop()
    story = Story(tmp_path, loop, mosquitto)
    yield story
    story.close()
    loop.close()


def nobody(_story: Story) -> None:
    """The round is open."""


def places(story: Story) -> None:
    for device in story.devices[:2]:
        story.take_place(device)


def some(story: Story) -> None:
    """One is accepted, one is under way, one has not asked."""
    story.deliver(story.devices[0])
    story.take_place(story.devices[1])


def almost(story: Story) -> None:
    for device in story.devices[:-1]:
        story.deliver(device)
    story.take_place(story.devices[-1])


def second_round(story: Story) -> None:
    """A model was made; of the next round one is accepted."""
    story.go_on()
    some(story)


def at_once(_story: Story) -> None:
    """Nothing has happened since."""


def one_more(story: Story) -> None:
    """An update was accepted that the kept state does not know."""
    for device in story.devices:
        if device in story.under_way:
            story.deliver(device)
            return
    story.deliver(story.devices[0])


def a_week(story: Story) -> None:
    """Three models later; devices came and went."""
    for _ in range(3):
        story.go_on()
    story.aggregator.run("device", "revoke", story.leaves.id)
    story.aggregator.enrol(story.comes)


PHASES: tuple[Step, ...] = (nobody, places, some, almost, second_round)
MEANWHILE: tuple[Step, ...] = (at_once, one_more, a_week)
WAYS: dict[str, tuple[Step, Step]] = {
    "in place": (Story.back_up, Story.put_in_place),
    "disk lost": (Story.back_up, Story.lose_disk),
    "moved": (Story.back_up, Story.move),
    "copy": (Story.copy, Story.put_copy_back),
}
QUICK = {(some, one_more), (second_round, a_week)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("phase", "meanwhile"),
    [
        pytest.param(
            phase,
            meanwhile,
            marks=() if (phase, meanwhile) in QUICK else pytest.mark.long,
            id=f"{phase.__name__}-{meanwhile.__name__}",
        )
        for phase in PHASES
        for meanwhile in MEANWHILE
    ],
)
def test_state_of_mid_round_is_put_back(
    story: Story, phase: Step, meanwhile: Step, way: str
) -> None:
    keep, put_back = WAYS[way]
    phase(story)
    keep(story)
    known = set(story.counted())
    meanwhile(story)
    put_back(story)
    story.begin_again()

    assert set(story.counted()) == known, "accepted updates that were kept are there, no others"
    first = story.plan.round
    story.go_on()
    story.go_on()
    counted = story.counted()
    assert known <= set(counted)
    for number in range(1, first + 2):
        assert sum(row[0] == number for row in counted) == GOAL
    assert {row[2] for row in counted} <= story.accepted
    replay(story)
    assert sorted(story.counted()) == sorted(counted)
    story.aggregator.run("round", "verify", "--all")
    assert not story.is_enrolled(story.left)


def replay(story: Story) -> None:
    """All that was ever sent comes once more."""
    for device, update in list(story.sent):
        while True:
            device.receipts.clear()
            receipt = story.send(device, update)
            if receipt.plan_id == update.plan_id:  # else a question asked twice is answered twice
                break
        assert receipt.verdict in (Verdict.DUPLICATE, Verdict.REFUSED), receipt


@pytest.mark.parametrize("way", WAYS)
def test_who_was_removed_or_added_since_the_backup(story: Story, way: str) -> None:
    """Where the state that is replaced is there, it says so; a lost one cannot."""
    keep, put_back = WAYS[way]
    keep(story)
    a_week(story)
    put_back(story)
    story.begin_again()
    assert not story.is_enrolled(story.left)
    assert story.is_enrolled(story.leaves) == (way != "in place")
    assert story.is_enrolled(story.comes) == (way == "in place")


def test_key_of_the_aggregator_that_was_replaced_since_the_backup_stays(story: Story) -> None:
    """Devices know that the older one holds no more: under it nobody would hear anything."""
    some(story)
    story.back_up()
    former = story.plan.epoch
    story.aggregator.stop()
    (story.state / "online.key").unlink()
    story.aggregator.run("init")
    story.aggregator.start()
    until(
        lambda: story.plan.epoch > former, story.loop.turn, says=lambda: "a plan under the new key"
    )
    story.put_in_place()
    story.begin_again()
    story.go_on()
    story.aggregator.run("round", "verify", "--all")
