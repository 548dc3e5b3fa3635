"""The device's half of each codec: from a vector to what its update says of it.

The aggregator's half, which reads a vector back, is `fedling_broker.aggregation.vectors`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fedling_native import coded
from fedling_protocol.wire import digest
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Plan

Encode = Callable[[Plan, str, Sequence[int], bytes], bytes]
"""(plan, device, exponents of the base, vector) -> payload; the same for the same."""


def encode(plan: Plan, device: str, exponents: Sequence[int], vector: bytes) -> bytes:
    """What an update of this device to this plan says of its vector."""
    return _ENCODE[plan.codec](plan, device, exponents, vector)


def _as_it_is(_plan: Plan, _device: str, _exponents: Sequence[int], vector: bytes) -> bytes:
    return vector


def _coded(plan: Plan, device: str, exponents: Sequence[int], vector: bytes) -> bytes:
    assert plan.target is not None  # shapes.check()
    seed = digest.codec_seed(plan.plan_id, device)
    return coded.encode(plan.spec.layers, exponents, vector, plan.target, seed)


_ENCODE: Final[Mapping[Codec, Encode]] = {
    Codec.RAW_INT16: _as_it_is,
    Codec.CODED: _coded,
    Codec.SUMS: _as_it_is,
}
