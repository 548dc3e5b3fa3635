"""The C kernel gives the bits of the golden vectors."""

import pytest

from fedling_native import Net, Normaliser, delta, parameter_counts, weights_size
from tests.native import golden_vectors as golden


def train(training: golden.Training) -> Net:
    net = Net(training.model.layers, training.model.exponents, training.before)
    for i, step in enumerate(training.steps):
        net.step(step.x, step.y, step.lr_q24, training.x_exp)
        if step.checksum is not None:
            assert net.checksum() == step.checksum, f"step {i + 1}"
    assert net.steps == len(training.steps)
    return net


def check_predictions(net: Net, expected: golden.Predictions) -> None:
    for x, label, probabilities in zip(
        expected.x, expected.labels, expected.probabilities, strict=True
    ):
        answer = net.predict(x, expected.x_exp)
        assert answer.label == label
        assert answer.probabilities == probabilities


@pytest.mark.parametrize("training", golden.steps(), ids=lambda t: t.name)
def test_step_corners(training: golden.Training) -> None:
    assert train(training).weights() == training.after


@pytest.mark.parametrize("name", golden.training_names())
def test_step_whole_training(name: str) -> None:
    training, expected = golden.training(name)
    check_predictions(train(training), expected)


@pytest.mark.parametrize("case", golden.predictions(), ids=lambda c: c.name)
def test_predict(case: golden.Predictions) -> None:
    assert case.weights is not None
    check_predictions(Net(case.model.layers, case.model.exponents, case.weights), case)


@pytest.mark.parametrize("case", golden.normalisations(), ids=lambda c: c.name)
def test_normaliser(case: golden.Normalisation) -> None:
    fitted = Normaliser.fit(lambda: case.windows, case.channels)
    assert fitted == Normaliser(case.means, case.mantissas, case.shifts)
    assert b"".join(fitted.apply(window) for window in case.windows) == case.q


@pytest.mark.parametrize("case", golden.deltas(), ids=lambda c: c.name)
def test_delta(case: golden.Delta) -> None:
    layers = case.model.layers
    assert delta(layers, case.before, case.after) == (case.delta, case.saturated)
    weights, biases = parameter_counts(layers)
    assert weights_size(layers) == len(case.before) == 2 * weights + 4 * biases
