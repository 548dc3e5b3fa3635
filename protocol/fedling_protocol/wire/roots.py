"""The chain of root keys: each certifies the one that comes after it (SPEC.md section 2)."""

from collections.abc import Sequence

import cbor2

from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.messages import Link, Roots
from fedling_protocol.wire.refused import Reason, Refused


def succeed(key: SigningKey, successor: bytes, fleet: str, index: int, issued_s: int) -> Link:
    """Certify a successor's public half with the root key in force.

    index: how many roots came before the successor, so 1 for that of the fleet's first one
    """
    signature = key.sign(statement(fleet, index, successor, issued_s))
    return Link(successor, issued_s, signature)


def statement(fleet: str, index: int, successor: bytes, issued_s: int) -> bytes:
    """What a root signs about its successor. An envelope's begins with an array of another size."""
    words = ["fedling root 1", fleet, index, successor, issued_s]
    return cbor2.dumps(words)  # deterministic: no map, no float


def walk(known: Sequence[bytes], roots: Roots, fleet: str) -> tuple[bytes, ...]:
    """Follow a chain from the root keys that are known. Raises Refused.

    known: public halves in order; the first is the one that an end is configured with, which may
    stand anywhere in the chain. What follows it there must begin with the others that are known.
    Returns all of them from the first known one on.
    """
    keys = [link.key for link in roots.links]
    first = keys.index(known[0]) + 1 if known[0] in keys else 0
    follow, others = keys[first:], list(known[1:])
    if follow[: len(others)] != others:
        if others[: len(follow)] == follow:
            raise Refused(Reason.CERTIFICATE, "outdated: a root has a successor already")
        raise Refused(Reason.FORK, "another successor of a root than the one that is known")
    if len({known[0], *follow}) != 1 + len(follow):
        raise Refused(Reason.CERTIFICATE, "a root succeeds itself")
    before = known[-1]
    for index in range(first + len(others), len(keys)):
        link = roots.links[index]
        signed = statement(fleet, index + 1, link.key, link.issued_s)
        if identity.is_weak(link.key) or not identity.verify(before, link.signature, signed):
            raise Refused(Reason.SIGNATURE, f"of root {index} on its successor")
        before = link.key
    return (known[0], *follow)
