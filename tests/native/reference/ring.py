"""Section 12, updates of which only a sum is read."""

import hashlib
from dataclasses import dataclass

import numpy as np

from tests.native.reference.codec import quotient
from tests.native.reference.fixed import Int32, Int64, rshift, sat, sat32
from tests.native.reference.rotation import (
    Seeds,
    blocks,
    order,
    places,
    rotated,
    rotated_back,
    rshift_each,
)


@dataclass(frozen=True)
class Ring:
    bits: int
    step: int
    kept: int
    seed: tuple[int, int]

    @property
    def u(self) -> int:
        return 1024 + self.step % 1024

    @property
    def v(self) -> int:
        return self.step // 1024

    @property
    def seeds(self) -> Seeds:
        return np.array([self.seed], np.uint32)

    def sent(self, length: int) -> int:
        """Places of a block of this length."""
        return -(-length * self.kept // 1024)

    def where(self, n: int) -> Int64:
        """The places of n values that are sent."""
        found, start = [], 0
        for length in blocks(n):
            found.append(np.arange(start, start + self.sent(length)))
            start += length
        return np.concatenate(found)


def encode(ring: Ring, x: Int64, share: int, r: Int64) -> Int64:
    """The elements of n int32 values; r: a byte of dither for each."""
    n = len(x)
    y = np.zeros((1, places(n)), np.int64)
    product = x[order(ring.seeds, n, n)[0]] * (share * 2**25 // ring.u)
    y[0, :n] = sat(rshift(product, ring.v - 8) if ring.v > 8 else product, 2**20)
    z = rotated(ring.seeds, y, n)[0, ring.where(n)]
    elements: Int64 = (z + r) // 256 % 2**ring.bits
    return elements


def total(ring: Ring, elements: list[Int64], dithers: list[Int64]) -> Int64:
    """T of the elements and the dither of each device."""
    half = 2 ** (ring.bits - 1)
    q = (sum(elements) + half) % (2 * half) - half
    return np.asarray(512 * q - 2 * sum(dithers) + 255 * len(dithers))


def decode(ring: Ring, t: Int64, weight: int, n: int) -> Int32:
    """The mean of n values, in 1/256 of their unit."""
    y = np.zeros((1, places(n)), np.int64)
    y[0, ring.where(n)] = sat(rshift(t, 5), 2**19)
    back = rotated_back(ring.seeds, y, n)[0]
    estimate, start = np.zeros(n, np.int64), 0
    where = order(ring.seeds, n, n)[0]
    for length in blocks(n):
        h, e = quotient(ring.u * length, weight * ring.sent(length))
        shift = min(max(e + 15 - ring.v, -27), 54)
        own = slice(start, min(start + length, n))
        product = back[own] * ((h + 32) >> 6)
        if shift < 0:
            product = sat(product, 2**31)
        estimate[where[own]] = sat32(rshift_each(product, np.full(product.shape, shift)))
        start += length
    return estimate.astype(np.int32)


def pack(ring: Ring, elements: Int64) -> bytes:
    """A message: the bits of a large integer."""
    whole = sum(int(element) << ring.bits * i for i, element in enumerate(elements))
    return whole.to_bytes(-(-len(elements) * ring.bits // 8), "little")


def dither(plan: bytes, device: str, count: int) -> bytes:
    key = hashlib.blake2b(
        plan + b"\x00" + device.encode(), digest_size=32, person=b"fedling dither"
    ).digest()
    out = b""
    while len(out) < count:
        out += hashlib.blake2b((len(out) // 64).to_bytes(4, "little"), key=key).digest()
    return out[:count]
