"""The C kernel gives the bits of the numpy reference, on random nets, shapes, data and extremes."""

import array
from dataclasses import dataclass

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedling_native import Layer, Net, Normaliser, delta
from tests.native import reference as ref

# Widths around what the C loops take at a time: 4 rows, 16 to 64 lanes, 128 and 512 values.
WIDTHS = st.one_of(st.integers(1, 20), st.sampled_from([31, 33, 64, 127, 128, 129, 511, 512, 517]))
EXPONENTS = st.one_of(st.integers(-10, -3), st.integers(-24, 7))
RATES = st.one_of(st.integers(1, 2**28), st.integers(0, 28).map(lambda k: 2**k))
SPREADS = ["uniform", "small", "corners", "zero", "sparse"]


@dataclass(frozen=True)
class Case:
    """A net and what happens to it, small enough for hypothesis to shrink."""

    seed: int
    widths: list[int]
    exponents: list[int]
    relu: list[bool]
    spread: str
    x_spread: str
    x_exp: int
    batches: list[int]
    lr: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    depth = draw(st.integers(1, 4))
    return Case(
        draw(st.integers(0, 2**32 - 1)),
        [*draw(st.lists(WIDTHS, min_size=depth, max_size=depth)), draw(st.integers(2, 40))],
        draw(st.lists(EXPONENTS, min_size=depth, max_size=depth)),
        draw(st.lists(st.booleans(), min_size=depth - 1, max_size=depth - 1)),
        draw(st.sampled_from(SPREADS)),
        draw(st.sampled_from(SPREADS)),
        draw(EXPONENTS),
        draw(st.lists(st.integers(1, 21), min_size=1, max_size=3)),
        draw(RATES),
    )


def numbers(
    rng: np.random.Generator, spread: str, low: int, high: int, shape: tuple[int, ...]
) -> ref.Int64:
    """Integers low..high of one of SPREADS."""
    if spread == "zero":
        return np.zeros(shape, np.int64)
    if spread == "corners":
        corners = [
            v for v in (low, low + 1, -1, 0, 1, 127, 128, high - 1, high) if low <= v <= high
        ]
        return rng.choice(np.array(corners, np.int64), shape)
    if spread == "small":
        return rng.integers(max(low, low // 64), high // 64, shape, endpoint=True)
    values = rng.integers(low, high, shape, endpoint=True)
    return values * (rng.random(shape) < 0.05) if spread == "sparse" else values


def reference_model(case: Case, rng: np.random.Generator) -> list[ref.Layer]:
    return [
        ref.Layer(
            numbers(rng, case.spread, -(2**15), 2**15 - 1, (out, inputs)).astype(np.int16),
            numbers(rng, case.spread, -(2**31), 2**31 - 1, (out,)).astype(np.int32),
            w_exp,
            relu,
        )
        for inputs, out, w_exp, relu in zip(
            case.widths[:-1], case.widths[1:], case.exponents, [*case.relu, False], strict=True
        )
    ]


def c_layers(model: ref.Model) -> list[Layer]:
    return [Layer(x.stored.shape[1], x.stored.shape[0], x.relu) for x in model]


def c_net(model: ref.Model) -> Net:
    return Net(c_layers(model), [x.w_exp for x in model], ref.weight_bytes(model))


@settings(max_examples=300)
@given(cases())
@example(Case(1, [3, 256], [-5], [], "uniform", "uniform", -5, [256], 2**24))
@example(Case(2, [65535, 2], [-8], [], "corners", "corners", -5, [3, 1], 2**22))
def test_step_equals_reference(case: Case) -> None:
    rng = np.random.default_rng(case.seed)
    model = reference_model(case, rng)
    net = c_net(model)
    for n in case.batches:
        x = numbers(rng, case.x_spread, -127, 127, (n, case.widths[0])).astype(np.int8)
        y = rng.integers(0, case.widths[-1], n)
        ref.step(model, ref.Tensor(x, case.x_exp), y, case.lr)
        net.step(x.data, y.astype(np.uint8).data, case.lr, case.x_exp)
        assert net.weights() == ref.weight_bytes(model)
    assert net.checksum() == ref.checksum(model)


@settings(max_examples=200)
@given(cases())
def test_predict_equals_reference(case: Case) -> None:
    rng = np.random.default_rng(case.seed)
    model = reference_model(case, rng)
    net = c_net(model)
    x = numbers(rng, case.x_spread, -127, 127, (case.widths[0],)).astype(np.int8)
    probabilities, label = ref.predict(model, x, case.x_exp)
    answer = net.predict(x.data, case.x_exp)
    assert answer.label == label
    assert answer.probabilities == tuple(probabilities.tolist())
    end = ref.forward(model, ref.Tensor(x[None, :], case.x_exp))
    assert net.logits(x.data, case.x_exp) == (tuple(end.z[0].tolist()), end.z_exp)
    assert net.weights() == ref.weight_bytes(model)


@settings(max_examples=100)
@given(cases(), st.sampled_from(SPREADS))
def test_delta_equals_reference(case: Case, after_spread: str) -> None:
    rng = np.random.default_rng(case.seed)
    before, after = reference_model(case, rng), reference_model(case, rng)
    for layer in after:
        layer.stored[:] = numbers(rng, after_spread, -(2**15), 2**15 - 1, layer.stored.shape)
        layer.bias[:] = numbers(rng, after_spread, -(2**31), 2**31 - 1, layer.bias.shape)
    expected = ref.delta(before, after)
    changes, saturated = delta(c_layers(before), ref.weight_bytes(before), ref.weight_bytes(after))
    stored, bias = expected.stored.astype("<i2"), expected.bias.astype("<i4")
    assert changes == stored.tobytes() + bias.tobytes()
    assert saturated == expected.saturated


COUNTS = st.one_of(st.integers(-32768, 32767), st.integers(-3, 3), st.sampled_from([-32768, 32767]))


@st.composite
def recordings(draw: st.DrawFn) -> ref.Int16:
    """Windows int16 [windows][samples][channels]."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(1, 3)))
    size = shape[0] * shape[1] * shape[2]
    values = draw(st.lists(COUNTS, min_size=size, max_size=size))
    return np.array(values, np.int16).reshape(shape)


@settings(max_examples=200)
@given(recordings(), st.lists(COUNTS, min_size=6, max_size=6))
def test_normaliser_equals_reference(windows: ref.Int16, others: list[int]) -> None:
    expected = ref.statistics(windows)
    fitted = Normaliser.fit(lambda: [w.data for w in windows], windows.shape[-1])
    assert fitted.to_tuples() == tuple((c.mean, c.mantissa, c.shift) for c in expected)
    assert fitted.apply(windows.data) == ref.normalise(windows, expected).tobytes()
    new = np.array(others * windows.shape[-1], np.int16).reshape(1, -1, windows.shape[-1])
    assert fitted.apply(new.data) == ref.normalise(new, expected).tobytes()


@settings(max_examples=50)
@given(recordings(), st.integers(1, 12))
def test_normaliser_piecewise_equals_whole(windows: ref.Int16, piece: int) -> None:
    channels = windows.shape[-1]
    rows = windows.reshape(-1, channels)
    pieces = [rows[i : i + piece] for i in range(0, len(rows), piece)]
    assert Normaliser.fit(lambda: [p.data for p in pieces], channels) == Normaliser.fit(
        lambda: [rows.data], channels
    )


def test_normaliser_large_sums_equal_reference() -> None:
    """Sums of squares beyond 32 bits, the largest deviation, a nearly constant channel."""
    n = 70_000
    rng = np.random.default_rng(5)
    columns = [
        np.where(np.arange(n) % 2, 32767, -32768),
        np.full(n, -32768),
        np.where(np.arange(n) == 9, 1, 0),
        rng.integers(-32768, 32768, n),
    ]
    windows = np.stack(columns, 1).astype(np.int16)[None]
    fitted = Normaliser.fit(lambda: [w.data for w in windows], 4)
    expected = ref.statistics(windows)
    assert fitted.to_tuples() == tuple((c.mean, c.mantissa, c.shift) for c in expected)
    assert fitted.apply(windows.data) == ref.normalise(windows, expected).tobytes()


def test_step_takes_any_buffer() -> None:
    case = Case(3, [6, 4, 3], [-5, -5], [True], "uniform", "uniform", -5, [2], 2**22)
    rng = np.random.default_rng(case.seed)
    model = reference_model(case, rng)
    x = numbers(rng, "uniform", -127, 127, (2, 6)).astype(np.int8)
    data = x.tobytes()
    sums = set()
    for values in (x.data, data, bytearray(data), memoryview(data), array.array("b", data)):
        net = c_net(model)
        net.step(values, b"\x00\x02", case.lr)
        sums.add(net.checksum())
    assert len(sums) == 1
