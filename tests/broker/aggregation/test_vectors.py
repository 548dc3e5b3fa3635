"""What an update says, whoever wrote it: read as its codec has it, or refused."""

from array import array
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedling_broker.aggregation.vectors import Key, Vector, decode, fraction_of
from fedling_native import coded, dense, weights_size
from fedling_protocol.wire.codecs import Codec

Floats = NDArray[np.float64]

LAYERS = (dense(30, 16, relu=True), dense(16, 3))
WEIGHTS, BIASES = 30 * 16 + 16 * 3, 16 + 3
EXPONENTS = (-9, -6)
SIZE = 200
SEEDS = 400


def raw(weights: Sequence[int], biases: Sequence[int]) -> bytes:
    return array("h", weights).tobytes() + array("i", biases).tobytes()


def change(dice: np.random.Generator) -> tuple[bytes, Floats]:
    """As training makes one: bytes, and values in their own units."""
    weights = np.rint(dice.normal(0, 300, WEIGHTS)).astype(int)
    biases = np.rint(dice.normal(0, 2000, BIASES)).astype(int)
    return raw(weights.tolist(), biases.tolist()), np.concatenate([weights, biases]).astype(float)


def values_of(vector: Vector) -> Floats:
    values: Floats = np.concatenate([vector.weights, vector.biases]).astype(float)
    return values / np.float64(2**vector.fraction)


def read(message: bytes, seed: coded.Seed, size: int = SIZE) -> Vector:
    return decode(Codec.CODED, message, LAYERS, Key(EXPONENTS, size, seed))


def test_raw_is_weights_then_biases() -> None:
    payload, values = change(np.random.default_rng(1))
    found = decode(Codec.RAW_INT16, payload, LAYERS)
    assert (len(found.weights), len(found.biases), found.fraction) == (WEIGHTS, BIASES, 0)
    assert np.array_equal(values_of(found), values)


@pytest.mark.parametrize("size", [-1, 1, 2])
def test_a_raw_payload_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"a vector of this model has {weights_size(LAYERS)}"):
        decode(Codec.RAW_INT16, b"\1" * (weights_size(LAYERS) + size), LAYERS)


@pytest.mark.parametrize("codec", ["other", Codec.SUMS])
def test_a_codec_of_no_model_is_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="known are raw int16, coded"):
        decode(codec, bytes(weights_size(LAYERS)), LAYERS)


@pytest.mark.parametrize("quantiser", coded.Quantiser)
def test_an_estimate_is_right_in_the_mean_over_devices(quantiser: coded.Quantiser) -> None:
    """Of so many devices the mean's error is that of one, divided by the root of how many."""
    payload, values = change(np.random.default_rng(2))
    total, errors = np.zeros(WEIGHTS + BIASES), []
    for number in range(SEEDS):
        seed = (number, 7)
        message = coded.encode(LAYERS, EXPONENTS, payload, SIZE, seed, quantiser)
        found = read(message, seed)
        assert found.fraction == fraction_of(SIZE) == 8
        errors.append(np.linalg.norm(values_of(found) - values))
        total += values_of(found)
    expected = np.mean(errors) / np.sqrt(SEEDS)
    assert np.linalg.norm(total / SEEDS - values) < 1.5 * expected


def test_more_bytes_tell_more() -> None:
    payload, values = change(np.random.default_rng(3))
    errors = []
    for size in (50, 150, 450):
        message = coded.encode(LAYERS, EXPONENTS, payload, size, (1, 2))
        assert len(message) < 1.15 * size + 20
        errors.append(np.linalg.norm(values_of(read(message, (1, 2), size)) - values))
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2]


def test_a_vector_without_a_change_is_empty_and_reads_as_zeros() -> None:
    message = coded.encode(LAYERS, EXPONENTS, bytes(weights_size(LAYERS)), SIZE, (1, 2))
    assert message == b""
    assert not values_of(read(message, (1, 2))).any()


def test_a_message_is_no_longer_than_its_room() -> None:
    """Whatever was learned: one huge value among nothing, all alike, all at the limit."""
    for weights, biases in (
        ([2**15 - 1] + [0] * (WEIGHTS - 1), [0] * BIASES),
        ([1] * WEIGHTS, [1] * BIASES),
        ([-(2**15), 2**15 - 1] * (WEIGHTS // 2), [-(2**31)] * BIASES),
    ):
        for seed in range(20):
            message = coded.encode(LAYERS, EXPONENTS, raw(weights, biases), SIZE, (seed, 0))
            assert len(message) <= coded.room(LAYERS, SIZE)
            read(message, (seed, 0))


MESSAGE = coded.encode(LAYERS, EXPONENTS, change(np.random.default_rng(4))[0], SIZE, (5, 6))


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=400),
        st.builds(lambda at: MESSAGE[:at], st.integers(1, len(MESSAGE) - 1)),
        st.builds(lambda end: MESSAGE + end, st.binary(min_size=1, max_size=9)),
        st.builds(lambda head: bytes([head]) + MESSAGE[1:], st.integers(2, 255)),
    )
)
def test_what_no_encoder_wrote_is_refused_or_read_in_bounds(message: bytes) -> None:
    try:
        found = read(message, (5, 6))
    except ValueError:
        return
    assert message == b"" or message[0] in {*coded.Quantiser}
    assert (len(found.weights), len(found.biases)) == (WEIGHTS, BIASES)


@pytest.mark.parametrize("message", [MESSAGE[:-2], MESSAGE + b"\0\0", b"\x02" + MESSAGE[1:], b"\1"])
def test_what_is_cut_or_goes_on_or_of_another_quantiser_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match="FDL_E"):
        read(message, (5, 6))


def test_a_coded_vector_to_a_plan_without_target_is_refused() -> None:
    with pytest.raises(ValueError, match="asked for none"):
        decode(Codec.CODED, MESSAGE, LAYERS)
