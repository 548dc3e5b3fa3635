"""What a device asks with, and which answers it believes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.enrol.asking import Denied, Granted, ask, believe
from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Enrol, Enrolled, EnrolReason, Grant
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.token import Token
from tests.support.hand_authority import THIEF, HandAuthority

GOLDEN = Path(__file__).parents[2] / "protocol" / "golden"
KEY = SigningKey(b"D" * 32)
DEVICE = device_id(KEY.public)
NONCE = bytes(range(16))
# A point of P-256: its generator (FIPS 186-4, D.1.2.3).
POINT = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")


@pytest.fixture
def fleet(tmp_path: Path) -> HandAuthority:
    return HandAuthority(tmp_path)


@pytest.fixture
def token(fleet: HandAuthority) -> Token:
    return fleet.token()


def asked(token: Token | None, name: str = "kitchen") -> Enrol:
    return ask(KEY.public, POINT, NONCE, name, token)


def test_ask_is_that_of_the_golden_vector() -> None:
    fields = json.loads((GOLDEN / "enrol.json").read_text())["fields"]
    made = json.loads((GOLDEN / "token.json").read_text())
    token = Token.parse(made["text"])
    key, nonce, tls_key = (bytes.fromhex(fields[n]) for n in ("key", "nonce", "tls_key"))
    found = ask(key, tls_key, nonce, fields["name"], token)
    assert found.token_id == bytes.fromhex(fields["token_id"])


def test_ask_without_a_token_is_a_renewal() -> None:
    assert asked(None) == Enrol(KEY.public, NONCE, POINT, "kitchen")


def test_answer_of_who_has_the_token_is_believed(fleet: HandAuthority, token: Token) -> None:
    question = asked(token)
    found = believe(fleet.granted(question, token), question, token)
    assert isinstance(found, Granted)
    assert (found.certificate.id, found.certificate.name) == (DEVICE, "kitchen")
    assert (found.grant.host, found.grant.port) == ("127.0.0.1", 8883)


@pytest.mark.parametrize("successors", [1, 2, 5])
def test_chain_from_the_root_of_the_token_is_followed(
    fleet: HandAuthority, token: Token, successors: int
) -> None:
    for number in range(successors):
        fleet.succeed(SigningKey(bytes([number]) * 32))
    question = asked(token)
    found = believe(fleet.granted(question, token), question, token)
    assert isinstance(found, Granted)
    assert found.grant.roots is not None


@pytest.mark.parametrize("reason", [*EnrolReason, "of a later version"])
@pytest.mark.parametrize("proven", [True, False])
def test_denial_is_told_with_what_it_is_worth(
    fleet: HandAuthority, token: Token, reason: str, proven: bool
) -> None:
    question = asked(token)
    said = fleet.denied(question, reason, token if proven else None)
    found = believe(said, question, token)
    assert found == Denied(str(reason), proven)
    assert isinstance(found, Denied)
    assert found.for_now == (reason == EnrolReason.BUSY)


Make = Callable[[HandAuthority, Enrol, Token], bytes]


def _with(fleet: HandAuthority, question: Enrol, token: Token | None, grant: Grant) -> bytes:
    return fleet.said(question, Enrolled(question.nonce, "", grant), token)


def _other_nonce(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    return fleet.granted(replace(question, nonce=bytes(16)), token)


def _without_code(fleet: HandAuthority, question: Enrol, _token: Token) -> bytes:
    return fleet.granted(question, None)


def _of_another_token(fleet: HandAuthority, question: Enrol, _token: Token) -> bytes:
    return fleet.granted(question, fleet.token())


def _echo(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    """The code of the question does not prove an answer."""
    del token
    answer = Enrolled(question.nonce, "", fleet.grant(question), question.mac)
    return fleet.sealed(fleet.back(question), answer, fleet.online)


def _other_root(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    """Somebody who has the token is not the root that it names."""
    return _with(fleet, question, token, replace(fleet.grant(question), root=THIEF.public))


def _offices_by_a_thief(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    fleet.root = THIEF
    return fleet.granted(question, token)


def _device_by_a_thief(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    grant = fleet.grant(question)
    fleet.office = THIEF
    return _with(fleet, question, token, replace(grant, device=fleet.of_device(question.key)))


def _for_another_key(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    grant = replace(fleet.grant(question), device=fleet.of_device(THIEF.public))
    return _with(fleet, question, token, grant)


def _tombstone(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    grant = replace(fleet.grant(question), device=fleet.of_device(question.key, revoked=True))
    return _with(fleet, question, token, grant)


def _over(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    fleet.life_s, now = 10, fleet.now_s
    fleet.now_s = now - 1000
    device = fleet.of_device(question.key)
    fleet.now_s = now
    return _with(fleet, question, token, replace(fleet.grant(question), device=device))


def _signed_by_another(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    answer = Enrolled(question.nonce, "", fleet.grant(question))
    return fleet.said(question, answer, token, THIEF)


def _of_another_fleet(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    """Rightly signed there, and sent here."""
    data = fleet.granted(question, token)
    parts = envelope.parse(data, Kind.ENROLLED)
    message = payload.decode(Kind.ENROLLED, parts.payload)
    return envelope.seal(message, b"1/other/enrolled/" + DEVICE.encode(), fleet.online)


def _fork(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    """A chain that does not begin at the root of the token."""
    fleet.root = THIEF
    fleet.succeed(SigningKey(b"x" * 32))
    return fleet.granted(question, token)


def _no_certificates(fleet: HandAuthority, question: Enrol, token: Token) -> bytes:
    return _with(fleet, question, token, replace(fleet.grant(question), aggregator=b"\x00" * 9))


HOSTILE: dict[str, tuple[Make, set[Reason]]] = {
    "to another question": (_other_nonce, {Reason.UNASKED}),
    "without a code": (_without_code, {Reason.TOKEN}),
    "code of another token": (_of_another_token, {Reason.TOKEN}),
    "the question's own code": (_echo, {Reason.TOKEN}),
    "another root": (_other_root, {Reason.TOKEN}),
    "offices by a thief": (_offices_by_a_thief, {Reason.UNKNOWN_KEY}),
    "device by a thief": (_device_by_a_thief, {Reason.UNKNOWN_KEY}),
    "for another key": (_for_another_key, {Reason.SIGNATURE, Reason.CERTIFICATE}),
    "a tombstone": (_tombstone, {Reason.CERTIFICATE}),
    "already over": (_over, {Reason.EXPIRED}),
    "signed by another": (_signed_by_another, {Reason.UNKNOWN_KEY}),
    "of another fleet": (_of_another_fleet, {Reason.TOKEN, Reason.SIGNATURE}),
    "a chain from elsewhere": (_fork, {Reason.SIGNATURE, Reason.UNKNOWN_KEY}),
    "no certificates": (_no_certificates, {Reason.ENVELOPE, Reason.CBOR, Reason.SIZE}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_answer_that_is_not_believed(fleet: HandAuthority, token: Token, name: str) -> None:
    make, reasons = HOSTILE[name]
    question = asked(token)
    with pytest.raises(Refused) as refused:
        believe(make(fleet, question, token), question, token)
    assert refused.value.reason in reasons


def test_answer_with_any_byte_changed_is_not_believed(fleet: HandAuthority, token: Token) -> None:
    question = asked(token)
    good = fleet.granted(question, token)
    for at in range(0, len(good), 7):
        bad = bytearray(good)
        bad[at] ^= 0x20
        try:
            found = believe(bytes(bad), question, token)
        except Refused:
            continue
        assert isinstance(found, Denied), f"byte {at}"
        assert not found.proven
