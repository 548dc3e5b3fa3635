"""Enrolment: a device that has nothing but a token believes nobody but who made it."""

from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import cast

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.wire import enrolment, identity
from fedling_protocol.wire.enrolment import open_first, prove, proves, take_renewal
from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.identity import SigningKey, device_id, is_tls_key
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_DER, MAX_ENROLLED, MAX_ROOTS, MAX_SMALL
from fedling_protocol.wire.messages import (
    Certificate,
    Enrol,
    Enrolled,
    EnrolReason,
    Grant,
    Message,
    Role,
    Roots,
)
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.payload import without_mac
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.roots import succeed
from fedling_protocol.wire.token import Purpose, Token, fingerprint
from fedling_protocol.wire.trust import Trust
from tests.protocol import samples
from tests.protocol.samples import DEVICE, ONLINE, ROOT, SECOND, THIRD, TOPICS, envelope, message
from tests.support.fuzz import seal as fuzz
from tests.support.fuzz.values import wounded

CERTIFIER = samples.AUTHORITY
STRANGER = SigningKey(b"s" * 32)
ID = device_id(DEVICE.public)
WHERE = TOPICS.of(Kind.ENROLLED, ID)
TOKEN = Token.parse(samples.golden("token")["text"])
ASK = cast(Enrol, message("enrol"))
ANSWER = cast(Enrolled, message("enrolled"))
GRANT = cast(Grant, ANSWER.grant)
NOW = 1_790_000_200  # within the golden certificates' lives


def sealed(answer: Enrolled, key: SigningKey = ONLINE, where: str = WHERE) -> bytes:
    return seal(answer, TOPICS.bound(where), key)


def granted(token: Token = TOKEN, **changed: object) -> Enrolled:
    """The golden answer with another grant, and its code made anew."""
    grant = replace(GRANT, **changed)  # type: ignore[arg-type]
    return prove(token, replace(ANSWER, grant=grant))


def certificate(
    owner: str, key: bytes, signer: SigningKey, serial: int = 1, **more: object
) -> bytes:
    role = {AGGREGATOR: Role.AGGREGATOR, AUTHORITY: Role.AUTHORITY}.get(owner, Role.DEVICE)
    made = replace(Certificate(key, role, "demo", owner, serial), **more)  # type: ignore[arg-type]
    return seal(made, TOPICS.bound(TOPICS.of(Kind.KEYS, owner)), signer)


def refusal(
    data: bytes, token: Token = TOKEN, asked: Enrol = ASK, where: str = WHERE, now_s: int = NOW
) -> Reason:
    with pytest.raises(Refused) as caught:
        open_first(where, data, asked, token, now_s)
    return caught.value.reason


# --- the code of a token -------------------------------------------------------------------------


def test_ask_is_the_golden_one() -> None:
    made = enrolment.ask(ASK.key, ASK.tls_key, ASK.nonce, TOKEN, "kitchen")
    assert prove(TOKEN, replace(made, seal_key=ASK.seal_key)) == ASK


@pytest.mark.parametrize("said", [ASK, ANSWER], ids=["ask", "answer"])
def test_code_is_the_golden_one_and_over_every_field(said: Enrol | Enrolled) -> None:
    assert prove(TOKEN, cast(Enrol, said)) == said
    assert proves(TOKEN, said)
    assert not proves(TOKEN, replace(said, mac=None))
    assert not proves(TOKEN, replace(said, mac=bytes(32)))
    assert not proves(replace(TOKEN, secret=bytes(16)), said)
    assert not proves(TOKEN, replace(said, nonce=bytes(16)))
    for name, other in (
        ("key", STRANGER.public), ("tls_key", bytes(33)), ("name", "cellar"), ("name", ""),
        ("token_id", bytes(8)), ("seal_key", None), ("seal_key", bytes(32)),
        ("reason", "busy"), ("grant", None), ("grant", replace(GRANT, port=1)),
    ):  # fmt: skip
        if hasattr(said, name):
            changed: Enrol | Enrolled = replace(said, **{name: other})  # type: ignore[arg-type]
            assert not proves(TOKEN, changed), name


def test_code_of_a_question_is_not_that_of_an_answer() -> None:
    bare = without_mac(ANSWER)
    assert not proves(TOKEN, replace(ANSWER, mac=TOKEN.seal(Purpose.ASK, bare)))


def test_a_key_for_tls_is_a_point() -> None:
    whole = cast(Enrol, message("enrol-renewal"))
    assert is_tls_key(whole.tls_key)
    for wrong in (bytes(33), b"\2" + b"\xff" * 32, b"\4" + bytes(32), bytes([5]) + bytes(32)):
        assert not is_tls_key(wrong)
        where = TOPICS.of(Kind.ENROL, ID)
        values = {**fuzz.plain(whole), 3: wrong}
        data = fuzz.seal(cbor2.dumps(values), TOPICS.bound(where), DEVICE)
        with pytest.raises(Refused, match="P-256"):
            Trust(TOPICS, ROOT.public).open(where, data)
    assert not is_tls_key(b"")


# --- the first answer ----------------------------------------------------------------------------


def test_golden_answer_is_believed_and_vouches_for_the_fleet() -> None:
    opened = open_first(WHERE, envelope("enrolled"), ASK, TOKEN, NOW)
    assert opened.proven
    assert opened.answer == ANSWER
    assert opened.trust is not None
    assert opened.trust.roots == (ROOT.public, SECOND.public, THIRD.public)
    plan = opened.trust.open(samples.topic("plan"), envelope("plan"), NOW)
    assert plan.certified


def test_a_refusal_is_proven_by_its_code() -> None:
    for reason in EnrolReason:
        bare = Enrolled(ASK.nonce, reason)
        unproven = open_first(WHERE, sealed(bare, STRANGER), ASK, TOKEN)
        assert (unproven.answer.reason, unproven.proven, unproven.trust) == (reason, False, None)
        proven = open_first(WHERE, sealed(prove(TOKEN, bare)), ASK, TOKEN)
        assert (proven.answer.reason, proven.proven, proven.trust) == (reason, True, None)
    assert refusal(sealed(replace(bare, mac=bytes(32)))) is Reason.TOKEN


ELSE = replace(TOKEN, secret=b"another secret..")
OTHER_ROOT = replace(TOKEN, fingerprint=fingerprint(STRANGER.public))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (granted(ELSE), Reason.TOKEN),
        (replace(ANSWER, mac=None), Reason.TOKEN),
        (replace(ANSWER, nonce=bytes(16)), Reason.UNASKED),
        (prove(TOKEN, replace(ANSWER, nonce=bytes(16))), Reason.UNASKED),
        (granted(root=STRANGER.public), Reason.TOKEN),
        (granted(root=SECOND.public), Reason.TOKEN),
        (granted(roots=b"x"), Reason.ENVELOPE),
        (granted(roots=GRANT.device), Reason.SHAPE),
        (granted(authority=GRANT.aggregator), Reason.SIGNATURE),
        (granted(aggregator=GRANT.authority), Reason.SIGNATURE),
        (granted(device=GRANT.authority), Reason.SIGNATURE),
        (
            granted(authority=certificate(AUTHORITY, CERTIFIER.public, STRANGER)),
            Reason.UNKNOWN_KEY,
        ),
        (
            granted(aggregator=certificate(AGGREGATOR, ONLINE.public, CERTIFIER)),
            Reason.ROLE,
        ),
        (granted(aggregator=certificate(AGGREGATOR, STRANGER.public, ROOT)), Reason.UNKNOWN_KEY),
        (
            granted(aggregator=certificate(AGGREGATOR, ONLINE.public, ROOT, until_s=1)),
            Reason.EXPIRED,
        ),
        (
            granted(aggregator=certificate(AGGREGATOR, ONLINE.public, ROOT, revoked=True)),
            Reason.REVOKED,
        ),
        (granted(device=certificate(ID, DEVICE.public, ONLINE)), Reason.ROLE),
        (granted(device=certificate(ID, DEVICE.public, DEVICE)), Reason.UNKNOWN_KEY),
        (granted(device=certificate(ID, STRANGER.public, CERTIFIER)), Reason.CERTIFICATE),
        (
            granted(device=certificate(ID, DEVICE.public, CERTIFIER, revoked=True)),
            Reason.CERTIFICATE,
        ),
        (
            granted(device=certificate(ID, DEVICE.public, CERTIFIER, until_s=NOW - 1)),
            Reason.CERTIFICATE,
        ),
    ],
)  # fmt: skip
def test_answer_that_is_wrong_somewhere(answer: Enrolled, expected: Reason) -> None:
    assert refusal(sealed(answer)) is expected


def test_answer_that_another_key_signed() -> None:
    """Who has the token alone, another device of its count, is not the aggregator."""
    for key in (DEVICE, STRANGER, CERTIFIER, ROOT):
        assert refusal(sealed(ANSWER, key)) in (Reason.ROLE, Reason.UNKNOWN_KEY)


def test_answer_for_another_device_or_on_another_topic() -> None:
    other = TOPICS.of(Kind.ENROLLED, device_id(STRANGER.public))
    assert refusal(sealed(ANSWER, where=other), where=other) is Reason.TOPIC
    assert refusal(sealed(ANSWER, where=other)) is Reason.SIGNATURE
    asked = replace(ASK, key=STRANGER.public)
    assert refusal(sealed(ANSWER), asked=asked) is Reason.TOPIC
    plan = samples.topic("plan")
    assert refusal(envelope("plan"), where=plan) is Reason.TOPIC
    assert refusal(envelope("enrolled"), where="elsewhere/1/demo/x") is Reason.TOPIC


def test_answer_of_another_fleet_is_no_answer() -> None:
    token = replace(TOKEN, fleet="other")
    where = WHERE.replace("/demo/", "/other/")
    answer = prove(token, ANSWER)
    data = seal(answer, where.partition("/")[2].encode(), ONLINE)
    assert refusal(data, token, where=where) in (Reason.SIGNATURE, Reason.CERTIFICATE)


def test_a_root_that_the_token_names_may_stand_in_the_chain() -> None:
    """A token of after the change of roots: what came before is nobody's business."""
    token = replace(TOKEN, fingerprint=fingerprint(THIRD.public))
    answer = granted(
        token,
        root=THIRD.public,
        authority=certificate(AUTHORITY, CERTIFIER.public, THIRD),
        aggregator=certificate(AGGREGATOR, ONLINE.public, THIRD),
    )
    opened = open_first(WHERE, sealed(answer), ASK, token, NOW)
    assert opened.trust is not None
    assert opened.trust.roots == (THIRD.public,)
    without = prove(token, replace(answer, grant=replace(cast(Grant, answer.grant), roots=None)))
    assert open_first(WHERE, sealed(without), ASK, token, NOW).trust is not None


def test_largest_grant_fits_into_its_message() -> None:
    grant = replace(
        GRANT, host="h" * 253, authority=bytes(MAX_SMALL), aggregator=bytes(MAX_SMALL),
        device=bytes(MAX_SMALL), roots=bytes(MAX_ROOTS), tls_certificate=bytes(MAX_DER),
        tls_ca=bytes(MAX_DER),
    )  # fmt: skip
    assert len(sealed(replace(ANSWER, grant=grant))) <= MAX_ENROLLED


def test_longest_chain_fits_into_its_message() -> None:
    keys = [SigningKey(bytes([n]) * 32) for n in range(33)]
    links = [succeed(keys[n], keys[n + 1].public, "x" * 32, n + 1, 2**32 - 1) for n in range(32)]
    assert len(seal(Roots(tuple(links)), b"1/x/roots/list", keys[-1])) <= MAX_ROOTS


# --- whatever is written into it -----------------------------------------------------------------


@given(st.integers(0, 2**32))
def test_only_refused_escapes_and_nothing_wrong_is_granted(seed: int) -> None:
    """A hurt answer, with a right code and rightly signed: of one who has token and online key."""
    dice = Random(seed)
    values = wounded(fuzz.RECORDS[Enrolled], fuzz.plain(ANSWER), dice)
    values.pop(4, None)
    if dice.random() < 0.9:
        values[4] = TOKEN.seal(Purpose.ANSWER, cbor2.dumps(dict(sorted(values.items()))))
    data = fuzz.seal(cbor2.dumps(dict(sorted(values.items()))), TOPICS.bound(WHERE), ONLINE)
    try:
        opened = open_first(WHERE, data, ASK, TOKEN, NOW)
    except Refused:
        return
    if opened.trust is not None:
        grant = cast(Grant, opened.answer.grant)
        assert grant.root == ROOT.public
        assert (grant.authority, grant.aggregator, grant.device) == (
            GRANT.authority, GRANT.aggregator, GRANT.device,
        )  # fmt: skip


@given(st.integers(0, 2**32))
def test_only_refused_escapes_from_mutants(seed: int) -> None:
    dice, data = Random(seed), bytearray(envelope("enrolled"))
    for _ in range(dice.choice((1, 1, 2, 8))):
        data[dice.randrange(len(data))] = dice.randrange(256)
    if dice.random() < 0.2:
        del data[dice.randrange(len(data)) :]
    if bytes(data) != envelope("enrolled"):
        assert refusal(bytes(data)) in Reason


def test_no_answer_costs_more_than_its_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes anything into it has us verify a chain, four certificates and the whole."""
    verified = 0
    verify = identity.verify

    def counted(public: bytes, signature: bytes, *data: bytes | memoryview) -> bool:
        nonlocal verified
        verified += 1
        return verify(public, signature, *data)

    monkeypatch.setattr(identity, "verify", counted)
    keys = [ROOT, *(SigningKey(bytes([n]) * 32) for n in range(50, 82))]
    links = [succeed(keys[n], keys[n + 1].public, "demo", n + 1, 1) for n in range(32)]
    where = TOPICS.bound(TOPICS.of(Kind.ROOTS))
    for chain in (links, [*links[:-1], replace(links[-1], signature=bytes(64))]):
        told = Roots(tuple(chain))
        with suppress(Refused):
            open_first(WHERE, sealed(granted(roots=seal(told, where, keys[-1]))), ASK, TOKEN, NOW)
        assert 32 <= verified <= 32 + 5
        verified = 0
    for _ in range(3):  # a stranger who does not have the token has us verify nothing
        assert refusal(sealed(granted(ELSE))) is Reason.TOKEN
    assert verified == 0


# --- a renewal -----------------------------------------------------------------------------------

RENEWAL = cast(Enrol, message("enrol-renewal"))


def member(*roots: str) -> Trust:
    return samples.trust("certificate-authority", "certificate-aggregator", *roots)


def renewed(trust: Trust, answer: Enrolled, asked: Enrol = RENEWAL) -> Enrolled:
    return take_renewal(trust, trust.open(WHERE, sealed(answer), NOW), asked, NOW)


def test_renewal_needs_no_token() -> None:
    trust = member("certificate-device")
    answer = replace(ANSWER, mac=None)
    assert renewed(trust, answer) == answer
    known = trust.known(ID)
    assert known is not None
    assert known.until_s == 1_797_776_100


def test_renewal_brings_a_device_that_was_away_to_the_newest_root() -> None:
    trust = member()
    newest = replace(GRANT, root=THIRD.public)
    renewed(trust, Enrolled(RENEWAL.nonce, "", newest))
    assert trust.roots == (ROOT.public, SECOND.public, THIRD.public)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Enrolled(bytes(16), "", GRANT), Reason.UNASKED),
        (Enrolled(bytes(16), EnrolReason.REVOKED), Reason.UNASKED),
        (Enrolled(RENEWAL.nonce, "", replace(GRANT, root=STRANGER.public)), Reason.TOKEN),
        (Enrolled(RENEWAL.nonce, "", replace(GRANT, roots=None, root=SECOND.public)), Reason.TOKEN),
        (
            Enrolled(
                RENEWAL.nonce, "", replace(GRANT, device=certificate(ID, DEVICE.public, CERTIFIER))
            ),
            Reason.CERTIFICATE,
        ),
    ],
)
def test_renewal_that_is_wrong_somewhere(answer: Enrolled, expected: Reason) -> None:
    with pytest.raises(Refused) as caught:
        renewed(member("certificate-device"), answer)
    assert caught.value.reason is expected


def test_renewal_that_was_not_granted_changes_nothing() -> None:
    trust = member("certificate-device")
    before = trust.known(ID)
    answer: Message = renewed(trust, Enrolled(RENEWAL.nonce, EnrolReason.BUSY))
    assert cast(Enrolled, answer).reason == "busy"
    assert trust.known(ID) == before
    asked = replace(RENEWAL, key=STRANGER.public)
    with pytest.raises(Refused, match="not for this device"):
        renewed(trust, Enrolled(RENEWAL.nonce, EnrolReason.BUSY), asked)
