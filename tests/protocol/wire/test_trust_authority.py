"""Authority, roots and revocation: whose word counts, until when, in whatever order it comes."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Enrol, Message, Role, Roots
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.roots import succeed
from fedling_protocol.wire.trust import Known, Standing, Trust
from tests.protocol.samples import AUTHORITY as CERTIFIER
from tests.protocol.samples import DEVICE, ONLINE, ROOT, SECOND, THIRD, TOPICS, envelope, message
from tests.protocol.samples import topic as topic_of

NEXT, ANOTHER, STRANGER = (SigningKey(bytes([n]) * 32) for n in (7, 8, 9))
ID = device_id(DEVICE.public)
OFFICE = {AGGREGATOR: Role.AGGREGATOR, AUTHORITY: Role.AUTHORITY}
NOW = 1_800_000_000


def certificate(owner: str, key: SigningKey, serial: int, **more: object) -> Certificate:
    role = OFFICE.get(owner, Role.DEVICE)
    return replace(Certificate(key.public, role, "demo", owner, serial), **more)  # type: ignore[arg-type]


def sealed(said: Message, key: SigningKey, where: str = "") -> tuple[str, bytes]:
    match said:
        case Certificate():
            where = where or TOPICS.of(Kind.KEYS, said.id)
        case Roots():
            where = where or TOPICS.of(Kind.ROOTS)
    return where, seal(said, TOPICS.bound(where), key)


def roots(*keys: SigningKey) -> tuple[str, bytes]:
    """The successors of ROOT."""
    chain = [ROOT, *keys]
    links = [
        succeed(chain[n], key.public, "demo", n + 1, NOW + n) for n, key in enumerate(chain[1:])
    ]
    return sealed(Roots(tuple(links)), chain[-1])


def fleet(*said: tuple[str, bytes]) -> Trust:
    """One that knows authority, aggregator and device, the first two from the root."""
    trust = Trust(TOPICS, ROOT.public)
    for topic, data in (
        sealed(certificate(AUTHORITY, CERTIFIER, 10), ROOT),
        sealed(certificate(AGGREGATOR, ONLINE, 10), ROOT),
        sealed(certificate(ID, DEVICE, 10), CERTIFIER),
        *said,
    ):
        trust.open(topic, data)
    return trust


def refusal(trust: Trust, said: tuple[str, bytes], now_s: int = 0) -> Reason:
    with pytest.raises(Refused) as caught:
        trust.open(*said, now_s)
    return caught.value.reason


def golden(name: str) -> tuple[str, bytes]:
    return topic_of(name), envelope(name)


ENROL = cast(Enrol, message("enrol-renewal"))
ASK = sealed(ENROL, DEVICE, TOPICS.of(Kind.ENROL, ID))


# --- who may sign what ---------------------------------------------------------------------------


def test_authority_certifies_devices() -> None:
    trust = fleet()
    assert trust.known(ID) == Known(DEVICE.public, 10, DEVICE.kid, signer=CERTIFIER.public)
    assert trust.open(*golden("update")).certified


@pytest.mark.parametrize(
    ("said", "key", "expected"),
    [
        (certificate(AGGREGATOR, NEXT, 11), CERTIFIER, Reason.ROLE),
        (certificate(AUTHORITY, NEXT, 11), CERTIFIER, Reason.ROLE),
        (certificate(AUTHORITY, NEXT, 11), ONLINE, Reason.ROLE),
        (certificate(AUTHORITY, NEXT, 11), NEXT, Reason.UNKNOWN_KEY),
        (certificate(ID, DEVICE, 11), ONLINE, Reason.ROLE),
        (certificate(ID, DEVICE, 11), DEVICE, Reason.ROLE),
        (certificate(ID, DEVICE, 11), NEXT, Reason.UNKNOWN_KEY),
        (replace(certificate(AUTHORITY, NEXT, 11), role=Role.AGGREGATOR), ROOT, Reason.CERTIFICATE),
        (replace(certificate(AUTHORITY, NEXT, 11), role=Role.DEVICE), ROOT, Reason.CERTIFICATE),
        (replace(certificate(AGGREGATOR, NEXT, 11), role=Role.AUTHORITY), ROOT, Reason.CERTIFICATE),
        (replace(certificate(ID, DEVICE, 11), role=Role.AUTHORITY), CERTIFIER, Reason.CERTIFICATE),
        (replace(certificate(ID, DEVICE, 11), role=Role.AGGREGATOR), CERTIFIER, Reason.CERTIFICATE),
        (certificate(AUTHORITY, NEXT, 11, fleet="other"), ROOT, Reason.CERTIFICATE),
        (certificate(ID, NEXT, 11), CERTIFIER, Reason.CERTIFICATE),
        (certificate(ID, DEVICE, 9), CERTIFIER, Reason.CERTIFICATE),
        (certificate(ID, DEVICE, 10, revoked=True), CERTIFIER, Reason.CERTIFICATE),
        (certificate(ID, DEVICE, 10, until_s=NOW), CERTIFIER, Reason.CERTIFICATE),
        (certificate(AUTHORITY, NEXT, 9), ROOT, Reason.CERTIFICATE),
        (certificate(AUTHORITY, NEXT, 10), ROOT, Reason.CERTIFICATE),
    ],
)
def test_certificate_that_does_not_count(
    said: Certificate, key: SigningKey, expected: Reason
) -> None:
    trust, same = fleet(), fleet()
    assert refusal(trust, sealed(said, key)) is expected
    for owner in (AUTHORITY, AGGREGATOR, ID):
        assert trust.known(owner) == same.known(owner)


@pytest.mark.parametrize("name", ["plan", "tasks", "model", "ticket-go", "enrolled", "update"])
def test_authority_and_roots_sign_nothing_else(name: str) -> None:
    for key in (CERTIFIER, ROOT):
        trust = fleet()
        where = topic_of(name)
        forged = seal(message(name), TOPICS.bound(where), key)
        assert refusal(trust, (where, forged)) is Reason.ROLE


def test_certificate_before_its_signers_is_refused_and_counts_when_it_comes_again() -> None:
    trust = Trust(TOPICS, ROOT.public)
    own = sealed(certificate(ID, DEVICE, 10), CERTIFIER)
    assert refusal(trust, own) is Reason.UNKNOWN_KEY
    trust.open(*sealed(certificate(AUTHORITY, CERTIFIER, 10), ROOT))
    assert trust.open(*own).certified


# --- the authority ends --------------------------------------------------------------------------


def test_what_a_former_authority_certified_counts_no_more() -> None:
    """Nor what it certifies now, nor whom it revoked."""
    trust = fleet(sealed(certificate(ID, DEVICE, 11, revoked=True), CERTIFIER))
    trust.open(*sealed(certificate(AUTHORITY, NEXT, 11), ROOT))
    assert trust.known(ID) is None
    assert refusal(trust, golden("update")) is Reason.UNKNOWN_KEY
    assert refusal(trust, sealed(certificate(ID, DEVICE, 99), CERTIFIER)) is Reason.UNKNOWN_KEY
    assert refusal(trust, sealed(certificate(AUTHORITY, CERTIFIER, 10), ROOT)) is Reason.CERTIFICATE
    trust.open(*sealed(certificate(ID, DEVICE, 1), NEXT))  # its serials are its own
    assert trust.open(*golden("update")).certified


def test_an_authority_that_keeps_its_key_keeps_its_devices() -> None:
    trust = fleet(sealed(certificate(AUTHORITY, CERTIFIER, 11, until_s=NOW), ROOT))
    assert trust.open(*golden("update"), now_s=NOW + 1).certified


def test_a_revoked_authority_has_certified_nobody() -> None:
    trust = fleet(sealed(certificate(AUTHORITY, CERTIFIER, 11, revoked=True), ROOT))
    assert trust.known(ID) is None
    assert refusal(trust, sealed(certificate(ID, DEVICE, 12), CERTIFIER)) is Reason.REVOKED
    trust.open(*sealed(certificate(ID, DEVICE, 12), ROOT))
    assert trust.open(*golden("update")).certified


def test_devices_of_the_root_stay_when_the_authority_changes() -> None:
    trust = fleet(sealed(certificate(ID, DEVICE, 11), ROOT))
    trust.open(*sealed(certificate(AUTHORITY, NEXT, 11), ROOT))
    assert trust.open(*golden("update")).certified


def test_what_was_known_without_a_look_stays_until_it_is_forgotten() -> None:
    """The aggregator's own store."""
    trust = Trust(TOPICS, ROOT.public)
    trust.know(ID, DEVICE.public, 5)
    for serial, key in ((1, CERTIFIER), (2, NEXT)):
        trust.open(*sealed(certificate(AUTHORITY, key, serial), ROOT))
    assert trust.open(*golden("update")).certified


# --- revoked -------------------------------------------------------------------------------------


def test_a_revoked_device_is_heard_in_what_is_answered_only() -> None:
    trust = fleet(sealed(certificate(ID, DEVICE, 11, revoked=True), CERTIFIER))
    for name in ("update", "state"):
        assert refusal(trust, golden(name)) is Reason.REVOKED
    for said in (golden("join"), golden("join-have"), golden("join-uncertified"), ASK):
        received = trust.open(*said)
        assert (received.standing, received.certified) == (Standing.REVOKED, False)
    assert refusal(trust, sealed(certificate(ID, DEVICE, 10), CERTIFIER)) is Reason.CERTIFICATE


def test_a_tombstone_is_taken_back_by_a_later_certificate_only() -> None:
    """Whoever certifies decides whether a key may come back, not the wire."""
    trust = fleet(sealed(certificate(ID, DEVICE, 11, revoked=True), CERTIFIER))
    trust.open(*sealed(certificate(ID, DEVICE, 12), CERTIFIER))
    assert trust.open(*golden("join")).certified


def test_a_forged_message_is_not_said_to_be_of_a_revoked_key() -> None:
    """`revoked` and `expired` are proven: somebody has the key, and goes on."""
    trust = fleet(sealed(certificate(ID, DEVICE, 11, revoked=True), CERTIFIER))
    where, data = golden("update")
    assert refusal(trust, (where, data[:-1] + bytes([data[-1] ^ 1]))) is Reason.SIGNATURE


def test_a_revoked_aggregator_says_nothing_until_it_has_another_key() -> None:
    trust = fleet(sealed(certificate(AGGREGATOR, ONLINE, 11, revoked=True), ROOT))
    for name in ("plan", "rest", "model", "tasks", "ticket-go", "receipt", "enrolled"):
        assert refusal(trust, golden(name)) is Reason.REVOKED
    trust.open(*sealed(certificate(AGGREGATOR, NEXT, 12), ROOT))
    assert refusal(trust, golden("plan")) is Reason.UNKNOWN_KEY


def test_what_the_store_says_is_revoked_or_over_is_so() -> None:
    trust = Trust(TOPICS, ROOT.public)
    trust.know(ID, DEVICE.public, 5, NOW)
    assert trust.open(*golden("join"), now_s=NOW + 1).standing is Standing.EXPIRED
    trust.know(ID, DEVICE.public, 6, NOW, revoked=True)
    assert refusal(trust, golden("update")) is Reason.REVOKED


# --- over ----------------------------------------------------------------------------------------


def test_a_device_whose_certificate_is_over_is_answered_and_no_more() -> None:
    trust = fleet(sealed(certificate(ID, DEVICE, 11, until_s=NOW), CERTIFIER))
    for now_s in (0, 1, NOW):
        assert trust.open(*golden("update"), now_s=now_s).certified
    for name in ("update", "state"):
        assert refusal(trust, golden(name), NOW + 1) is Reason.EXPIRED
    for said in (golden("join"), golden("join-uncertified"), ASK):
        received = trust.open(*said, now_s=NOW + 1)
        assert (received.standing, received.certified) == (Standing.EXPIRED, False)
    trust.open(*sealed(certificate(ID, DEVICE, 12, until_s=NOW + 9), CERTIFIER), now_s=NOW + 1)
    assert trust.open(*golden("update"), now_s=NOW + 1).certified


def test_an_aggregator_whose_certificate_is_over_says_nothing() -> None:
    trust = fleet(sealed(certificate(AGGREGATOR, ONLINE, 11, until_s=NOW), ROOT))
    for name in ("plan", "rest", "model", "tasks", "ticket-go", "receipt", "enrolled"):
        assert trust.open(*golden(name), now_s=NOW).certified
        assert refusal(trust, golden(name), NOW + 1) is Reason.EXPIRED


def test_an_authority_whose_certificate_is_over_certifies_nobody() -> None:
    trust = fleet(sealed(certificate(AUTHORITY, CERTIFIER, 11, until_s=NOW), ROOT))
    later = sealed(certificate(ID, DEVICE, 12), CERTIFIER)
    assert refusal(trust, later, NOW + 1) is Reason.EXPIRED
    assert trust.open(*golden("update"), now_s=NOW + 1).certified  # what it did before stands
    assert trust.open(*later, now_s=NOW).certified


def test_without_a_clock_nothing_is_over() -> None:
    trust = fleet(
        sealed(certificate(AGGREGATOR, ONLINE, 11, until_s=1), ROOT),
        sealed(certificate(AUTHORITY, CERTIFIER, 11, until_s=1), ROOT),
        sealed(certificate(ID, DEVICE, 11, issued_s=NOW, until_s=NOW + 1), CERTIFIER),
    )
    for name in ("plan", "update"):
        assert trust.open(*golden(name)).certified


# --- roots ---------------------------------------------------------------------------------------


def test_successor_certifies_and_the_first_root_counts_until_it_does() -> None:
    trust = fleet(roots(SECOND, THIRD))
    assert trust.roots == (ROOT.public, SECOND.public, THIRD.public)
    assert trust.open(*golden("plan")).certified
    assert trust.open(*golden("update")).certified
    trust.open(*sealed(certificate(AGGREGATOR, NEXT, 1), THIRD))  # its serials are its own
    assert refusal(trust, golden("plan")) is Reason.UNKNOWN_KEY
    for former in (ROOT, SECOND):
        stolen = sealed(certificate(AGGREGATOR, ONLINE, 99), former)
        assert refusal(trust, stolen) is Reason.CERTIFICATE
    assert trust.open(*golden("update")).certified  # the authority is certified still


def test_a_former_roots_devices_are_forgotten() -> None:
    own = sealed(certificate(ID, DEVICE, 11), ROOT)
    trust = fleet(own, roots(SECOND))
    assert trust.open(*golden("update")).certified
    trust.open(*sealed(certificate(AUTHORITY, CERTIFIER, 1), SECOND))
    assert trust.known(ID) is None
    assert refusal(trust, own) is Reason.CERTIFICATE
    tombstone = sealed(certificate(ID, DEVICE, 99, revoked=True), ROOT)
    assert refusal(trust, tombstone) is Reason.CERTIFICATE
    trust.open(*sealed(certificate(ID, DEVICE, 1), CERTIFIER))
    assert trust.open(*golden("update")).certified


def test_nobody_is_certified_by_a_successor_that_is_not_known() -> None:
    trust = fleet()
    by_second = sealed(certificate(AGGREGATOR, NEXT, 11), SECOND)
    assert refusal(trust, by_second) is Reason.UNKNOWN_KEY
    trust.open(*roots(SECOND))
    assert trust.open(*by_second).certified


def test_roots_are_signed_by_the_newest_of_them() -> None:
    where, _ = roots(SECOND)
    chain = message("roots")
    assert isinstance(chain, Roots)
    for key in (ROOT, SECOND, ONLINE, CERTIFIER):
        forged = seal(chain, TOPICS.bound(where), key)
        expected = Reason.UNKNOWN_KEY if key is SECOND else Reason.ROLE
        assert refusal(fleet(), (where, forged)) is expected
    fork = roots(STRANGER)
    assert refusal(fleet(roots(SECOND)), fork) is Reason.FORK
    assert fleet(fork).roots[-1] == STRANGER.public
    assert refusal(fleet(roots(SECOND, THIRD)), roots(SECOND)) is Reason.CERTIFICATE


def test_a_root_is_no_device() -> None:
    """Its key id is known, and signs nothing that a device signs."""
    trust = fleet(roots(SECOND))
    for key in (ROOT, SECOND):
        where = topic_of("state")
        forged = seal(message("state"), TOPICS.bound(where), key)
        assert refusal(trust, (where, forged)) is Reason.ROLE


# --- enrolment, as far as trust goes -------------------------------------------------------------


def test_an_enrol_vouches_for_its_own_key() -> None:
    trust = Trust(TOPICS, ROOT.public)
    received = trust.open(*ASK)
    assert received.standing is Standing.UNKNOWN
    assert isinstance(received.message, Enrol)
    assert fleet().open(*ASK).certified
    foreign = replace(ENROL, key=STRANGER.public)
    where = TOPICS.of(Kind.ENROL, ID)
    assert refusal(trust, sealed(foreign, STRANGER, where)) is Reason.CERTIFICATE
    assert refusal(trust, sealed(foreign, DEVICE, where)) is Reason.UNKNOWN_KEY
    assert refusal(fleet(), sealed(foreign, STRANGER, where)) is Reason.UNKNOWN_KEY
    assert refusal(fleet(), sealed(foreign, DEVICE, where)) is Reason.CERTIFICATE


# --- any order -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """Something that was signed, and to be published."""

    topic: str
    data: bytes


def _world(dice: Random) -> list[Said]:
    """What three roots, two authorities and a thief of any of them may have signed."""
    said = [roots(SECOND, THIRD), roots(SECOND)]
    serials = list(range(1, 60))
    dice.shuffle(serials)
    signers = (ROOT, SECOND, THIRD, CERTIFIER, NEXT, ONLINE)
    owners = (
        *((AUTHORITY, key) for key in (CERTIFIER, NEXT)),
        *((AGGREGATOR, key) for key in (ONLINE, ANOTHER)),
        (ID, DEVICE),
    )
    for _ in range(dice.randint(1, 12)):
        owner, key = dice.choice(owners)
        made = certificate(owner, key, serials.pop(), revoked=dice.random() < 0.2)
        said.append(sealed(made, dice.choice(signers)))
    return [Said(*one) for one in said]


def _hear(trust: Trust, said: Sequence[Said]) -> None:
    """All of it, again and again, as a device that subscribes anew is told it."""
    for _ in range(6):
        for one in said:
            try:
                trust.open(one.topic, one.data)
            except Refused:
                continue


def _state(trust: Trust) -> tuple[object, ...]:
    return (trust.roots, *(trust.known(owner) for owner in (AUTHORITY, AGGREGATOR, ID)))


@given(st.integers(0, 2**32))
def test_order_does_not_matter(seed: int) -> None:
    dice = Random(seed)
    said = _world(dice)
    found = []
    for _ in range(3):
        dice.shuffle(said)
        trust = Trust(TOPICS, ROOT.public)
        _hear(trust, said)
        found.append(_state(trust))
    assert found[0] == found[1] == found[2]


@given(st.integers(0, 2**32))
def test_a_restart_with_what_was_kept_changes_nothing(seed: int) -> None:
    """Kept is the last message of each topic that was taken in; roots are read first."""
    dice = Random(seed)
    trust, kept = Trust(TOPICS, ROOT.public), dict[str, Said]()
    for one in dice.sample(said := _world(dice), len(said)):
        try:
            trust.open(one.topic, one.data)
        except Refused:
            continue
        kept[one.topic] = one
    again = Trust(TOPICS, ROOT.public)
    first = [TOPICS.of(Kind.ROOTS), TOPICS.of(Kind.KEYS, AUTHORITY)]
    for topic in sorted(kept, key=lambda topic: first.index(topic) if topic in first else 9):
        for end in (trust, again):  # the MQTT broker holds them, too
            with suppress(Refused):  # a device's that was forgotten
                end.open(topic, kept[topic].data)
    assert _state(again) == _state(trust)
    assert again._kids == trust._kids
