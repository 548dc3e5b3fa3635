"""Certificates are renewed over the living connection, whatever clock, disk and answers do."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.config import AgentConfig
from fedling_agent.service import report
from fedling_agent.service.renewal import FIRST_S, LONGEST_S, due_s
from fedling_agent.store import tls_pair
from fedling_agent.store.files import PAIR_FILE
from fedling_agent.store.tls_pair import CA_FILE, NEXT_FILE
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Answer,
    Certificate,
    Enrol,
    EnrolReason,
    Join,
    Role,
    Ticket,
    WaitReason,
)
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from tests.support.device import FLEET
from tests.support.hand_authority import LIFE_S, ROOT, THIEF, HandAuthority
from tests.support.ports import HandClock
from tests.support.service import DEVICE, ID, TOPICS, HandService

DAY_S = 86_400
SHORT_S = 9 * DAY_S  # a life: hours of a board's timers take a test's time


class Board(HandService):
    """A device that enrolled just now, in a fleet with an authority."""

    def __init__(self, directory: Path) -> None:
        (directory / "state").mkdir(parents=True)
        self.fleet = HandAuthority(directory, now_s=int(HandClock().wall()))
        self.fleet.life_s = SHORT_S
        super().__init__(directory, recordings=4)
        self.trust.know(ID, DEVICE.public, 1)

    def boot(self) -> None:
        state = self.directory / "state"
        pair = state / PAIR_FILE
        mqtt = MqttSettings(
            "h", tls=True, ca_file=state / CA_FILE, certificate_file=pair, key_file=pair
        )
        self.config = AgentConfig(FLEET, ROOT.public.hex(), mqtt)
        super().boot()

    def connect(self) -> None:
        self.link.connected = True
        self.service.on_connected()
        self.tell_keys()

    def tell_keys(self) -> None:
        """What is retained, in the order of a broker that means no good."""
        if ID not in self.fleet.last:
            self.fleet.of_device(DEVICE.public)
        office, online = self.fleet.of_authority(), self.fleet.of_aggregator()
        kept = {ID: self.fleet.last[ID][2], AGGREGATOR: online, AUTHORITY: office}
        for _ in range(2):  # asked for again, once that of the authority is there
            for owner, data in kept.items():
                self.say(TOPICS.of(Kind.KEYS, owner), data)

    def say(self, topic: str, data: bytes) -> None:
        self.service.on_message(topic, data, False)
        self.clock.settle()

    @property
    def asked(self) -> list[Enrol]:
        return self.sent(Enrol)

    def answer(self, data: bytes) -> None:
        self.say(TOPICS.of(Kind.ENROLLED, ID), data)

    def grant(self, ask: Enrol | None = None) -> None:
        """The aggregator grants the last question; its clock is the device's."""
        self.answer(self.fleet.granted(ask or self.asked[-1], None))

    def pass_days(self, days: float) -> None:
        """Time passes, for the aggregator too."""
        for _ in range(int(days)):
            self.clock.move(DAY_S)
        self.clock.move((days - int(days)) * DAY_S)
        self.fleet.now_s = int(self.clock.wall())

    def restart(self) -> None:
        self.crash()
        self.connect()

    @property
    def certificate(self) -> dict[str, object]:
        """What status tells of it."""
        facts = report.of_store(self.store, self.service.identity, "2026-01-01")
        found = facts["certificate"]
        assert isinstance(found, dict)
        return found

    def refused(self) -> dict[str, int]:
        counters = self.service.books.counters()
        return {k.removeprefix("refused: "): n for k, n in counters.items() if "refused" in k}


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    board = Board(tmp_path)
    board.connect()
    yield board
    board.close()


def test_keys_that_come_in_a_bad_order_are_got_again(board: Board) -> None:
    assert board.service.enrolment.enrolled
    keys = [topic for topic in board.link.subscribed if "/keys/" in topic]
    assert keys.count(TOPICS.of(Kind.KEYS, ID)) >= 2


def test_nothing_is_asked_before_two_thirds_and_all_is_by_three_quarters(board: Board) -> None:
    board.pass_days(5.99)
    assert board.asked == []
    board.pass_days(0.8)
    assert len(board.asked) >= 1
    assert board.asked[0].token_id is None
    assert board.asked[0].key == DEVICE.public


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**32 - 1), st.integers(12, 10**9))
def test_when_a_device_renews_is_its_own_and_in_time(secret: bytes, serial: int, life: int) -> None:
    own = Certificate(bytes(32), Role.DEVICE, FLEET, ID, serial, 1000, 1000 + life)
    due = due_s(own, secret)
    assert due is not None
    assert life * 8 // 12 <= due - 1000 <= life * 9 // 12


def test_a_fleet_of_one_hour_does_not_renew_in_one_hour() -> None:
    own = Certificate(bytes(32), Role.DEVICE, FLEET, ID, 7, 1000, 1000 + LIFE_S)
    due = sorted(due_s(own, bytes([n]) * 32) or 0 for n in range(100))
    assert due[-1] - due[0] > LIFE_S / 20
    assert max(b - a for a, b in pairwise(due)) < LIFE_S / 100


def test_certificate_without_an_end_is_never_renewed() -> None:
    own = Certificate(bytes(32), Role.DEVICE, FLEET, ID, 7)
    assert due_s(own, bytes(32)) is None
    assert due_s(replace(own, issued_s=1000), bytes(32)) is None


def test_certificate_that_does_not_say_when_it_was_signed_is_not_renewed_at_once() -> None:
    own = Certificate(bytes(32), Role.DEVICE, FLEET, ID, 7, until_s=2_000_000_000)
    assert due_s(own, bytes(32)) is None


def test_new_pair_and_certificate_are_taken_and_the_next_is_later(board: Board) -> None:
    board.pass_days(6.8)
    first = board.service.renewal.due_s
    state = board.directory / "state"
    assert (state / NEXT_FILE).exists()
    board.grant()
    pair = tls_pair.certificate(state)
    assert pair is not None
    assert not (state / NEXT_FILE).exists()
    assert (state / PAIR_FILE).stat().st_mode & 0o777 == 0o600
    second = board.service.renewal.due_s
    assert first is not None
    assert second is not None
    assert second > first + 5 * DAY_S
    assert board.certificate["until_s"] == board.fleet.now_s + SHORT_S
    assert [m.kind for m in board.store.ledger.sent() if m.kind == "enrol"]
    board.restart()
    asked = len(board.asked)
    assert board.service.enrolment.enrolled
    assert len(board.asked) == asked
    assert board.service.renewal.due_s == second


def test_lost_answers_are_asked_for_again_ever_more_rarely(board: Board) -> None:
    board.pass_days(6.8)
    asked = len(board.asked)
    board.clock.move(600)
    soon = len(board.asked) - asked
    board.pass_days(2)
    asked = len(board.asked)
    board.pass_days(1)
    assert 1 <= len(board.asked) - asked <= 12
    assert soon <= 5
    assert {ask.tls_key for ask in board.asked} == {board.asked[0].tls_key}  # one key for all
    assert len({ask.nonce for ask in board.asked}) == 1  # the test's dice
    board.grant()
    asked = len(board.asked)
    board.pass_days(1)
    assert len(board.asked) == asked


def test_certificate_that_is_heard_again_has_nothing_asked_sooner(board: Board) -> None:
    """It is retained: it comes with each connection, and when it is asked for each day."""
    board.pass_days(6.8)
    asked = len(board.asked)
    assert asked
    for _ in range(5):
        board.tell_keys()
    assert len(board.asked) == asked


def test_question_that_falls_while_there_is_no_connection_waits(board: Board) -> None:
    board.link.connected = False
    board.service.on_disconnected("gone", 1.0)
    board.pass_days(7)
    assert board.asked == []
    board.link.connected = True
    board.service.on_connected()
    board.clock.move(60)
    assert len(board.asked) == 1


@pytest.mark.parametrize("where", ["before the answer", "with the answer on its way to the disk"])
def test_kill_in_the_middle_of_a_renewal_loses_nothing(board: Board, where: str) -> None:
    board.pass_days(6.8)
    state = board.directory / "state"
    before = tls_pair.ask_key(state)
    if where != "before the answer":
        board.disk.waits = True
        board.grant()
        board.disk.go(1)  # the pair; not the certificates
        board.disk.waits = False
    board.restart()
    board.clock.move(DAY_S)
    assert board.service.enrolment.enrolled
    if where == "before the answer":
        assert {ask.tls_key for ask in board.asked} == {before}
        board.grant()
    else:  # what is retained of the device is the new certificate already
        assert board.asked == []
    assert board.certificate["issued_s"] == board.fleet.now_s
    pair = tls_pair.certificate(state)
    assert pair is not None
    assert not (state / NEXT_FILE).exists()


def test_pair_of_a_disk_that_is_full_is_asked_for_again(board: Board) -> None:
    board.pass_days(6.8)
    board.disk.broken = CannotWrite("tls.pem", "the disk is full")
    board.grant()
    board.disk.broken = None
    board.clock.move(DAY_S)
    assert board.service.stall is None


# --- what is not believed -------------------------------------------------------------------------


def _other_nonce(board: Board, ask: Enrol) -> bytes:
    return board.fleet.granted(replace(ask, nonce=bytes(16)), None)


def _other_signer(board: Board, ask: Enrol) -> bytes:
    board.fleet.online = THIEF
    return board.fleet.granted(ask, None)


def _other_tls_key(board: Board, ask: Enrol) -> bytes:
    point = tls_pair.public_of(board.fleet.tls.der)
    return board.fleet.granted(replace(ask, tls_key=point), None)


@pytest.mark.parametrize("make", [_other_nonce, _other_signer, _other_tls_key])
def test_answer_that_is_not_believed_changes_nothing(
    board: Board, make: Callable[[Board, Enrol], bytes]
) -> None:
    board.pass_days(6.8)
    before = dict(board.certificate)
    board.answer(make(board, board.asked[-1]))
    assert sum(board.refused().values()) >= 1
    assert board.certificate == before
    assert tls_pair.certificate(board.directory / "state") is None


def test_answer_that_nobody_asked_for_is_refused(board: Board) -> None:
    ask = Enrol(DEVICE.public, bytes(16), tls_pair.public_of(board.fleet.tls.der))
    board.answer(board.fleet.granted(ask, None))
    assert board.refused().get("unasked") == 1


@pytest.mark.parametrize("reason", [r for r in EnrolReason if r is not EnrolReason.REVOKED])
def test_no_is_no_reason_to_ask_more_often(board: Board, reason: EnrolReason) -> None:
    board.pass_days(6.8)
    for _ in range(5):
        if board.asked:
            board.answer(board.fleet.denied(board.asked[-1], reason, None))
        board.pass_days(0.5)
    asked = len(board.asked)
    board.pass_days(1)
    assert len(board.asked) - asked <= 12
    assert board.service.enrolment.enrolled


# --- clocks ---------------------------------------------------------------------------------------


def test_device_that_is_told_that_its_certificate_is_over_renews_whatever_its_clock_says(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A winter in a drawer, and a clock that begins in 1970."""
    board.fleet.now_s += 200 * DAY_S
    monkeypatch.setattr(type(board.clock), "wall", lambda clock: clock.now() - 1000.0)
    board.restart()
    plan = board.offer()
    join = board.sent(Join)[-1]
    wait = Ticket(plan.plan_id, join.nonce, Answer.WAIT, 60, WaitReason.EXPIRED)
    board.hear(TOPICS.of(Kind.TICKET, "watch", ID), wait)
    board.clock.move(120)
    assert len(board.asked) >= 1
    board.grant()
    assert board.certificate["issued_s"] == board.fleet.now_s
    assert board.service.calendar.now_s() >= board.fleet.now_s
    board.restart()
    assert board.service.calendar.now_s() >= board.fleet.now_s  # on disk


def test_clock_that_is_a_year_ahead_asks_once_and_learns_the_date(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_s = board.fleet.now_s
    monkeypatch.setattr(type(board.clock), "wall", lambda clock: true_s + 3e7 + clock.now())
    board.clock.move(DAY_S)
    assert board.asked
    board.grant()
    asked = len(board.asked)
    for _ in range(5):
        board.clock.move(DAY_S)
    assert len(board.asked) == asked


# --- roots ----------------------------------------------------------------------------------------


def test_chain_of_roots_is_followed_and_kept(board: Board) -> None:
    second = SigningKey(b"2" * 32)
    board.fleet.succeed(second)
    chain = board.fleet.chain()
    assert chain is not None
    board.say(TOPICS.of(Kind.ROOTS), chain)
    board.tell_keys()
    assert board.service.inbox.trust.roots == (ROOT.public, second.public)
    board.fleet.of_device(DEVICE.public)
    board.restart()
    assert board.service.inbox.trust.roots == (ROOT.public, second.public)
    assert board.service.enrolment.enrolled


def test_a_thief_of_the_old_root_gets_nowhere_after_a_restart(board: Board) -> None:
    """What it certifies is older than what this device has heard, whatever its serial."""
    board.fleet.succeed(SigningKey(b"2" * 32))
    chain = board.fleet.chain()
    assert chain is not None
    board.say(TOPICS.of(Kind.ROOTS), chain)
    board.tell_keys()
    board.restart()
    key = board.service.inbox.key(AGGREGATOR)
    board.fleet.root, board.fleet.online = ROOT, THIEF
    board.fleet.serial += 1_000_000
    board.say(TOPICS.of(Kind.KEYS, AGGREGATOR), board.fleet.of_aggregator())
    assert board.service.inbox.key(AGGREGATOR) == key


# --- when it asks, and when no more --------------------------------------------------------------


def gaps(board: Board, days: float) -> list[float]:
    """Seconds between the questions of some days."""
    begun, at = len(board.asked), list[float]()
    until_s = board.clock.now() + days * DAY_S
    while board.clock.next_due <= until_s:
        before = len(board.asked)
        board.clock.move_to(board.clock.next_due)
        if len(board.asked) > before:
            at.append(board.clock.now())
    board.clock.move_to(until_s)
    assert len(board.asked) == begun + len(at)
    return [later - earlier for earlier, later in pairwise(at)]


def test_after_an_answer_the_next_renewal_asks_as_soon_again_as_the_first(board: Board) -> None:
    first = gaps(board, 8.0)
    assert first == sorted(first)
    assert first[0] <= FIRST_S * 3 < first[-1] <= LONGEST_S + FIRST_S
    board.fleet.now_s = int(board.clock.wall())
    board.grant()
    again = gaps(board, 8.0)
    assert again[:4] == first[:4]


@pytest.mark.parametrize("end", ["stop", "revoked"])
def test_after_the_end_nothing_is_asked(board: Board, end: str) -> None:
    if end == "stop":
        board.service.stop(lambda: None)
    else:
        board.say(TOPICS.of(Kind.KEYS, ID), board.fleet.of_device(DEVICE.public, revoked=True))
    board.pass_days(9)
    if end == "stop":
        board.service.renewal.expired()
    board.service.renewal.connected()
    board.clock.move(3600)
    assert board.asked == []


def test_question_whose_key_is_made_when_all_is_over_is_not_asked(board: Board) -> None:
    """The disk makes it; meanwhile the connection has gone, or the service is told to end."""
    due = board.service.renewal.due_s
    assert due is not None
    board.disk.waits = True
    board.clock.move(due - board.clock.wall() + 3600)
    assert board.disk.waiting
    board.link.connected = False
    board.disk.waits = False
    board.disk.go()
    board.clock.settle()
    board.link.connected = True
    assert board.asked == []


def test_people_hear_of_a_renewal_and_of_one_that_is_denied(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    board.pass_days(6.8)
    board.answer(board.fleet.denied(board.asked[-1], EnrolReason.BUSY, None))
    board.pass_days(0.2)
    board.grant()
    said = [message for message in caplog.messages if "certificate" in message or "TLS" in message]
    assert said == [
        f"the device's certificate was not renewed: {EnrolReason.BUSY}",
        "the device's certificate was renewed",
        "TLS has a new key from the next connect on",
    ]


def test_grant_of_a_fleet_with_another_root_is_kept_whole(board: Board) -> None:
    """The chain, and what the newest root signed; whatever is news there is acted on."""
    board.pass_days(6.8)
    board.fleet.succeed(SigningKey(b"N" * 32))
    board.link.subscribed.clear()
    before = board.refused()
    board.grant()
    assert board.store.vouched.roots() == board.fleet.chain()
    for owner in (AUTHORITY, AGGREGATOR, ID):
        assert board.store.vouched.certificate(owner) == board.fleet.last[owner][2]
    assert f"fedling/1/{FLEET}/+/plan/+" in board.link.subscribed
    board.restart()
    assert board.refused() == before
    board.offer()
    assert board.sent(Join)
