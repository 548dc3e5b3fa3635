"""What the kernel refuses, and that a refused call changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedling_native import (
    MAX_BATCH,
    MAX_LAYERS,
    Layer,
    NativeError,
    Net,
    Normaliser,
    delta,
    parameter_counts,
    weights_size,
)
from fedling_native._core import ffi, lib

if TYPE_CHECKING:
    from fedling_native._core import CData

LAYERS = [Layer(4, 3, True), Layer(3, 2, False)]
WEIGHTS = bytes(range(weights_size(LAYERS)))
X, LABELS, RATE = bytes([1, 2, 3, 4] * 2), b"\x00\x01", 2**24


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(NativeError) as caught:
        call()
    assert caught.value.meaning in str(caught.value)
    return caught.value.name


def new_net() -> Net:
    return Net(LAYERS, [-5, -5], WEIGHTS)


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [Layer(4, 2, False)] * (MAX_LAYERS + 1),
        [Layer(2, 2, False)] * (MAX_LAYERS + 1),
        [Layer(0, 2, False)],
        [Layer(4, 0, True), Layer(0, 2, False)],
        [Layer(65536, 2, False)],
        [Layer(-1, 2, False)],
        [Layer(2**70, 2, False)],
        [Layer(4, 1, False)],
        [Layer(4, 257, False)],
        [Layer(4, 2, True)],
        [Layer(4, 3, True), Layer(2, 2, False)],
        [Layer(65535, 65535, True), Layer(65535, 2, False)],
    ],
)
def test_layers_that_are_no_model(layers: list[Layer]) -> None:
    assert refusal(lambda: weights_size(layers)) == "FDL_E_LAYERS"
    assert refusal(lambda: parameter_counts(layers)) == "FDL_E_LAYERS"
    assert refusal(lambda: Net(layers, [-5] * len(layers), b"")) == "FDL_E_LAYERS"
    assert refusal(lambda: delta(layers, b"", b"")) == "FDL_E_LAYERS"


@pytest.mark.parametrize("exponents", [[], [-5], [-5] * 3, [-25, -5], [-5, 8], [-5, -(2**40)]])
def test_exponents_out_of_range(exponents: list[int]) -> None:
    assert refusal(lambda: Net(LAYERS, exponents, WEIGHTS)) == "FDL_E_EXPONENT"


@pytest.mark.parametrize("weights", [b"", WEIGHTS[:-1], WEIGHTS + b"\0"])
def test_weights_of_another_length(weights: bytes) -> None:
    assert refusal(lambda: Net(LAYERS, [-5, -5], weights)) == "FDL_E_LENGTH"
    assert refusal(lambda: delta(LAYERS, weights, weights)) == "FDL_E_LENGTH"
    assert refusal(lambda: delta(LAYERS, WEIGHTS, weights)) == "FDL_E_LENGTH"
    assert refusal(lambda: delta(LAYERS, weights, WEIGHTS)) == "FDL_E_LENGTH"


@pytest.mark.parametrize(
    ("x", "labels", "rate", "x_exp", "name"),
    [
        (b"", b"", RATE, -5, "FDL_E_BATCH"),
        (bytes(4 * (MAX_BATCH + 1)), bytes(MAX_BATCH + 1), RATE, -5, "FDL_E_BATCH"),
        (X[:-1], LABELS, RATE, -5, "FDL_E_LENGTH"),
        (X + b"\0", LABELS, RATE, -5, "FDL_E_LENGTH"),
        (X, LABELS[:1], RATE, -5, "FDL_E_LENGTH"),
        (X, LABELS, 0, -5, "FDL_E_RATE"),
        (X, LABELS, -1, -5, "FDL_E_RATE"),
        (X, LABELS, 2**28 + 1, -5, "FDL_E_RATE"),
        (X, LABELS, 2**32 + 1, -5, "FDL_E_RATE"),
        (X, LABELS, RATE, -25, "FDL_E_EXPONENT"),
        (X, LABELS, RATE, 8, "FDL_E_EXPONENT"),
        (X, LABELS, RATE, 2**32 - 5, "FDL_E_EXPONENT"),
        (X, b"\x00\x02", RATE, -5, "FDL_E_LABEL"),
        (X, b"\xff\x00", RATE, -5, "FDL_E_LABEL"),
        (X[:-1] + b"\x80", LABELS, RATE, -5, "FDL_E_INPUT"),
    ],
)
def test_step_refused_changes_nothing(
    x: bytes, labels: bytes, rate: int, x_exp: int, name: str
) -> None:
    net = new_net()
    assert refusal(lambda: net.step(x, labels, rate, x_exp)) == name
    assert net.weights() == WEIGHTS
    assert net.steps == 0
    net.step(X, LABELS, RATE)
    assert net.steps == 1
    assert net.weights() != WEIGHTS


@pytest.mark.parametrize(
    ("x", "x_exp", "name"),
    [
        (b"", -5, "FDL_E_LENGTH"),
        (X, -5, "FDL_E_LENGTH"),
        (X[:4], 8, "FDL_E_EXPONENT"),
        (X[:4], -25, "FDL_E_EXPONENT"),
        (X[:3] + b"\x80", -5, "FDL_E_INPUT"),
    ],
)
def test_predict_refused(x: bytes, x_exp: int, name: str) -> None:
    net = new_net()
    assert refusal(lambda: net.predict(x, x_exp)) == name
    assert refusal(lambda: net.logits(x, x_exp)) == name


def test_normaliser_fit_refused() -> None:
    rows = bytes(12)  # six counts
    assert refusal(lambda: Normaliser.fit(lambda: [rows], 0)) == "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser.fit(lambda: [rows], -1)) == "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser.fit(lambda: [rows], 4)) == "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser.fit(lambda: [rows[:-1]], 1)) == "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser.fit(list, 1)) == "FDL_E_SAMPLES"


@pytest.mark.parametrize("second", [[bytes(12), bytes(12)], [bytes(6)], []])
def test_normaliser_fit_of_another_second_pass(second: list[bytes]) -> None:
    passes = iter([[bytes(12)], second])
    assert refusal(lambda: Normaliser.fit(lambda: next(passes), 3)) == "FDL_E_SAMPLES"


def test_normaliser_fit_of_too_many_samples() -> None:
    """2^24 - 1 are taken; one more is not, wherever the pieces end."""
    fit = ffi.new("fdl_norm_fit *")
    assert lib.fdl_norm_start(fit, 1) == lib.FDL_OK
    samples = ffi.new("int16_t[]", 2**23)
    assert lib.fdl_norm_sum(fit, 1, samples, 2**23) == lib.FDL_OK
    assert lib.fdl_norm_sum(fit, 1, samples, 2**23) == lib.FDL_E_SAMPLES
    assert lib.fdl_norm_sum(fit, 1, samples, 2**23 - 1) == lib.FDL_OK
    assert lib.fdl_norm_sum(fit, 1, samples, 1) == lib.FDL_E_SAMPLES
    assert lib.fdl_norm_centre(fit, 1) == lib.FDL_OK


GOOD = Normaliser((5,), (200,), (9,))


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, mantissas=(127,)),
        replace(GOOD, mantissas=(256,)),
        replace(GOOD, mantissas=(-200,)),
        replace(GOOD, mantissas=(0,)),
        replace(GOOD, shifts=(-7,)),
        replace(GOOD, shifts=(19,)),
        replace(GOOD, means=(-32769,)),
        replace(GOOD, means=(2**40,)),
    ],
)
def test_normaliser_that_no_fit_gives(bad: Normaliser) -> None:
    assert len(GOOD.apply(bytes(4))) == 2
    assert refusal(lambda: bad.apply(bytes(4))) == "FDL_E_NORMALISER"
    assert Normaliser.from_tuples(bad.to_tuples()) == bad


def test_normaliser_apply_of_odd_lengths() -> None:
    two = Normaliser((5, 6), (200, 0), (9, 0))
    assert refusal(lambda: two.apply(bytes(3))) == "FDL_E_LENGTH"
    assert refusal(lambda: two.apply(bytes(6))) == "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser((), (), ()).apply(bytes(2))) == "FDL_E_LENGTH"
    assert two.apply(b"") == b""


def test_normaliser_takes_unaligned_samples() -> None:
    data = bytes(range(41))
    assert GOOD.apply(memoryview(data)[1:]) == GOOD.apply(data[1:])


# --- What Python cannot get wrong, C can ----------------------------------------------------------


class CNet:
    """LAYERS as C sees them, with pieces that a test can take away."""

    def __init__(self) -> None:
        self.layers = ffi.new("fdl_layer[]", [(4, 3, -5, 1), (3, 2, -5, 0)])
        self.weights = ffi.new("int16_t[]", 18)
        self.biases = ffi.new("int32_t[]", 5)
        self.net = self.with_counts(18, 5)

    def with_counts(self, weights: int, biases: int) -> CData:
        parts = (self.layers, 2, self.weights, weights, self.biases, biases)
        return ffi.new("fdl_net *", parts)

    def step(self, arena: CData, arena_len: int, net: CData | None = None) -> int:
        x, labels = ffi.from_buffer("int8_t[]", X), ffi.from_buffer("uint8_t[]", b"\1\1")
        return lib.fdl_step(net or self.net, arena, arena_len, x, len(X), -5, labels, 2, RATE)


def test_arena_too_small_or_askew() -> None:
    c = CNet()
    needed = lib.fdl_step_arena_size(c.net, 2)
    words = ffi.new("uint64_t[]", needed // 8 + 1)
    askew = ffi.from_buffer("char[]", memoryview(ffi.buffer(words))[4:])
    assert c.step(words, needed - 1) == lib.FDL_E_ARENA
    assert c.step(words, 0) == lib.FDL_E_ARENA
    assert c.step(askew, needed) == lib.FDL_E_ARENA
    assert c.step(ffi.NULL, needed) == lib.FDL_E_NULL
    assert not any(c.weights)
    assert not any(c.biases)
    assert c.step(words, needed) == lib.FDL_OK
    assert any(c.biases)


def test_arena_size_of_what_is_refused_is_0() -> None:
    c = CNet()
    assert lib.fdl_step_arena_size(c.net, 0) == 0
    assert lib.fdl_step_arena_size(c.net, MAX_BATCH + 1) == 0
    assert lib.fdl_step_arena_size(ffi.NULL, 1) == 0
    assert lib.fdl_predict_arena_size(ffi.NULL) == 0
    assert lib.fdl_predict_arena_size(c.with_counts(17, 5)) == 0
    assert lib.fdl_packed_size(ffi.NULL, 0) == 0


def test_counts_that_do_not_fit_the_layers() -> None:
    c = CNet()
    words = ffi.new("uint64_t[]", 100)
    for weights, biases in ((17, 5), (19, 5), (18, 4), (18, 6)):
        net = c.with_counts(weights, biases)
        assert c.step(words, 800, net) == lib.FDL_E_LENGTH
    parts = (c.layers, 2, ffi.NULL, 18, c.biases, 5)
    assert c.step(words, 800, ffi.new("fdl_net *", parts)) == lib.FDL_E_NULL


def test_every_error_is_described() -> None:
    header_names = ffi.typeof("enum fdl_error").elements
    meanings = [ffi.string(lib.fdl_describe_error(code)).decode() for code in header_names]
    assert len(set(meanings)) == len(meanings)
    assert "unknown error" not in meanings
    assert ffi.string(lib.fdl_describe_error(-999)) == b"unknown error"
    assert all(re.fullmatch(r"FDL_OK|FDL_E_[A-Z]+", name) for name in header_names.values())
