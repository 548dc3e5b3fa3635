"""The C kernel gives the bits of the golden vectors."""

import struct
import zlib

import pytest

from fedling_native import NativeError, Net, Normaliser, delta, parameter_counts, weights_size
from tests.native import coding
from tests.native import golden_vectors as golden
from tests.native.reference.codec import NO_DITHER
from tests.native.reference.tables import Quantiser


def new_net(model: golden.Model, weights: bytes) -> Net:
    return Net(model.layers, model.exponents, weights, model.loss)


def train(training: golden.Training) -> Net:
    net = new_net(training.model, training.before)
    for i, step in enumerate(training.steps):
        net.step(
            step.x,
            step.targets,
            step.lr_q24,
            training.x_exp,
            clip_q16=step.clip_q16,
            momentum=step.momentum,
            frozen=step.frozen,
        )
        if step.pull_q16:
            net.pull(training.before, step.pull_q16)
        if step.checksum is not None:
            assert net.checksum() == step.checksum, f"step {i + 1}"
    assert net.steps == len(training.steps)
    return net


@pytest.mark.parametrize("training", golden.steps(), ids=lambda t: t.name)
def test_step_corners(training: golden.Training) -> None:
    assert train(training).weights() == training.after


@pytest.mark.parametrize("name", golden.training_names())
def test_step_whole_training(name: str) -> None:
    training, expected = golden.training(name)
    net = train(training)
    said = [net.predict(x, training.x_exp) for x in expected.x]
    assert [answer.label for answer in said] == expected.labels
    outputs = b"".join(struct.pack(f"<{len(a.outputs)}i", *a.outputs) for a in said)
    assert zlib.crc32(outputs) == expected.outputs


@pytest.mark.parametrize("case", golden.predictions(), ids=lambda c: c.name)
def test_predict(case: golden.Predictions) -> None:
    net = new_net(case.model, case.weights)
    for x, label, outputs in zip(case.x, case.labels, case.outputs, strict=True):
        answer = net.predict(x, case.x_exp)
        assert answer.label == label
        assert answer.outputs == outputs


@pytest.mark.parametrize("case", golden.normalisations(), ids=lambda c: c.name)
def test_normaliser(case: golden.Normalisation) -> None:
    fitted = Normaliser.fit(case.windows, case.channels)
    assert fitted == Normaliser(case.means, case.mantissas, case.shifts)
    assert b"".join(fitted.apply(window) for window in case.windows) == case.q


@pytest.mark.parametrize("case", golden.deltas(), ids=lambda c: c.name)
def test_delta(case: golden.Delta) -> None:
    layers = case.model.layers
    assert delta(layers, case.before, case.after) == (case.delta, case.saturated)
    weights, biases = parameter_counts(layers)
    assert weights_size(layers) == len(case.before) == 2 * weights + 4 * biases


# --- the codec ------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantiser", Quantiser, ids=lambda q: q.name.lower())
def test_codec_messages(quantiser: Quantiser) -> None:
    cases = [case for case in golden.messages() if case.code.quantiser == quantiser]
    assert len(cases) > 40
    for case in cases:
        message = coding.encode(case.code, case.values, case.dither)
        assert (len(message), zlib.crc32(message)) == (case.size, case.crc), case
        estimate = coding.decode(case.code, message, len(case.values), case.dither)
        assert zlib.crc32(estimate) == case.estimate, case


@pytest.mark.parametrize("case", golden.refused(), ids=lambda c: c.name)
def test_codec_refuses(case: golden.Refused) -> None:
    with pytest.raises(NativeError) as refusal:
        coding.decode(case.code, case.message, case.n, NO_DITHER)
    assert refusal.value.name == "FDL_E_MESSAGE"


def test_codec_codes() -> None:
    for quantiser, n, size, table, kept in golden.codes():
        assert coding.choose(Quantiser(quantiser), n, size) == (table, kept), (quantiser, n, size)


@pytest.mark.parametrize("case", golden.units(), ids=lambda c: str(c.model.exponents))
def test_codec_units(case: golden.Units) -> None:
    layers, exponents = case.model.layers, case.model.exponents
    assert coding.delta_values(layers, exponents, case.delta) == case.values
    assert coding.own_units(layers, exponents, case.estimate) == case.own
