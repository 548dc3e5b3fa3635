"""A device that was put out of its fleet: it says so, trains no more, and still answers."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_agent.service.desk import Desk
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Answer,
    Certificate,
    EnrolReason,
    Join,
    Role,
    Ticket,
    WaitReason,
)
from tests.agent.service.test_renewal import Board
from tests.support.device import FLEET, make_model
from tests.support.service import DEVICE, ID, ROOT, TOPICS, HandService

WAYS = ("a tombstone", "TLS", "a renewal")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    board = Board(tmp_path)
    board.connect()
    yield board
    board.close()


def revoke(board: Board, way: str) -> None:
    if way == "a tombstone":
        board.say(TOPICS.of(Kind.KEYS, ID), board.fleet.of_device(DEVICE.public, revoked=True))
    elif way == "TLS":
        board.link.connected, board.link.revoked = False, True
        board.service.on_disconnected("it was revoked", 20_000.0)
        board.clock.settle()
    else:
        board.pass_days(6.8)
        ask = board.asked[-1]
        board.answer(board.fleet.denied(ask, EnrolReason.REVOKED, None))


def status(board: Board) -> dict[str, object]:
    told: list[object] = []
    Desk(board.service).status({}, None, told.append)  # type: ignore[arg-type]
    board.clock.settle()
    (facts,) = told
    assert isinstance(facts, dict)
    return facts


@pytest.mark.parametrize("way", WAYS)
def test_training_stops_and_status_says_why_in_one_sentence(
    board: Board, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    board.begin()
    assert board.children[-1].did[-1] != "kill"
    revoke(board, way)
    board.clock.move(30)
    assert board.children[-1].did[-1] in ("kill", "stop")
    facts = status(board)
    assert (facts["revoked"], facts["enrolled"]) == (True, False)
    doing = str(facts["doing"])
    assert doing.startswith("revoked: fleet test has put this device out")
    assert "fedling-agent enroll TOKEN --again" in doing
    assert "\n" not in doing
    assert [r.message for r in caplog.records if r.message.startswith("revoked")] == [doing]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_more_is_asked_or_sent(board: Board, way: str) -> None:
    revoke(board, way)
    if way == "TLS":
        board.link.connected = False
    before = len(board.link.published)
    board.offer()
    board.pass_days(2)
    assert board.sent(Join) == []
    assert len(board.link.published) == before


@pytest.mark.parametrize("way", WAYS)
def test_models_go_on_answering(board: Board, way: str) -> None:
    model = make_model(version=1)
    board.offer(model=model)
    board.settle(lambda: board.store.models.newest("watch"))
    revoke(board, way)
    assert board.store.models.newest("watch") is not None


def test_tombstone_outlives_a_restart_and_a_replay(board: Board) -> None:
    good = board.fleet.last[ID][2]
    revoke(board, "a tombstone")
    board.crash()
    assert board.service.enrolment.revoked
    board.link.connected = True
    board.service.on_connected()
    board.say(TOPICS.of(Kind.KEYS, ID), good)
    assert board.service.enrolment.revoked
    board.offer()
    assert board.sent(Join) == []


def test_who_is_let_in_again_takes_part_again(board: Board) -> None:
    """The list of the MQTT broker was wrong: no tombstone says that this device is out."""
    revoke(board, "TLS")
    board.link.connected, board.link.revoked = True, False
    board.service.on_connected()
    assert not board.service.enrolment.revoked  # before any certificate says so
    board.tell_keys()
    board.offer()
    assert board.sent(Join)


def test_certificates_that_are_no_news_have_nothing_asked_or_told_again(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    board.link.subscribed.clear()
    board.tell_keys()
    assert board.link.subscribed == []
    assert "this device is enrolled" not in caplog.text


def test_who_waits_for_its_enrolment_asks_as_soon_as_it_is_enrolled(device: HandService) -> None:
    plan = device.offer()
    (join,) = device.sent(Join)
    ticket = Ticket(plan.plan_id, join.nonce, Answer.WAIT, 600, WaitReason.NOT_ENROLLED)
    device.hear(TOPICS.of(Kind.TICKET, "watch", ID), ticket)
    assert device.phase == "Waiting"
    certificate = Certificate(DEVICE.public, Role.DEVICE, FLEET, ID, 1)
    device.hear(TOPICS.of(Kind.KEYS, ID), certificate, ROOT)
    first, again = device.sent(Join)
    assert (first.plan_id, again.plan_id) == (plan.plan_id, plan.plan_id)
