"""The owner's pause: within one batch, over restarts, and no longer than it was asked for."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fedling_agent.service.control import Json, Peer, RequestFailed
from fedling_agent.service.desk import Desk
from fedling_agent.service.pausing import KEEP_S
from fedling_agent.service.teller import TELL_S
from fedling_agent.training.process import Asked, Step
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.exits import Exit
from fedling_protocol.wire.messages import Join, State, StateCode, StateReason, Verdict
from tests.support.device import make_model
from tests.support.service import HandService

HOUR_S = 3600
CODE = "paused-by-owner"


@pytest.fixture
def device(tmp_path: Path) -> Iterator[HandService]:
    device = HandService(tmp_path)
    device.connect()
    yield device
    device.close()


def ask(device: HandService, **request: object) -> Json:
    """The one answer. Raises RequestFailed."""
    answers: list[Json | RequestFailed] = []
    Desk(device.service).handle(request, Peer(), answers.append)
    device.settle(lambda: answers)
    (answer,) = answers
    if isinstance(answer, RequestFailed):
        raise answer
    return answer


def pause(device: HandService, lasts_s: int | None = None, reason: str = "") -> Json:
    answer = ask(device, do="pause", lasts_s=lasts_s, reason=reason)
    device.settle()
    return answer


def reboot(device: HandService, up_s: float) -> None:
    """Another boot, that has lasted so long when the service starts."""
    device.store.close()
    device.now = up_s
    device.boot()


def why_not(device: HandService) -> list[str]:
    allowance = device.runner.allowance
    assert allowance is not None
    return [str(reason.code) for reason in allowance.train_reasons]


def test_training_ends_with_its_batch_and_goes_on_afterwards(device: HandService) -> None:
    device.begin()
    (child,) = device.children
    child.say(Asked())
    device.settle(lambda: len(child.did) > 1)
    pause(device)
    assert child.did[0] == "start"
    assert child.did[-1] == "stop"
    assert device.phase == "Paused"
    child.say(Step(3, child.job.total_steps))
    child.exit()
    device.settle()
    assert len(device.children) == 1
    ask(device, do="resume")
    device.clock.move(20)  # conditions must hold for policy.dwell_s
    assert [c.did for c in device.children[1:]] == [["start"]]


def test_no_batch_begins_on_a_reading_of_before(device: HandService) -> None:
    """The reading under way has seen that it is not paused."""
    device.begin()
    (child,) = device.children
    device.clock.move(1)
    device.sensors.waits = True
    child.say(Asked())
    pause(device)
    device.sensors.go()
    device.settle()
    device.sensors.go()
    device.settle(lambda: "stop" in child.did)
    assert child.did == ["start", "stop"]


def test_a_paused_device_takes_part_in_no_round_and_still_gets_models(device: HandService) -> None:
    pause(device)
    plan = device.offer()
    device.clock.move(HOUR_S)
    assert device.sent(Join) == []
    assert device.store.models.find(plan.base_hash) is not None
    assert why_not(device) == [CODE]
    ask(device, do="resume")
    device.clock.move(20)
    assert len(device.sent(Join)) == 1


def test_update_of_a_paused_device_waits(device: HandService) -> None:
    plan = device.begin()
    (child,) = device.children
    pause(device)
    child.finish()
    device.settle()
    device.clock.move(HOUR_S)
    assert device.updates == []
    assert len(device.store.spool.entries()) == 1
    ask(device, do="resume")
    device.clock.move(20)
    assert device.sent(Join)[-1].have is not None
    device.go(plan)
    device.settle(lambda: device.updates)
    ((_, name),) = device.updates
    device.receipt(plan, name, Verdict.ACCEPTED)
    assert device.store.spool.entries() == []


def test_pause_ends_by_itself(device: HandService) -> None:
    pause(device, HOUR_S)
    device.offer()
    device.clock.move(HOUR_S - 1)
    assert why_not(device) == [CODE]
    assert device.sent(Join) == []
    device.clock.move(20)
    assert len(device.sent(Join)) == 1
    assert device.store.pauses.find(0) is None
    assert ask(device, do="resume") == {"was_paused": False}


def test_later_pause_takes_the_place_of_an_earlier_one(device: HandService) -> None:
    pause(device, 60, "a call")
    pause(device, HOUR_S, "guests")
    device.offer()
    device.clock.move(120)
    assert why_not(device) == [CODE]
    told = ask(device, do="status")["pause"]
    assert isinstance(told, dict)
    assert (told["reason"], told["left_s"]) == ("guests", HOUR_S - 120)


@pytest.mark.parametrize("lasts_s", [None, HOUR_S])
def test_pause_outlasts_a_kill(device: HandService, lasts_s: int | None) -> None:
    device.begin()
    pause(device, lasts_s, "guests")
    device.clock.move(600)
    device.crash()
    device.connect()
    device.offer()
    assert why_not(device) == [CODE]
    assert len(device.children) == 1
    device.clock.move(HOUR_S - 601)
    assert why_not(device) == [CODE]
    device.clock.move(30)
    assert (device.phase == "Training") == (lasts_s is not None)


def test_reboot_prolongs_a_pause_by_what_was_not_written(device: HandService) -> None:
    pause(device, HOUR_S)
    device.clock.move(KEEP_S * 2 + 300)  # 300 s of it are on no disk
    reboot(device, 40.0)
    told = ask(device, do="status")["pause"]
    assert isinstance(told, dict)
    assert told["left_s"] == HOUR_S - 2 * KEEP_S - 40


def test_clean_end_writes_how_far_the_pause_has_come(device: HandService) -> None:
    pause(device, HOUR_S)
    device.clock.move(300)
    ended: list[bool] = []
    device.service.stop(lambda: ended.append(True))
    device.settle(lambda: ended)
    reboot(device, 0.0)
    told = ask(device, do="status")["pause"]
    assert isinstance(told, dict)
    assert told["left_s"] == HOUR_S - 300


def test_date_does_not_matter(device: HandService) -> None:
    pause(device, HOUR_S)
    for year_s in (0.0, 2_400_000_000.0):
        device.service.owner.wall = partial(float, year_s)
        told = ask(device, do="status")["pause"]
        assert isinstance(told, dict)
        assert told["left_s"] == HOUR_S
        assert told["until_s"] == year_s + HOUR_S
    device.crash()
    assert device.service.owner.pause is not None


def test_status_says_until_when_and_why(device: HandService) -> None:
    device.offer()
    pause(device, HOUR_S, "guests")
    device.clock.move(61)
    status = ask(device, do="status")
    words = str(status["doing"])
    assert words.startswith("paused by its owner until ")
    assert words.endswith(": guests")
    (reason,) = status["tasks"]["watch"]["why_not"]  # type: ignore[index]
    assert (reason["code"], reason["asker"]) == (CODE, "owner")
    assert reason["sentence"] == words
    pause(device)
    assert ask(device, do="status")["doing"] == "paused by its owner until fedling-agent resume"


def test_the_fleet_hears_that_it_is_paused_and_not_why(device: HandService) -> None:
    pause(device, None, "a surprise for Ada")
    device.clock.move(TELL_S + 1)
    assert device.sent(State)[-1] == State(StateCode.IDLE, 0, StateReason.PAUSED)
    assert "says: idle, paused, no model" in [m.meaning for m in device.store.ledger.sent()]
    ask(device, do="resume")
    device.clock.move(TELL_S + 1)
    assert device.sent(State)[-1] == State(StateCode.IDLE, 0)
    assert not any(b"Ada" in p.payload for p in device.link.published)


def test_restarted_device_says_that_it_is_paused(device: HandService) -> None:
    pause(device)
    device.crash()
    device.connect()
    device.clock.move(TELL_S + 1)
    assert device.sent(State)[-1].why_not == StateReason.PAUSED


def test_pause_that_cannot_be_kept_is_none(device: HandService) -> None:
    device.begin()
    device.disk.broken = CannotWrite("the pause", "the disk is full")
    with pytest.raises(RequestFailed, match="the disk is full") as failed:
        pause(device)
    assert failed.value.code == Exit.CANNOT_WRITE
    assert device.service.owner.pause is None


@pytest.mark.parametrize(
    "wrong", [{"lasts_s": 0}, {"lasts_s": 2**40}, {"reason": "\x1b[2J"}, {"reason": 201 * "x"}]
)
def test_pause_that_makes_no_sense_is_refused(
    device: HandService, wrong: dict[str, object]
) -> None:
    with pytest.raises(RequestFailed, match="allowed"):
        ask(device, do="pause", **wrong)
    assert device.service.owner.pause is None


def test_predictions_go_on(device: HandService) -> None:
    model = make_model(2)
    device.offer(model=model)
    pause(device)
    lines = ["x,y", *["1.0,2.0"] * model.spec.window]
    answer = ask(device, do="predict", task="watch", form="csv", lines=lines)
    assert answer["model"] == 2


def test_end_of_a_pause_by_its_time_is_told_as_one_by_a_word(device: HandService) -> None:
    """To the fleet, the diary and who waits for it."""
    for ends in ("time", "word"):
        pause(device, HOUR_S)
        device.clock.move(2 * TELL_S)
        assert device.sent(State)[-1].why_not == StateReason.PAUSED
        if ends == "word":
            assert ask(device, do="resume") == {"was_paused": True}
        else:
            device.clock.move(HOUR_S - 2 * TELL_S)
        device.clock.move(TELL_S + 1)
        assert device.sent(State)[-1].why_not == ""
        assert device.service.owner.pause is None
    assert ask(device, do="resume") == {"was_paused": False}


def test_people_hear_of_a_pause_and_of_its_end(
    device: HandService, caplog: pytest.LogCaptureFixture
) -> None:
    pause(device, None, "guests")
    ask(device, do="resume")
    said = [message for message in caplog.messages if "owner" in message]
    assert len(said) == 2
    assert "guests" in said[0]
    assert said[1] == "its owner lets it take part"
