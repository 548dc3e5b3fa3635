"""The C kernel gives the bits of the numpy reference, on random nets, shapes, data and extremes."""

import array
from dataclasses import replace
from math import isqrt

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedling_native import Net, Normaliser, Sums, delta
from tests.native import kernel
from tests.native import random_nets as nets
from tests.native import reference as ref
from tests.native.random_nets import Case, Lesson
from tests.native.reference import accumulate


def learn(case: Case, lessons: list[Lesson]) -> None:
    """The same steps with both, the same weights after each."""
    rng = np.random.default_rng(case.seed)
    model = nets.any_model(case, rng)
    begin, net = model.copy(), kernel.net(model)
    for lesson in lessons:
        x, wanted = nets.any_inputs(case, rng, lesson.n), nets.targets(rng, model, lesson.n)
        ref.step(model, ref.Tensor(x, case.x_exp), wanted, lesson.sgd)
        kernel_step(net, case, x, wanted, lesson)
        if lesson.pull:
            ref.pull(model, begin, lesson.pull)
            net.pull(ref.weight_bytes(begin), lesson.pull)
        assert net.weights() == ref.weight_bytes(model)
        assert net.velocity() in {b"", ref.velocity_bytes(model)}
    assert net.checksum() == ref.checksum(model)


def kernel_step(net: Net, case: Case, x: ref.Int8, wanted: ref.Targets, lesson: Lesson) -> None:
    sgd = lesson.sgd
    net.step(
        x.data,
        kernel.targets(case.loss, wanted),
        sgd.lr,
        case.x_exp,
        clip_q16=sgd.clip,
        momentum=sgd.momentum,
        frozen=sgd.frozen,
    )


@settings(max_examples=400)
@given(st.data(), nets.cases())
def test_step_equals_reference(data: st.DataObject, case: Case) -> None:
    learn(case, data.draw(st.lists(nets.lessons(len(case.shapes)), min_size=1, max_size=4)))


@given(st.sampled_from([1, 3, 256]), st.sampled_from(nets.SPREADS))
@settings(max_examples=10)
@example(256, "corners")
def test_step_of_many_examples_equals_reference(n: int, spread: str) -> None:
    """As many examples and positions as a step can have."""
    shapes = [ref.conv((1, 256, 1), 2, (1, 1), relu=True), ref.dense(512, 256)]
    case = Case(1, shapes, [-5, -5], spread, spread)
    learn(case, [Lesson(n, ref.Sgd(2**24)), Lesson(256, ref.Sgd(2**20, 2**16, 200))])


def test_step_of_the_widest_layer_equals_reference() -> None:
    for spread in ("corners", "uniform"):
        case = Case(2, [ref.dense(65535, 2)], [-8], spread, spread)
        learn(case, [Lesson(3, ref.Sgd(2**22)), Lesson(1, ref.Sgd(2**22, clip=2**20))])


def test_step_with_the_largest_accumulator_equals_reference() -> None:
    """65535 products of -127 * -128 and a bias at its limit, then rounded to 7 bits."""
    shapes = [ref.dense(65535, 1, relu=True), ref.dense(1, 2)]
    model = nets.any_model(Case(0, shapes, [-11, -11], "zero"), np.random.default_rng(0))
    model.layers[0].stored[:] = -32768
    model.layers[0].bias[:] = 2**31 - 1
    net, x = kernel.net(model), np.full((1, 65535), -127, np.int8)
    acc, _ = accumulate(model.layers[0], ref.Tensor(x, -5))
    assert acc.max() == 65535 * 127 * 128 + 2**30 - 1
    ref.step(model, ref.Tensor(x, -5), np.array([1]), ref.Sgd(2**20))
    net.step(x.data, b"\x01", 2**20)
    assert net.weights() == ref.weight_bytes(model)


@settings(max_examples=300)
@given(nets.cases())
def test_predict_equals_reference(case: Case) -> None:
    rng = np.random.default_rng(case.seed)
    model = nets.any_model(case, rng)
    net, x = kernel.net(model), nets.any_inputs(case, rng, 1)
    outputs, label = ref.predict(model, x[0], case.x_exp)
    answer = net.predict(x.data, case.x_exp)
    assert answer.label == label
    assert answer.outputs == tuple(outputs.tolist())
    end = ref.forward(model, ref.Tensor(x, case.x_exp))
    assert net.logits(x.data, case.x_exp) == (tuple(end.z[0].tolist()), end.z_exp)
    assert net.weights() == ref.weight_bytes(model)


@settings(max_examples=100)
@given(nets.cases(), st.sampled_from(nets.SPREADS))
def test_delta_equals_reference(case: Case, after_spread: str) -> None:
    rng = np.random.default_rng(case.seed)
    before, after = nets.any_model(case, rng), nets.any_model(case, rng)
    for layer in after.layers:
        layer.stored[:] = nets.numbers(
            rng, after_spread, -(2**15), 2**15 - 1, layer.shape.weights_shape
        )
        layer.bias[:] = nets.numbers(rng, after_spread, -(2**31), 2**31 - 1, layer.bias.shape)
    expected = ref.delta(before, after)
    layers = [kernel.layer(shape) for shape in case.shapes]
    changes, saturated = delta(layers, ref.weight_bytes(before), ref.weight_bytes(after))
    stored, bias = expected.stored.astype("<i2"), expected.bias.astype("<i4")
    assert changes == stored.tobytes() + bias.tobytes()
    assert saturated == expected.saturated


@settings(max_examples=100)
@given(nets.cases(), st.sampled_from(nets.SPREADS), st.integers(1, 65535))
def test_pull_equals_reference(case: Case, start_spread: str, pull: int) -> None:
    """From anywhere to anywhere."""
    rng = np.random.default_rng(case.seed)
    model = nets.any_model(case, rng)
    start = nets.any_model(replace(case, spread=start_spread), rng)
    net = kernel.net(model)
    ref.pull(model, start, pull)
    net.pull(ref.weight_bytes(start), pull)
    assert net.weights() == ref.weight_bytes(model)


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
    fitted = Normaliser.fit([w.data for w in windows], windows.shape[-1])
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
    assert Normaliser.fit([p.data for p in pieces], channels) == Normaliser.fit(
        [rows.data], channels
    )


@settings(max_examples=50)
@given(st.lists(recordings(), min_size=1, max_size=4))
def test_sums_of_devices_add_up_to_sums_of_all(devices: list[ref.Int16]) -> None:
    """Whoever has the samples: the normaliser is that of all of them in one place."""
    rows = [windows.reshape(-1, windows.shape[-1])[:, :1] for windows in devices]
    each = [Sums.over([np.ascontiguousarray(of).data], 1) for of in rows]
    total = Sums(
        sum(s.count for s in each),
        (sum(s.sums[0] for s in each),),
        (sum(s.squares[0] for s in each),),
    )
    assert Normaliser.of(total) == Normaliser.fit([np.concatenate(rows).data], 1)


def test_normaliser_of_sums_is_exact_at_every_size() -> None:
    """Against Python's own integers, for channels of two values and up to 2^31 - 1 samples."""
    rng = np.random.default_rng(7)
    for bits in range(1, 32):
        for low, high in ((-32768, 32767), (32766, 32767), (-5, 5), (-32768, -32768)):
            n = int(rng.integers(2 ** (bits - 1), 2**bits))
            ones = int(rng.integers(0, n + 1))
            sums = low * (n - ones) + high * ones
            squares = low * low * (n - ones) + high * high * ones
            mean = (2 * sums + n) // (2 * n)
            around = (low - mean) ** 2 * (n - ones) + (high - mean) ** 2 * ones
            sd = isqrt((around << 16) // n)
            found = Normaliser.of(Sums(n, (sums,), (squares,)))
            assert found.means == (mean,)
            if sd == 0:
                assert found.to_tuples() == ((mean, 0, 0),)
            else:
                mantissa, k = ref.ratio(2**13, sd)
                assert found.to_tuples() == ((mean, mantissa, 7 - k),)


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
    fitted = Normaliser.fit([w.data for w in windows], 4)
    expected = ref.statistics(windows)
    assert fitted.to_tuples() == tuple((c.mean, c.mantissa, c.shift) for c in expected)
    assert fitted.apply(windows.data) == ref.normalise(windows, expected).tobytes()


def test_step_takes_any_buffer() -> None:
    case = Case(3, [ref.dense(6, 4, relu=True), ref.dense(4, 3)], [-5, -5])
    rng = np.random.default_rng(case.seed)
    model = nets.any_model(case, rng)
    x = nets.any_inputs(case, rng, 2)
    data = x.tobytes()
    sums = set()
    for values in (x.data, data, bytearray(data), memoryview(data), array.array("b", data)):
        net = kernel.net(model)
        net.step(values, b"\x00\x02", 2**22)
        sums.add(net.checksum())
    assert len(sums) == 1
