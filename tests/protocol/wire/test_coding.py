"""The device's half of each codec: every word has its encoder."""

from dataclasses import replace
from typing import cast

import pytest

from fedling_native import parameter_counts
from fedling_protocol.wire import coding
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import CODECS_OF, Plan
from tests.protocol.samples import message

PLANS = {
    Codec.RAW_INT16: cast(Plan, message("plan")),
    Codec.CODED: cast(Plan, message("plan-coded")),
    Codec.SUMS: cast(Plan, message("plan-statistics")),
}
EXPONENTS = (-5, 0, -7)
DEVICE = "abcdefghijklmnop"
WEIGHTS, BIASES = parameter_counts(PLANS[Codec.CODED].spec.layers)
VECTOR = bytes((17 * k) % 256 for k in range(2 * WEIGHTS + 4 * BIASES))


def test_every_codec_is_one_of_a_kind_of_plan() -> None:
    assert sorted(codec for codecs in CODECS_OF.values() for codec in codecs) == sorted(Codec)


@pytest.mark.parametrize("codec", Codec)
def test_encode_gives_the_same_for_the_same_vector(codec: Codec) -> None:
    found = [coding.encode(PLANS[codec], DEVICE, EXPONENTS, bytes([*VECTOR])) for _ in range(2)]
    assert found[0] == found[1] != b""


@pytest.mark.parametrize("codec", [Codec.RAW_INT16, Codec.SUMS])
def test_what_is_not_coded_is_sent_as_it_is(codec: Codec) -> None:
    assert coding.encode(PLANS[codec], DEVICE, EXPONENTS, VECTOR) == VECTOR


def test_a_coded_vector_in_which_nothing_changed_is_empty() -> None:
    assert coding.encode(PLANS[Codec.CODED], DEVICE, EXPONENTS, bytes(len(VECTOR))) == b""


@pytest.mark.parametrize(
    ("plan", "device"),
    [
        (replace(PLANS[Codec.CODED], plan_id=bytes(16)), DEVICE),
        (PLANS[Codec.CODED], DEVICE[::-1]),
    ],
)
def test_plan_and_device_decide_how_it_is_coded(plan: Plan, device: str) -> None:
    first = coding.encode(PLANS[Codec.CODED], DEVICE, EXPONENTS, VECTOR)
    assert coding.encode(plan, device, EXPONENTS, VECTOR) != first
