"""Devices that come with a token, that renew, and that are refused: at the real service."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509 as library
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_broker.authority import certificates, directory, roles
from fedling_broker.authority.roles import DAY_S
from fedling_broker.authority.signing import BUILT_S
from fedling_broker.service.registrar import MOST_A_DAY, STRANGERS
from fedling_broker.store.devices import MAX_PENDING, Devices
from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.wire import enrolment
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Answer, Certificate, Enrol, Enrolled, EnrolReason, Role
from fedling_protocol.wire.names import AUTHORITY
from fedling_protocol.wire.token import Token
from tests.support.hand_aggregator import ROOT, TOPICS, HandAggregator, key_of, tls_key_of

LIFE_S = roles.DUTIES[Role.DEVICE].life_s
GRACE_S = roles.GRACE_DAYS * DAY_S


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    aggregator.found_authority()
    aggregator.connect()
    yield aggregator
    aggregator.store.close()


def answers(aggregator: HandAggregator) -> list[Enrolled]:
    """What devices were told, oldest first."""
    aggregator.settle()
    return aggregator.said(Enrolled)


def sealed_answer(aggregator: HandAggregator) -> tuple[str, bytes]:
    aggregator.settle()
    sent = [p for p in aggregator.link.published if "/enrolled/" in p.topic]
    return sent[-1].topic, sent[-1].payload


def reason(aggregator: HandAggregator) -> str:
    """Why the last one was refused; empty: it was not."""
    return answers(aggregator)[-1].reason


def enrolled(aggregator: HandAggregator, number: int, name: str = "") -> Enrolled:
    """A device comes with a token of its own."""
    aggregator.ask(number, aggregator.invite(), name=name)
    answer = answers(aggregator)[-1]
    assert answer.grant is not None, answer
    return answer


def later(aggregator: HandAggregator, seconds: float) -> None:
    """Months pass, in which nobody looks every second."""
    aggregator.clock.stall(seconds)
    aggregator.clock.move(2.0)


def granted(answer: Enrolled) -> Certificate:
    assert answer.grant is not None
    return certificates.read(answer.grant.device)


def test_a_device_with_a_token_gets_all_that_it_must_have(aggregator: HandAggregator) -> None:
    token = aggregator.invite()
    asked = aggregator.ask(1, token, name="kitchen")
    topic, data = sealed_answer(aggregator)
    opened = enrolment.open_first(topic, data, asked, token, aggregator.now_s)
    assert opened.proven
    assert opened.trust is not None
    one, grant = device_id(key_of(1).public), opened.answer.grant
    assert grant is not None
    own = certificates.read(grant.device)
    assert (own.id, own.name, own.until_s - own.issued_s) == (one, "kitchen", LIFE_S)
    assert (grant.host, grant.port, grant.root) == ("localhost", 1883, ROOT.public)
    assert grant.tls_certificate is not None
    tls = library.load_der_x509_certificate(grant.tls_certificate)
    assert tls.not_valid_after_utc.timestamp() == own.until_s + GRACE_S
    assert tls.subject.rfc4514_string() == f"CN={one}"
    (known,) = aggregator.devices.certified()
    assert (known.id, known.term.name) == (one, "kitchen")


def test_who_was_enrolled_takes_part_at_once(aggregator: HandAggregator) -> None:
    """Its join follows the answer; no other process has written meanwhile."""
    aggregator.add_task(goal=1)
    aggregator.clock.move(2.0)
    enrolled(aggregator, 1)
    aggregator.accepted(1, aggregator.plan)
    assert [t.answer for t in aggregator.tickets] == [Answer.GO]
    assert len(aggregator.receipts) == 1
    assert TOPICS.of(Kind.KEYS, device_id(key_of(1).public)) in aggregator.held()


def test_the_same_key_that_asks_again_gets_the_same(aggregator: HandAggregator) -> None:
    """The answer was lost; the token is used up and late by now; the process is another one."""
    token = aggregator.invite(seconds=60)
    aggregator.ask(1, token, nonce=1)
    first = answers(aggregator)[-1]
    aggregator.clock.move(120.0)
    aggregator.start()
    aggregator.clock.move(120.0)
    aggregator.connect()
    aggregator.ask(1, token, nonce=2)
    second = answers(aggregator)[-1]
    assert (first.grant, second.nonce[-1]) == (second.grant, 2)
    aggregator.ask(2, token)
    assert reason(aggregator) == EnrolReason.TOKEN_USED
    assert len(aggregator.devices.certified()) == 1


def test_two_keys_of_one_identity_are_both_served_and_both_told(
    aggregator: HandAggregator, caplog: pytest.LogCaptureFixture
) -> None:
    """A board that lost its key, or two boards with copies of one card."""
    token = aggregator.invite()
    aggregator.ask(1, token)
    aggregator.ask(1, token, tls=1)
    first, second = answers(aggregator)
    assert first.grant is not None
    assert second.grant is not None
    assert first.grant.device == second.grant.device
    assert first.grant.tls_certificate != second.grant.tls_certificate
    one = device_id(key_of(1).public)
    made = aggregator.store.tls_certificates.of(one)
    assert {one.key for one in made} == {tls_key_of(1), tls_key_of(1, 1)}
    assert "was its state copied" in caplog.text
    copies = aggregator.store.tls_certificates.copies(aggregator.now_s)
    assert {found: {c.key for c in both} for found, both in copies.items()} == {
        one: {tls_key_of(1), tls_key_of(1, 1)}
    }


def test_a_device_that_is_enrolled_again_is_no_copy(
    aggregator: HandAggregator, caplog: pytest.LogCaptureFixture
) -> None:
    """`enroll --again` has another key, and the operator knows. A copy does not."""
    enrolled(aggregator, 1)
    later(aggregator, 60.0)
    aggregator.ask(1, aggregator.invite(), tls=1)
    assert reason(aggregator) == ""
    assert aggregator.store.tls_certificates.copies(aggregator.now_s) == {}
    assert "was its state copied" not in caplog.text
    later(aggregator, 60.0)
    aggregator.ask(1, None, tls=2)
    assert reason(aggregator) == ""
    assert [*aggregator.store.tls_certificates.copies(aggregator.now_s)] == [
        device_id(key_of(1).public)
    ]
    assert "was its state copied" in caplog.text


def test_a_device_that_renews_with_another_key_is_no_copy(aggregator: HandAggregator) -> None:
    enrolled(aggregator, 1)
    later(aggregator, LIFE_S * 2 / 3)
    aggregator.ask(1, None, tls=1)
    assert reason(aggregator) == ""
    assert aggregator.store.tls_certificates.copies(aggregator.now_s) == {}


# --- the table of SPEC.md section 7 --------------------------------------------------------------


def test_a_revoked_device_is_told_so_with_any_token(aggregator: HandAggregator) -> None:
    enrolled(aggregator, 1)
    revoke(aggregator, 1)
    for token in (aggregator.invite(), None):
        aggregator.ask(1, token)
        assert reason(aggregator) == EnrolReason.REVOKED
    assert aggregator.store.invitations.all()[0].used == 0


def test_without_the_authority_devices_are_certified_by_hand(aggregator: HandAggregator) -> None:
    (aggregator.config.authority / directory.AUTHORITY_KEY).unlink()
    for token in (aggregator.invite(), None):
        aggregator.ask(1, token)
        assert reason(aggregator) == EnrolReason.BY_HAND
    assert aggregator.store.invitations.all()[0].used == 0


def test_a_token_that_nobody_made_is_not_told_from_a_wrong_code(aggregator: HandAggregator) -> None:
    real = aggregator.invite()
    other = Token.generate(ROOT.public, TOPICS, "broker.example", 8884)
    aggregator.ask(1, other)
    asked = Enrol(key_of(1).public, bytes(16), tls_key_of(1), "", real.id, bytes(32))
    aggregator.arrive_enrol(1, asked)
    first, second = answers(aggregator)
    assert first == second
    assert (first.reason, first.mac) == (EnrolReason.TOKEN_UNKNOWN, None)


def test_a_token_is_used_so_often_and_in_its_time(aggregator: HandAggregator) -> None:
    token = aggregator.invite(uses=2, seconds=100)
    said = []
    for number in (1, 2, 3):
        aggregator.ask(number, token)
        said.append(reason(aggregator))
    assert said == ["", "", EnrolReason.TOKEN_USED]
    late = aggregator.invite(seconds=100)
    aggregator.clock.move(100.0)
    aggregator.ask(4, late)
    assert reason(aggregator) == EnrolReason.TOKEN_LATE
    proven = enrolment.proves(late, answers(aggregator)[-1])
    assert proven


def test_a_name_is_one_devices(aggregator: HandAggregator) -> None:
    enrolled(aggregator, 1, name="kitchen")
    token = aggregator.invite()
    aggregator.ask(2, token, name="kitchen")
    assert reason(aggregator) == EnrolReason.NAME_TAKEN
    assert aggregator.store.invitations.find(token.id).used == 0  # type: ignore[union-attr]
    aggregator.ask(2, token, name="hall")
    assert granted(answers(aggregator)[-1]).name == "hall"


def test_the_operators_name_is_the_devices(aggregator: HandAggregator) -> None:
    aggregator.ask(1, aggregator.invite(name="attic"), name="kitchen")
    assert granted(answers(aggregator)[-1]).name == "attic"


def test_who_has_no_certificate_has_none_to_renew(aggregator: HandAggregator) -> None:
    aggregator.ask(1, None)
    assert reason(aggregator) == EnrolReason.NOT_ENROLLED


# --- renewal -------------------------------------------------------------------------------------


def test_renewal_begins_another_life_with_the_same_name(aggregator: HandAggregator) -> None:
    first = granted(enrolled(aggregator, 1, name="kitchen"))
    later(aggregator, LIFE_S * 2 / 3)
    for nonce in (1, 2):  # an answer is lost
        aggregator.ask(1, None, name="other", nonce=nonce, tls=nonce)
    second, third = map(granted, answers(aggregator)[-2:])
    assert second == third
    assert second.serial > first.serial
    assert second.name == "kitchen"
    assert second.until_s - first.until_s >= LIFE_S * 2 / 3


def test_a_device_whose_certificate_is_over_comes_back(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    enrolled(aggregator, 1)
    later(aggregator, LIFE_S + 1)
    aggregator.join(1, aggregator.plan)
    aggregator.settle()
    assert [t.reason for t in aggregator.tickets] == ["certificate expired"]
    aggregator.ask(1, None, tls=1)
    assert reason(aggregator) == ""
    aggregator.join(1, aggregator.plan)
    aggregator.settle()
    assert aggregator.tickets[-1].answer is Answer.GO


def test_behind_the_grace_it_needs_a_token(aggregator: HandAggregator) -> None:
    enrolled(aggregator, 1)
    later(aggregator, LIFE_S + GRACE_S + 1)
    aggregator.ask(1, None)
    assert reason(aggregator) == EnrolReason.NOT_ENROLLED
    aggregator.ask(1, aggregator.invite())
    assert reason(aggregator) == ""


def test_a_device_of_a_fleet_without_authority_renews_into_one(tmp_path: Path) -> None:
    aggregator = HandAggregator(tmp_path / "state")
    aggregator.enrol(1)
    aggregator.found_authority()
    aggregator.connect()
    aggregator.ask(1, None)
    own = granted(answers(aggregator)[-1])
    assert own.until_s - own.issued_s == LIFE_S
    aggregator.store.close()


def test_a_device_that_asks_for_ever_is_made_few_certificates(aggregator: HandAggregator) -> None:
    enrolled(aggregator, 1)
    for which in range(2 * MOST_A_DAY):
        aggregator.ask(1, None, tls=which)
    assert [answer.reason for answer in answers(aggregator)].count(EnrolReason.BUSY) == MOST_A_DAY
    assert len(aggregator.store.tls_certificates.of(device_id(key_of(1).public))) == MOST_A_DAY
    later(aggregator, DAY_S)
    aggregator.ask(1, None, tls=99)
    assert reason(aggregator) == ""


def test_certificates_that_a_wrong_clock_dated_hold_nobody_up(aggregator: HandAggregator) -> None:
    """It was a month ahead, and is right again: those are none of today's."""
    later(aggregator, 30 * DAY_S)
    enrolled(aggregator, 1)
    for which in range(1, MOST_A_DAY):
        aggregator.ask(1, None, tls=which)
    assert [answer.reason for answer in answers(aggregator)] == [""] * MOST_A_DAY
    aggregator.start()
    aggregator.connect()
    aggregator.ask(1, None, tls=99)
    assert reason(aggregator) == ""


# --- strangers -----------------------------------------------------------------------------------


def test_strangers_are_answered_so_often_and_keep_no_token_out(aggregator: HandAggregator) -> None:
    other = Token.generate(ROOT.public, TOPICS, "broker.example", 8884)
    for number in range(100, 100 + 2 * STRANGERS):
        aggregator.ask(number, other)
    assert len(answers(aggregator)) == STRANGERS
    enrolled(aggregator, 1)
    aggregator.clock.move(60.0)
    counted = aggregator.store.ledger.counters()
    assert counted["not enrolled: token unknown"] == 2 * STRANGERS


def test_a_full_list_of_those_who_asked_keeps_no_token_out(aggregator: HandAggregator) -> None:
    with aggregator.store.database.transaction("strangers"):
        for number in range(MAX_PENDING):
            aggregator.devices.ask(f"{number:016d}", bytes(32), aggregator.now_s)
    enrolled(aggregator, 1)
    assert len(aggregator.devices.pending()) == MAX_PENDING


# --- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
def test_a_power_cut_at_the_commit_uses_no_token_twice(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Before it nothing was said and nothing is used; after it the answer comes again."""
    token = aggregator.invite()
    commit = durable.commit

    def cut(connection: object) -> None:
        if not before:
            commit(connection)  # type: ignore[arg-type]
        raise CannotWrite("the database", "the power was cut")

    with monkeypatch.context() as cutting:
        cutting.setattr(durable, "commit", cut)
        aggregator.ask(1, token)
        assert answers(aggregator) == []
    aggregator.start()
    aggregator.connect()
    found = aggregator.store.invitations.find(token.id)
    assert found is not None
    assert found.used == (0 if before else 1)
    aggregator.ask(1, token)
    assert reason(aggregator) == ""
    aggregator.ask(2, token)
    assert reason(aggregator) == EnrolReason.TOKEN_USED
    assert [c.id for c in aggregator.devices.certified()] == [device_id(key_of(1).public)]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_however_devices_ask_and_the_power_goes_a_token_is_used_as_often_as_it_may(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whom a token let in, and nobody else, has a certificate; each has one answer for ever."""
    aggregator = HandAggregator(tmp_path_factory.mktemp("crash") / "state")
    aggregator.found_authority()
    aggregator.connect()
    uses = data.draw(st.integers(1, 3))
    token = aggregator.invite(uses=uses)
    told: dict[str, bytes] = {}
    for _ in range(data.draw(st.integers(1, 14))):
        if data.draw(st.integers(0, 4)) == 0:
            aggregator.start()
            aggregator.connect()
            continue
        number = data.draw(st.integers(1, 5))
        aggregator.ask(number, token)
        if data.draw(st.booleans()):  # else the process may die before its turn
            for answer in answers(aggregator):
                if answer.grant is not None:
                    own = granted(answer)
                    assert told.setdefault(own.id, answer.grant.device) == answer.grant.device
    aggregator.settle()
    found = aggregator.store.invitations.find(token.id)
    assert found is not None
    certified = {c.id for c in aggregator.devices.certified()}
    assert (found.used, len(certified)) == (len(certified), found.used)
    assert found.used <= uses
    assert told.keys() <= certified
    aggregator.store.close()


# --- other keys ----------------------------------------------------------------------------------


def test_the_running_service_takes_the_authoritys_next_key(aggregator: HandAggregator) -> None:
    enrolled(aggregator, 1)
    with directory.alone(aggregator.config.authority) as own:
        own.rotate_authority(ROOT, aggregator.now_s)
    aggregator.agree()
    token = aggregator.invite()
    asked = aggregator.ask(2, token)
    topic, data = sealed_answer(aggregator)
    assert enrolment.open_first(topic, data, asked, token).trust is not None
    authority = aggregator.devices.find(AUTHORITY)
    assert authority is not None
    one = aggregator.devices.find(device_id(key_of(1).public))
    assert one is not None  # it was signed anew
    assert certificates.trusted(aggregator.devices.bundle(), ROOT.public, "state") is not None


def test_a_token_of_before_the_roots_successor_still_leads_to_it(
    aggregator: HandAggregator,
) -> None:
    token = aggregator.invite()
    with directory.alone(aggregator.config.authority) as own:
        aggregator_key = certificates.read(own.bundle.envelopes["aggregator"]).key
        own.rotate_root(ROOT, aggregator_key, aggregator.now_s)
    aggregator.agree()
    asked = aggregator.ask(1, token)
    topic, data = sealed_answer(aggregator)
    opened = enrolment.open_first(topic, data, asked, token)
    assert opened.trust is not None
    assert len(opened.trust.roots) == 2


def test_who_renews_after_the_roots_successor_is_told_the_root_in_force(
    aggregator: HandAggregator,
) -> None:
    enrolled(aggregator, 1)
    with directory.alone(aggregator.config.authority) as own:
        aggregator_key = certificates.read(own.bundle.envelopes["aggregator"]).key
        successor = own.rotate_root(ROOT, aggregator_key, aggregator.now_s).newest_root
    aggregator.agree()
    aggregator.ask(1, None)
    grant = answers(aggregator)[-1].grant
    assert grant is not None
    assert grant.root == successor != ROOT.public


def revoke(aggregator: HandAggregator, number: int) -> None:
    """As the verb does: in a process of its own."""
    other = Store(aggregator.directory)
    with directory.alone(aggregator.config.authority) as own:
        devices = Devices(other.database, TOPICS)
        assert devices.revoke(device_id(key_of(number).public), own.authority_key())
    other.close()
    aggregator.agree()


def test_nobody_is_certified_before_the_clock_is_set(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of 1970 would be over, and beyond its grace, as soon as the clock is right."""
    token = aggregator.invite()
    with monkeypatch.context() as patch:
        patch.setattr(aggregator.clock, "wall", lambda: 130.0)
        aggregator.ask(1, token)
        assert reason(aggregator) == EnrolReason.BUSY
    aggregator.ask(1, token)
    assert granted(answers(aggregator)[-1]).issued_s > BUILT_S
