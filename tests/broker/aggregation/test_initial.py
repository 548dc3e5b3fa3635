import hashlib
import json
import zlib
from fractions import Fraction
from math import floor, isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedling_broker.aggregation import changes
from fedling_broker.aggregation.fixed import on_first_grid, on_weight_grid
from fedling_broker.aggregation.initial import draw, initial_state, range_of, words
from fedling_broker.aggregation.state import Memory, finish
from fedling_native import Layer, Loss, Net, average_pool, conv, dense, depthwise

LAYERS = (dense(600, 64, relu=True), dense(64, 7))
SEED = bytes(range(32))
GOLDEN = Path(__file__).parents[2] / "native" / "golden" / "server.json"


def plain_words(seed: bytes, count: int) -> list[int]:
    """Written from NUMERICS.md section 9, without numpy."""
    words: list[int] = []
    block = 0
    while len(words) < count:
        data = hashlib.sha256(seed + block.to_bytes(4, "big")).digest()
        words += [int.from_bytes(data[i : i + 4], "big") for i in range(0, 32, 4)]
        block += 1
    return words[:count]


def test_words_do_not_depend_on_how_they_are_taken() -> None:
    plain = plain_words(SEED, 40)
    for start, stop in [(0, 1), (0, 40), (1, 8), (7, 9), (8, 16), (3, 3), (39, 40), (17, 38)]:
        assert words(SEED, start, stop).tolist() == plain[start:stop]


@pytest.mark.parametrize("inputs", [1, 2, 6, 7, 64, 600, 784, 65535])
def test_range_of_is_he_uniform_in_14_bits(inputs: int) -> None:
    exponent, limit = range_of(inputs)
    assert 2**13 <= limit < 2**14
    unit = Fraction(2) ** (exponent - 8)
    assert (limit * unit) ** 2 <= Fraction(6, inputs) < ((limit + 1) * unit) ** 2


def test_initial_state_equals_plain_integers() -> None:
    state = initial_state(LAYERS, SEED)
    plain = plain_words(SEED, 600 * 64 + 64 * 7)
    expected = []
    for start, inputs, count in [(0, 600, 600 * 64), (600 * 64, 64, 64 * 7)]:
        k = 32
        while isqrt((6 << 2 * k) // inputs) > 2**14 - 1:
            k -= 1
        m = isqrt((6 << 2 * k) // inputs)
        expected += [(((w * (2 * m + 1)) >> 32) - m) << 16 for w in plain[start : start + count]]
    assert state.master.tolist() == expected + [0] * (64 + 7)
    assert state.exponents == (-9, -7)


def test_initial_state_on_the_grid_is_the_nearest_that_devices_may_hold() -> None:
    """Of this release, every eighth step, and as releases before had it."""
    exact = initial_state(LAYERS, SEED)
    for grid, step, most, share in ((on_first_grid, 8, 7, 0.25), (on_weight_grid, 1, 63, 0.44)):
        on_grid = initial_state(LAYERS, SEED, grid=grid)
        for value, near in zip(exact.master.tolist(), on_grid.master.tolist(), strict=True):
            steps = Fraction(value, step * 2**24)  # of the high byte, 16 fractional bits
            expected = min(max(floor(steps + Fraction(1, 2)), -most), most)
            assert Fraction(near, step * 2**24) == expected
        assert on_grid.exponents == exact.exponents
        said = changes.whole(LAYERS, on_grid.view)
        assert said is not None
        assert len(said) < share * len(on_grid.view)
    assert changes.whole(LAYERS, exact.view) is None


def test_initial_state_of_every_kind_draws_in_order() -> None:
    layers = (
        conv((1, 20, 6), 8, (1, 5), (1, 2), relu=True),
        depthwise((1, 8, 8), (1, 3), relu=True),
        average_pool((1, 6, 8)),
        dense(8, 3),
    )
    state = initial_state(layers, SEED)
    plain, expected = plain_words(SEED, 8 * 30 + 3 * 8 + 8 * 3), []
    for start, count, span in [(0, 240, 30), (240, 24, 3), (264, 24, 8)]:
        _, m = range_of(span)
        expected += [(((w * (2 * m + 1)) >> 32) - m) << 16 for w in plain[start : start + count]]
    assert state.master.tolist() == expected + [0] * (8 + 8 + 3)
    assert state.exponents == (range_of(30)[0], range_of(3)[0], 0, range_of(8)[0])


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text())["first"])
def test_initial_state_equals_the_golden_vectors(case: dict[str, Any]) -> None:
    """The vectors tell what is drawn; exponents that moved are moved back."""
    layers = tuple(Layer.from_ints(values) for values in case["layers"])
    state = initial_state(layers, bytes.fromhex(case["seed"]), Loss(case["loss"]))
    moved = [now - drawn for now, drawn in zip(state.exponents, case["exponents"], strict=True)]
    assert max(moved) <= 0
    ends = np.cumsum([layer.weight_count for layer in layers])
    masters = zip(np.split(state.master, ends)[:-1], moved, strict=True)
    views = np.concatenate([values >> 16 - shift for values, shift in masters])
    assert views[:8].tolist() + views[-8:].tolist() == case["few"]
    assert zlib.crc32(views.astype("<i2").tobytes()) == case["crc"]


def test_initial_state_is_the_same_for_ever() -> None:
    digest = hashlib.sha256(initial_state(LAYERS, SEED).view).hexdigest()
    assert digest == "3de23eb3ac9b1231a169a57675f42c692d3e706054f8cf94cbbf9d88a62d372b"


def test_initial_state_of_a_tiny_layer_moves_its_exponent() -> None:
    for seed in range(200):
        state = initial_state((dense(1, 1, relu=True), dense(1, 2)), bytes([seed] * 32))
        for part in (state.master[:1], state.master[1:3]):
            largest = int(np.abs(part >> 16).max())
            assert largest == 0 or 2**12 <= largest < 2**14


@pytest.mark.parametrize("loss", [Loss.SQUARED, Loss.RECONSTRUCTION])
def test_initial_state_of_values_begins_near_zero(loss: Loss) -> None:
    layers = (dense(8, 4, relu=True), dense(4, 8))
    usual, quiet = initial_state(layers, SEED), initial_state(layers, SEED, loss)
    assert quiet.exponents == (usual.exponents[0], usual.exponents[1] - 3)
    assert np.array_equal(quiet.master, usual.master)
    assert initial_state(layers, SEED, Loss.SIGMOID).exponents == usual.exponents


def test_initial_model_runs_in_the_kernel() -> None:
    state = initial_state(LAYERS, SEED)
    net = Net(LAYERS, state.exponents, state.view)
    # Biases are 0, and so are the logits of a window of zeros: the first of equal ones.
    prediction = net.predict(bytes(600))
    assert prediction.label == 0
    assert len(set(prediction.outputs)) == 1


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_draw_does_not_depend_on_the_size_of_its_steps(size: int) -> None:
    layers = (dense(9, 11, relu=True), dense(11, 3))
    memory, whole = Memory(layers), initial_state(layers, SEED)
    exponents = finish(draw(layers, SEED, Loss.SOFTMAX, memory, size))
    assert (memory.state.exponents, memory.state.view) == (exponents, whole.view)
    assert exponents == whole.exponents
    assert np.array_equal(memory.state.master, whole.master)
