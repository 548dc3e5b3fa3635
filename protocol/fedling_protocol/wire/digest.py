"""Hashes and keyed hashes that both ends must compute alike (SPEC.md section 3)."""

import hashlib
import hmac
import struct
from collections.abc import Iterator, Sequence

import cbor2

from fedling_protocol.wire.messages import TaskSpec

_MODEL = b"fedling model 1"
_SCALED_MODEL = b"fedling model 2"
_LAYER = struct.Struct("<B4HB8Bb")  # Layer.to_ints(), w_exp
_CODEC = b"fedling codec 1"
_SEED = struct.Struct("<II")
_SCALE = struct.Struct("<hBb")  # mean, mantissa, shift
_WORDS = struct.Struct(">8I")


def model_hash(
    spec: TaskSpec, exponents: Sequence[int], weights: bytes | bytearray | memoryview
) -> bytes:
    """32 bytes that name a model: loss, layers, the w_exp of each, scale if any, weights."""
    digest = start_model_hash(spec, exponents)
    digest.update(weights)
    return digest.digest()


def start_model_hash(spec: TaskSpec, exponents: Sequence[int]) -> "hashlib._Hash":
    """A model hash before its weights: update() it with them, piece by piece."""
    form = _MODEL if spec.scale is None else _SCALED_MODEL
    digest = hashlib.sha256(form + bytes([spec.loss, len(spec.layers)]))
    for layer, exponent in zip(spec.layers, exponents, strict=True):
        digest.update(_LAYER.pack(*layer.to_ints(), exponent))
    for scale in spec.scale or ():
        digest.update(_SCALE.pack(*scale))
    return digest


def message_hash(envelope: bytes) -> bytes:
    """32 bytes that name a message: all of it as sent."""
    return hashlib.sha256(envelope).digest()


def plan_id(
    secret: bytes,
    fleet: str,
    task: str,
    round_number: int,
    base_hash: bytes,
    epoch: int,
    generation: int,
) -> bytes:
    """16 bytes that name a round: no two openings have epoch, generation and round in common."""
    words = (fleet, task, round_number, base_hash, epoch, generation)
    return _keyed(secret, "plan", *words)[:16]


def order_seed(secret: bytes, fleet: str, task: str, plan: bytes) -> bytes:
    """32 bytes from which a device draws its batches; the aggregator cannot guess them."""
    return _keyed(secret, "order", fleet, task, plan)


def codec_seed(plan: bytes, device: str) -> tuple[int, int]:
    """Two uint32 from which the codec of a device's update draws: no two devices have the same."""
    lo, hi = _SEED.unpack_from(hashlib.sha256(_CODEC + plan + device.encode()).digest())
    return lo, hi


def first_model_seed(secret: bytes, fleet: str, task: str) -> bytes:
    """32 bytes from which the first model of a task is drawn (NUMERICS.md section 9)."""
    return _keyed(secret, "initial", fleet, task)


def order(seed: bytes, epoch: int, count: int) -> list[int]:
    """Draw the order of `count` examples in one epoch (from 0)."""
    positions = list(range(count))
    words = _words(seed, epoch)
    for i in range(count - 1, 0, -1):
        j = (next(words) * (i + 1)) >> 32
        positions[i], positions[j] = positions[j], positions[i]
    return positions


def _keyed(secret: bytes, *words: str | int | bytes) -> bytes:
    return hmac.digest(secret, cbor2.dumps(list(words), canonical=True), "sha256")


def _words(seed: bytes, epoch: int) -> Iterator[int]:
    """Draw big-endian 32-bit words of SHA-256(seed || epoch || block), block after block."""
    block = 0
    while True:
        yield from _WORDS.unpack(hashlib.sha256(seed + struct.pack(">II", epoch, block)).digest())
        block += 1
