"""The chain of roots: every link counts, and what is known is its beginning."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.wire import identity, roots
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.limits import MAX_SUCCESSORS
from fedling_protocol.wire.messages import Link, Roots
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.roots import succeed, walk
from tests.protocol.by_hand import cbor
from tests.protocol.samples import ROOT, SECOND, THIRD, message

CHAIN = [SigningKey(bytes([100 + n]) * 32) for n in range(MAX_SUCCESSORS + 1)]
THIEF = SigningKey(b"t" * 32)
PUBLIC = [key.public for key in CHAIN]


def chain(keys: Sequence[SigningKey], fleet: str = "demo", first: int = 0) -> Roots:
    """A right chain of these; first: how many roots came before the first of them."""
    return Roots(
        tuple(
            succeed(a, b.public, fleet, first + n, n) for n, (a, b) in enumerate(pairwise(keys), 1)
        )
    )


def reason(known: Sequence[bytes], told: Roots, fleet: str = "demo") -> Reason:
    with pytest.raises(Refused) as caught:
        walk(known, told, fleet)
    return caught.value.reason


def test_golden_chain_is_followed() -> None:
    told = message("roots")
    assert isinstance(told, Roots)
    everybody = (ROOT.public, SECOND.public, THIRD.public)
    for known in range(1, 4):
        assert walk(everybody[:known], told, "demo") == everybody
    assert walk([SECOND.public], told, "demo") == everybody[1:]
    assert walk([THIRD.public], told, "demo") == everybody[2:]


def test_statement_is_the_one_of_the_page() -> None:
    said = roots.statement("demo", 31, SECOND.public, 2**32 - 1)
    assert said == cbor(["fedling root 1", "demo", 31, SECOND.public, 2**32 - 1])
    assert said[0] != cbor(["Signature1", b"", b"", b""])[0]  # never what an envelope's is over


@given(st.integers(0, MAX_SUCCESSORS), st.data())
def test_walk_goes_on_from_wherever_it_was(length: int, data: st.DataObject) -> None:
    told = chain(CHAIN[: length + 1])
    first = data.draw(st.integers(0, length))
    last = data.draw(st.integers(first, length))
    if length:
        assert walk(PUBLIC[first : last + 1], told, "demo") == tuple(PUBLIC[first : length + 1])


def test_what_is_known_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []
    verify = identity.verify

    def counted(public: bytes, signature: bytes, *data: bytes | memoryview) -> bool:
        verified.append(public)
        return verify(public, signature, *data)

    monkeypatch.setattr("fedling_protocol.wire.roots.identity.verify", counted)
    walk(PUBLIC[:8], chain(CHAIN[:10]), "demo")
    assert verified == PUBLIC[7:9]
    verified.clear()
    links = (*chain(CHAIN[:8]).links, *chain([THIEF, *CHAIN[8:20]], first=7).links)
    assert reason(PUBLIC[:8], Roots(links)) is Reason.SIGNATURE
    assert verified == PUBLIC[7:8]  # the first one that is wrong is the last that is looked at


LINKS = chain(CHAIN[:4]).links


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ((replace(LINKS[0], signature=bytes(64)), *LINKS[1:]), Reason.SIGNATURE),
        ((LINKS[0], replace(LINKS[1], issued_s=77), LINKS[2]), Reason.SIGNATURE),
        ((LINKS[0], LINKS[2]), Reason.SIGNATURE),
        ((LINKS[1], LINKS[0]), Reason.SIGNATURE),
        ((LINKS[0], LINKS[1], replace(LINKS[2], key=THIEF.public)), Reason.SIGNATURE),
        ((*LINKS, LINKS[0]), Reason.CERTIFICATE),
        ((LINKS[0], LINKS[0]), Reason.CERTIFICATE),
        ((succeed(CHAIN[0], bytes(32), "demo", 1, 0),), Reason.SIGNATURE),  # anybody's key
        (chain(CHAIN[:3], fleet="other").links, Reason.SIGNATURE),
        (chain(CHAIN[:3], first=1).links, Reason.SIGNATURE),  # of another place in a chain
        (chain([THIEF, *CHAIN[1:3]]).links, Reason.SIGNATURE),
    ],
)
def test_wrong_links_are_refused(links: tuple[Link, ...], expected: Reason) -> None:
    assert reason(PUBLIC[:1], Roots(links)) is expected


def test_a_shorter_chain_is_outdated_and_another_one_a_fork() -> None:
    assert reason(PUBLIC[:4], chain(CHAIN[:3])) is Reason.CERTIFICATE
    stolen = chain([CHAIN[0], CHAIN[1], THIEF])
    assert reason(PUBLIC[:3], stolen) is Reason.FORK
    assert reason(PUBLIC[:2], chain([CHAIN[0], THIEF])) is Reason.FORK
    longer = chain([CHAIN[0], CHAIN[1], THIEF, *CHAIN[5:]])
    assert reason(PUBLIC[:4], longer) is Reason.FORK
    assert walk(PUBLIC[:2], stolen, "demo")[-1] == THIEF.public  # who knows no better believes it


def test_index_is_that_in_the_fleet_not_in_what_is_known() -> None:
    """A device that was configured with the third root follows the same links as the others."""
    told = chain(CHAIN[:6])
    assert walk(PUBLIC[2:3], told, "demo") == tuple(PUBLIC[2:6])


def test_a_circle_leads_nowhere() -> None:
    """Whoever has a root's key may write that others came before it: nobody follows from that."""
    circle = Roots((*LINKS, succeed(CHAIN[3], CHAIN[0].public, "demo", 4, 0)))
    assert walk(PUBLIC[:1], circle, "demo") == (PUBLIC[0],)
    assert reason(PUBLIC[:2], circle) is Reason.CERTIFICATE
