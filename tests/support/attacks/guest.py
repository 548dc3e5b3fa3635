"""Who stands at the listener for enrolment: without a token, or with one and other wishes."""

import itertools
from contextlib import suppress
from dataclasses import replace

import pytest

from fedling_agent.enrol import asking
from fedling_agent.enrol.asking import Granted
from fedling_broker.store.devices import Devices
from fedling_broker.store.invitations import Invitation
from fedling_protocol.net import tls_key
from fedling_protocol.wire import enrolment, envelope
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Enrol, Enrolled
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.token import Token
from tests.support.attacks.cast import (
    ONLINE,
    ROOT,
    TOPICS,
    VICTIM_ID,
    contents,
    sealed,
)
from tests.support.attacks.intruder import PutOff
from tests.support.attacks.stage import SAY_AGAIN, Stage
from tests.support.attacks.table import Attack, Who
from tests.support.hand_authority import HandAuthority

FIRST, SECOND, THIEF = (SigningKey(word * 32) for word in (b"1", b"2", b"T"))
TLS = tls_key.generate()  # of whoever asks
NONCE = bytes(16)


def enters_without_a_token(stage: Stage) -> bool:
    stage.begin()
    stage.invite()
    with suppress(PutOff):
        return stage.knock("guest").lives
    return False


def reads_more_than_its_answer(stage: Stage) -> bool:
    """Plans, models, or what others are told."""
    stage.begin()
    guest = stage.knock("guest", stage.invite())
    guest.subscribe("#")
    return guest.ping() != []


def takes_a_devices_place(stage: Stage) -> bool:
    """Client ids are those of both listeners."""
    stage.begin()
    token = stage.invite()
    stage.settle()
    stage.knock(VICTIM_ID, token).ping()
    stage.settle()
    return stage.device.service.connection.lost != ""


# --- questions and answers -----------------------------------------------------------------


def ask(stage: Stage, token: Token, key: SigningKey, name: str = "") -> bytes:
    """Ask as a device does, at the real listener; the envelope of the answer."""
    question = enrolment.ask(key.public, tls_key.public(TLS), NONCE, token, name)
    return say(stage, token, key, question)


def say(stage: Stage, token: Token, key: SigningKey, question: Enrol) -> bytes:
    """Ask with what a token's bearer has, whatever the question is; and again, as a device does."""
    mine = device_id(key.public)
    where, back = TOPICS.of(Kind.ENROL, mine), TOPICS.of(Kind.ENROLLED, mine)
    sealed_question = envelope.seal(question, TOPICS.bound(where), key)
    looks = itertools.count()
    with stage.knock("guest", token) as guest:
        guest.subscribe(back)

        def answered() -> bool:
            if next(looks) % SAY_AGAIN == 0:
                guest.publish(where, sealed_question)
            return guest.ping() != []

        stage.run(answered)
        return guest.heard[-1][1]


def belongs(stage: Stage, key: SigningKey) -> bool:
    """Whether this key has a certificate that counts."""
    with stage.books() as store:
        return Devices(store.database, TOPICS).find(device_id(key.public)) is not None


def token_used_twice(stage: Stage) -> bool:
    stage.begin()
    token = stage.invite(uses=1)
    ask(stage, token, FIRST)
    assert belongs(stage, FIRST)
    ask(stage, token, SECOND)
    return belongs(stage, SECOND)


def use_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Invitation, "is_used_up", property(lambda _invitation: False))


def token_too_late(stage: Stage) -> bool:
    """The MQTT broker has not heard yet that it is over."""
    stage.begin()
    ask(stage, stage.invite(ends_s=-1), FIRST)
    return belongs(stage, FIRST)


def never_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Invitation, "is_late", lambda _invitation, _now_s: False)


def question_of_another(stage: Stage) -> bool:
    """A question that was heard on its way is asked again, with another key in it."""
    stage.begin()
    token = stage.invite()
    heard = enrolment.ask(FIRST.public, tls_key.public(TLS), NONCE, token)
    say(stage, token, SECOND, replace(heard, key=SECOND.public))
    return belongs(stage, SECOND)


def prove_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(enrolment, "proves", lambda _token, _message: True)


def name_of_another(stage: Stage) -> bool:
    """Two devices that people cannot tell from each other."""
    stage.begin()
    token = stage.invite(uses=2)
    ask(stage, token, FIRST, "kitchen")
    ask(stage, token, SECOND, "kitchen")
    return belongs(stage, FIRST) and belongs(stage, SECOND)


def share_names(patch: pytest.MonkeyPatch) -> None:
    """Here, and in the database, which has a last word."""

    def check_name(devices: Devices, _owner: str, _name: str) -> None:
        with devices._database.transaction("no index") as connection:
            connection.execute("DROP INDEX IF EXISTS certificates_by_name")

    patch.setattr(Devices, "_check_name", check_name)


def forged_answer(stage: Stage) -> bool:
    """Who stands in the MQTT broker's place answers with a fleet of its own, at another address."""
    token = Token.generate(ROOT.public, TOPICS, "localhost", stage.enrolment)
    question = enrolment.ask(FIRST.public, tls_key.public(TLS), NONCE, token)
    thief = HandAuthority(stage.directory / "thief", topics=TOPICS, host="thief.example")
    thief.root = thief.office = thief.online = THIEF
    grant = replace(thief.grant(question), root=THIEF.public)
    data = thief.said(question, Enrolled(NONCE, "", grant), None)
    return believed(data, question, token)


def altered_answer(stage: Stage) -> bool:
    """A real answer, in which the address is another one; signed by whoever alters it."""
    stage.begin()
    token = stage.invite()
    question = enrolment.ask(FIRST.public, tls_key.public(TLS), NONCE, token)
    data = say(stage, token, FIRST, question)
    assert believed(data, question, token)
    where = TOPICS.of(Kind.ENROLLED, device_id(FIRST.public))
    answer = contents(where, data)
    assert isinstance(answer, Enrolled)
    assert answer.grant is not None
    altered = replace(answer, grant=replace(answer.grant, host="thief.example"))
    return believed(sealed(where, altered, ONLINE), question, token)


def believed(data: bytes, question: Enrol, token: Token) -> bool:
    """Whether a device would go where the answer says."""
    try:
        return isinstance(asking.believe(data, question, token), Granted)
    except Refused:
        return False


def ask_for_no_proof(patch: pytest.MonkeyPatch) -> None:
    prove_nothing(patch)
    patch.setattr(Token, "vouches_for", lambda _token, _root: True)


ATTACKS = (
    Attack(
        "enrolment-without-a-token",
        Who.STRANGER,
        enters_without_a_token,
        left_out=("allow_anonymous false", "password_file", "use_username_as_clientid"),
        guarded=True,
    ),
    Attack(
        "guest-reads-everything",
        Who.GUEST,
        reads_more_than_its_answer,
        left_out=("enrolment-access",),
        guarded=True,
    ),
    Attack(
        "guest-takes-a-place",
        Who.GUEST,
        takes_a_devices_place,
        left_out=("use_username_as_clientid",),
        guarded=True,
    ),
    Attack("token-used-twice", Who.GUEST, token_used_twice, use_for_ever, guarded=True),
    Attack("token-too-late", Who.GUEST, token_too_late, never_late, guarded=True),
    Attack("name-of-another-device", Who.GUEST, name_of_another, share_names, guarded=True),
    Attack(
        "question-with-another-key", Who.BROKER, question_of_another, prove_nothing, guarded=True
    ),
    Attack("forged-enrolment", Who.BROKER, forged_answer, ask_for_no_proof, guarded=True),
    Attack("altered-enrolment", Who.BROKER, altered_answer, prove_nothing, guarded=True),
)
