"""What the kernel refuses, and that a refused call changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedling_native import (
    MAX_BATCH,
    MAX_TERMS,
    Loss,
    NativeError,
    Net,
    Normaliser,
    Sums,
    average_pool,
    conv,
    delta,
    dense,
    weights_size,
)
from fedling_native._core import ffi, lib

if TYPE_CHECKING:
    from fedling_native._core import CData

LAYERS = [dense(4, 3, relu=True), dense(3, 2)]
WEIGHTS = bytes(range(weights_size(LAYERS)))
X, LABELS, RATE = bytes([1, 2, 3, 4] * 2), b"\x00\x01", 2**24


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(NativeError) as caught:
        call()
    assert caught.value.meaning in str(caught.value)
    return caught.value.name


def new_net(loss: Loss = Loss.SOFTMAX) -> Net:
    return Net(LAYERS, [-5, -5], WEIGHTS, loss)


@pytest.mark.parametrize("exponents", [[], [-5], [-5] * 3, [-25, -5], [-5, 8], [-5, -(2**40)]])
def test_exponents_out_of_range(exponents: list[int]) -> None:
    assert refusal(lambda: Net(LAYERS, exponents, WEIGHTS)) == "FDL_E_EXPONENT"


def test_exponents_of_layers_without_weights_are_0() -> None:
    layers = [conv((1, 4, 1), 3, (1, 2)), average_pool((1, 3, 3)), dense(3, 2)]
    weights = bytes(weights_size(layers))
    assert refusal(lambda: Net(layers, [-5, -5, -5], weights)) == "FDL_E_EXPONENT"
    assert Net(layers, [-5, 0, -5], weights).weights() == weights


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
        (X, b"\x00\x02", RATE, -5, "FDL_E_TARGET"),
        (X, b"\xff\x00", RATE, -5, "FDL_E_TARGET"),
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
    ("loss", "targets", "name"),
    [
        (Loss.SIGMOID, b"\0\1\1", "FDL_E_LENGTH"),
        (Loss.SIGMOID, b"\0\1\1\2", "FDL_E_TARGET"),
        (Loss.SIGMOID, b"\0\1\1\0", ""),
        (Loss.SQUARED, bytes(7), "FDL_E_LENGTH"),
        (Loss.SQUARED, bytes(6), "FDL_E_LENGTH"),
        (Loss.SQUARED, b"\xff\x7f" * 4, ""),
    ],
)
def test_step_takes_the_targets_of_its_loss(loss: Loss, targets: bytes, name: str) -> None:
    net = new_net(loss)
    if name:
        assert refusal(lambda: net.step(X, targets, RATE)) == name
        assert net.weights() == WEIGHTS
    else:
        net.step(X, targets, RATE)
        assert net.weights() != WEIGHTS


def test_step_of_a_reconstruction_takes_no_targets() -> None:
    layers = [dense(4, 4)]
    net = Net(layers, [-5], bytes(range(48)), Loss.RECONSTRUCTION)
    assert refusal(lambda: net.step(X, b"\0", RATE)) == "FDL_E_LENGTH"
    net.step(X, b"", RATE)
    assert net.weights() != bytes(range(48))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"momentum": 256}, "FDL_E_RATE"),
        ({"momentum": -1}, "FDL_E_RATE"),
        ({"frozen": 2}, "FDL_E_RATE"),
        ({"frozen": -1}, "FDL_E_RATE"),
    ],
)
def test_step_with_options_out_of_range(options: dict[str, int], name: str) -> None:
    net = new_net()
    assert refusal(lambda: net.step(X, LABELS, RATE, **options)) == name
    assert net.weights() == WEIGHTS


def test_step_of_too_many_positions() -> None:
    layers = [conv((1, 1024, 1), 1, (1, 1)), dense(1024, 2)]
    net = Net(layers, [-5, -5], bytes(weights_size(layers)))
    most = MAX_TERMS // 1024
    net.step(bytes(1024 * most), bytes(most), RATE)
    more = most + 1
    assert refusal(lambda: net.step(bytes(1024 * more), bytes(more), RATE)) == "FDL_E_BATCH"


@pytest.mark.parametrize(
    ("start", "pull", "name"),
    [
        (WEIGHTS[:-1], 1, "FDL_E_LENGTH"),
        (WEIGHTS + b"\0", 1, "FDL_E_LENGTH"),
        (WEIGHTS, 0, "FDL_E_RATE"),
        (WEIGHTS, -1, "FDL_E_RATE"),
        (WEIGHTS, 65_536, "FDL_E_RATE"),
    ],
)
def test_pull_refused(start: bytes, pull: int, name: str) -> None:
    net = new_net()
    assert refusal(lambda: net.pull(start, pull)) == name
    assert net.weights() == WEIGHTS


def test_velocity_goes_on_in_another_net() -> None:
    net, whole = new_net(), new_net()
    for _ in range(2):
        whole.step(X, LABELS, RATE, momentum=200)
    net.step(X, LABELS, RATE, momentum=200)
    assert (new_net().velocity(), len(net.velocity())) == (b"", 4 * (18 + 5))
    again = Net(LAYERS, [-5, -5], net.weights(), velocity=net.velocity())
    again.step(X, LABELS, RATE, momentum=200)
    assert (again.weights(), again.velocity()) == (whole.weights(), whole.velocity())
    at_rest = Net(LAYERS, [-5, -5], net.weights())
    at_rest.step(X, LABELS, RATE, momentum=200)
    assert at_rest.weights() != whole.weights()


@pytest.mark.parametrize("size", [1, 4, 4 * 22, 4 * 24])
def test_velocity_of_another_length(size: int) -> None:
    call = lambda: Net(LAYERS, [-5, -5], WEIGHTS, velocity=bytes(size))  # noqa: E731
    assert refusal(call) == "FDL_E_LENGTH"


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
    assert refusal(lambda: Normaliser.fit([rows], 0)) == "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser.fit([rows], -1)) == "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser.fit([rows], 4)) == "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser.fit([rows[:-1]], 1)) == "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser.fit([], 1)) == "FDL_E_SAMPLES"


def test_sums_over_too_many_samples() -> None:
    """2^31 - 1 are taken; one more is not, wherever the pieces end."""
    fit = ffi.new("fdl_norm_fit[]", [(0, 0, 2**31 - 1 - 2**10)])
    samples = ffi.new("int16_t[]", 2**10 + 1)
    assert lib.fdl_norm_sum(fit, 1, samples, 2**10 + 1) == lib.FDL_E_SAMPLES
    assert lib.fdl_norm_sum(fit, 1, samples, 2**10) == lib.FDL_OK
    assert lib.fdl_norm_sum(fit, 1, samples, 1) == lib.FDL_E_SAMPLES
    assert Normaliser.of(Sums(2**31 - 1, (0,), (0,))).means == (0,)


MANY = 2**31 - 1


@pytest.mark.parametrize(
    "sums",
    [
        Sums(0, (0,), (0,)),
        Sums(MANY + 1, (0,), (0,)),
        Sums(-1, (0,), (0,)),
        Sums(2**40, (0,), (0,)),
        Sums(3, (3 * 32768 + 1,), (3 * 2**30,)),
        Sums(3, (-3 * 32768 - 1,), (3 * 2**30,)),
        Sums(3, (2**63 - 1,), (3 * 2**30,)),
        Sums(3, (-(2**63),), (3 * 2**30,)),
        Sums(3, (2**70,), (0,)),
        Sums(3, (0,), (3 * 2**30 + 1,)),
        Sums(3, (0,), (2**64 - 1,)),
        Sums(3, (0,), (-1,)),
        Sums(3, (0,), (2**70,)),
        Sums(3, (9,), (26,)),  # all are 3: their squares are 27
        Sums(MANY, (-32768 * MANY,), (2**30 * MANY - 1,)),
        Sums(3, (9, 9), (27, 26)),
        Sums(3, (), ()),
    ],
)
def test_sums_that_no_samples_have(sums: Sums) -> None:
    expected = "FDL_E_SAMPLES" if sums.sums else "FDL_E_LENGTH"
    assert refusal(lambda: Normaliser.of(sums)) == expected


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
        rows = [(0, 1, -5, *[0] * 8, 1, 1, 4, 3), (0, 0, -5, *[0] * 8, 1, 1, 3, 2)]
        self.layers = ffi.new("fdl_layer[]", rows)
        self.room = lib.fdl_weight_room(self.layers, 2)  # for 18
        self.weights = ffi.new("int16_t[]", self.room)
        self.biases = ffi.new("int32_t[]", 5)
        self.net = self.with_counts(self.room, 5)

    def with_counts(self, weights: int, biases: int) -> CData:
        parts = (self.layers, 2, 0, self.weights, weights, self.biases, biases)
        return ffi.new("fdl_net *", parts)

    def step(self, arena: CData, arena_len: int, net: CData | None = None) -> int:
        x, labels = ffi.from_buffer("int8_t[]", X), ffi.from_buffer("uint8_t[]", b"\1\1")
        batch = ffi.new("fdl_batch *", (x, len(X), -5, labels, 2, 2))
        return self.descend(arena, arena_len, net or self.net, batch)

    def descend(
        self, arena: CData, arena_len: int, net: CData, batch: CData, momentum: int = 0
    ) -> int:
        sgd = ffi.new("fdl_sgd *", (RATE, 0, momentum, 0, ffi.NULL, 0))
        return lib.fdl_step(net, arena, arena_len, batch, sgd)


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
    for weights, biases in ((c.room - 1, 5), (c.room + 1, 5), (c.room, 4), (c.room, 6)):
        net = c.with_counts(weights, biases)
        assert c.step(words, 800, net) == lib.FDL_E_LENGTH
    parts = (c.layers, 2, 0, ffi.NULL, c.room, c.biases, 5)
    assert c.step(words, 800, ffi.new("fdl_net *", parts)) == lib.FDL_E_NULL


def test_pointers_that_are_missing() -> None:
    c = CNet()
    words = ffi.new("uint64_t[]", 100)
    x, labels = ffi.new("int8_t[]", 8), ffi.new("uint8_t[]", 2)
    whole = ffi.new("fdl_batch *", (x, 8, -5, labels, 2, 2))
    for batch in (
        ffi.NULL,
        ffi.new("fdl_batch *", (ffi.NULL, 8, -5, labels, 2, 2)),
        ffi.new("fdl_batch *", (x, 8, -5, ffi.NULL, 2, 2)),
    ):
        assert c.descend(words, 800, c.net, batch) == lib.FDL_E_NULL
    assert c.descend(words, 800, c.net, whole, momentum=1) == lib.FDL_E_NULL
    assert lib.fdl_step(c.net, words, 800, whole, ffi.NULL) == lib.FDL_E_NULL
    assert lib.fdl_step(ffi.NULL, words, 800, whole, ffi.NULL) == lib.FDL_E_NULL
    assert not any(c.weights)


def test_every_error_is_described() -> None:
    header_names = ffi.typeof("enum fdl_error").elements
    meanings = [ffi.string(lib.fdl_describe_error(code)).decode() for code in header_names]
    assert len(set(meanings)) == len(meanings)
    assert "unknown error" not in meanings
    assert ffi.string(lib.fdl_describe_error(-999)) == b"unknown error"
    assert all(re.fullmatch(r"FDL_OK|FDL_E_[A-Z]+", name) for name in header_names.values())
