"""Federated averaging in integers: sums of updates become the next model (NUMERICS.md section 8).

Pure functions on explicit, serialisable state. A sum is the int64 total of weight x integer, so the
order in which updates arrive does not change a bit.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedling_native import Layer, parameter_counts, weights_size

Int64 = NDArray[np.int64]

FRACTION = 16  # fractional bits of the server's masters and biases
MIN_EXPONENT, MAX_EXPONENT = -24, 7
MASTER_BITS = 14  # a view's largest |master| has 13 or 14 bits
MASTER_LIMIT = (1 << MASTER_BITS) - 1
STORED_OFFSET = 128  # stored = master + 128
MAX_TOTAL_WEIGHT = 1 << 30  # of a round: |sum| of int32 x weight stays below 2^61
VALUE_LIMIT = 1 << 47  # of values and velocities: no sum of theirs can overflow
MOMENTUM_ONE = 256


@dataclass(frozen=True, slots=True, eq=False)
class ServerState:
    """What the aggregator knows of a model: more than devices get, by 16 bits a value."""

    layers: tuple[Layer, ...]
    exponents: tuple[int, ...]  # w_exp of each layer, 0 of those without weights
    values: Int64  # every layer's masters, then every layer's biases; 16 fractional bits
    velocity: Int64  # the same order and unit; zeros without momentum


@dataclass(frozen=True, slots=True, eq=False)
class GroupSum:
    """Updates added up: all that aggregation sees of them."""

    vector: Int64  # sum of weight x delta, in the order of the update's vector
    weight: int  # sum of weights, 1 to 2^30
    members: tuple[str, ...]  # device ids


def read_vector(data: bytes, layers: Sequence[Layer]) -> Int64:
    """The integers of an update or of stored weights. Raises ValueError on another length."""
    if len(data) != weights_size(layers):
        raise ValueError(f"{len(data)} bytes, a vector of this model has {weights_size(layers)}")
    weights, _ = parameter_counts(layers)
    return np.concatenate(
        [
            np.frombuffer(data, "<i2", weights).astype(np.int64),
            np.frombuffer(data, "<i4", offset=2 * weights).astype(np.int64),
        ]
    )


def add_up(updates: Iterable[tuple[str, bytes, int]], layers: Sequence[Layer]) -> GroupSum:
    """Sum (device, vector, weight) one by one: memory grows with the model, not with the devices.

    Raises ValueError on a vector of another length, or when the weights pass 2^30.
    """
    total = np.zeros(sum(parameter_counts(layers)), np.int64)
    weight, members = 0, []
    for device, vector, share in updates:
        weight += share
        if weight > MAX_TOTAL_WEIGHT:
            raise ValueError(f"weights add up to more than {MAX_TOTAL_WEIGHT}")
        total += share * read_vector(vector, layers)
        members.append(device)
    return GroupSum(total, weight, tuple(sorted(members)))


def aggregate(state: ServerState, groups: Sequence[GroupSum], momentum: int = 0) -> ServerState:
    """The state after a round: server momentum on the weighted mean (FedAvgM, Hsu et al. 2019).

    momentum: in 1/256; 0 is plain federated averaging (McMahan et al. 2017)
    """
    total = np.zeros_like(state.values)
    for group in groups:
        total += group.vector
    weight = sum(group.weight for group in groups)
    if not 1 <= weight <= MAX_TOTAL_WEIGHT:
        raise ValueError(f"a total weight of {weight}: allowed is 1 to {MAX_TOTAL_WEIGHT}")
    velocity = limited(rshift(state.velocity * momentum, 8) + mean(total, weight))
    moved = move_exponents(
        ServerState(state.layers, state.exponents, state.values + velocity, velocity)
    )
    return moved if momentum else replace(moved, velocity=np.zeros_like(velocity))


def mean(total: Int64, weight: int) -> Int64:
    """total / weight with 16 fractional bits, to nearest, halves up."""
    whole, rest = np.divmod(total, weight)
    return (whole << FRACTION) + ((rest << (FRACTION + 1)) + weight) // (2 * weight)


def move_exponents(state: ServerState) -> ServerState:
    """Shift each layer so that the masters that devices get use 13 or 14 bits."""
    values, velocity, after = state.values.copy(), state.velocity.copy(), []
    layers = zip(
        parts(state.layers, values), parts(state.layers, velocity), state.exponents, strict=True
    )
    for masters, speeds, exponent in layers:
        shift = exponent_shift(masters, exponent)
        for part in (masters, speeds):
            part[:] = rshift(part, shift) if shift > 0 else part << -shift
        after.append(exponent + shift)
    return ServerState(state.layers, tuple(after), limited(values), limited(velocity))


def limited(values: Int64) -> Int64:
    return np.clip(values, -VALUE_LIMIT, VALUE_LIMIT)


def exponent_shift(masters: Int64, exponent: int) -> int:
    """By how much one layer's exponent grows; its masters shrink by as much."""
    bits = int(np.abs(rshift(masters, FRACTION)).max(initial=0)).bit_length()
    if bits > MASTER_BITS:
        return min(bits - MASTER_BITS, MAX_EXPONENT - exponent)
    if 0 < bits < MASTER_BITS - 1:
        return -min(MASTER_BITS - 1 - bits, exponent - MIN_EXPONENT)
    return 0


def stored_weights(state: ServerState) -> bytes:
    """What devices get of the masters and biases: weights as bytes (NUMERICS.md section 2)."""
    weights, _ = parameter_counts(state.layers)
    masters = rshift(state.values[:weights], FRACTION)
    stored = np.clip(masters, -MASTER_LIMIT, MASTER_LIMIT) + STORED_OFFSET
    biases = np.clip(rshift(state.values[weights:], FRACTION), -(1 << 31), (1 << 31) - 1)
    return stored.astype("<i2").tobytes() + biases.astype("<i4").tobytes()


def state_of_weights(
    layers: tuple[Layer, ...], exponents: tuple[int, ...], weights: bytes
) -> ServerState:
    """The state of a first model: what devices hold, no fraction yet."""
    values = read_vector(weights, layers)
    weight_count, _ = parameter_counts(layers)
    values[:weight_count] -= STORED_OFFSET
    return ServerState(layers, exponents, values << FRACTION, np.zeros_like(values))


def to_bytes(values: Int64) -> bytes:
    """A sum as it lies on disk."""
    return values.astype("<i8").tobytes()


def from_bytes(data: bytes, layers: Sequence[Layer]) -> Int64:
    """The reverse of to_bytes. Raises ValueError on another length."""
    expected = 8 * sum(parameter_counts(layers))
    if len(data) != expected:
        raise ValueError(f"{len(data)} bytes, this model's sum has {expected}")
    return np.frombuffer(data, "<i8").astype(np.int64)


def pack_state(state: ServerState) -> bytes:
    """Values, then velocity, as they lie on disk; layers and exponents are facts elsewhere."""
    return to_bytes(state.values) + to_bytes(state.velocity)


def unpack_state(layers: tuple[Layer, ...], exponents: tuple[int, ...], data: bytes) -> ServerState:
    """The reverse of pack_state. Raises ValueError on another length."""
    half = len(data) // 2
    values, velocity = (from_bytes(part, layers) for part in (data[:half], data[half:]))
    return ServerState(layers, exponents, values, velocity)


def parts(layers: Sequence[Layer], values: Int64) -> Iterator[Int64]:
    """A writable view of each layer's masters; empty for layers without weights."""
    start = 0
    for layer in layers:
        end = start + layer.weight_count
        yield values[start:end]
        start = end


def rshift(values: Int64, shift: int) -> Int64:
    """values / 2^shift to nearest, halves up; shift >= 0."""
    return values if shift == 0 else (values + (1 << (shift - 1))) >> shift
