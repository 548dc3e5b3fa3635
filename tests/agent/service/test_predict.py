"""Predictions of the newest model."""

from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.service.predict import (
    BY_NOTHING,
    BY_RECORDINGS,
    BY_TRAINING,
    Predictor,
    mean_squared_error,
)
from fedling_agent.store.store import Store
from fedling_native import Net
from fedling_protocol.disk.errors import BadInput, Missing
from tests.support.device import AUTOENCODER, SPEC, csv_lines, make_device, make_model

WINDOW = array("h", [1000, 0] * 10)


def test_no_model_yet(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no model yet of watch"):
        Predictor(Store(tmp_path)).predict("watch", WINDOW)


def test_before_a_training_the_recordings_normalise(tmp_path: Path) -> None:
    device = make_device(tmp_path, recordings=0)
    predictor = Predictor(device.store)
    with pytest.raises(Missing, match="ingest some samples first"):
        predictor.predict("watch", WINDOW)
    device.ingest(csv_lines())
    answer = predictor.predict("watch", WINDOW)
    assert answer.normalised == BY_RECORDINGS
    job = device.freeze()
    trained = predictor.predict("watch", WINDOW)
    assert trained.normalised == BY_TRAINING
    net = Net(SPEC.layers, device.model.exponents, device.model.weights)
    expected = net.predict(job.recipe.normaliser.apply(WINDOW))
    assert trained.label == SPEC.labels[expected.label]
    assert list(trained.probabilities) == list(SPEC.labels)
    assert sum(trained.probabilities.values()) == pytest.approx(1, abs=0.001)


def test_recordings_ingested_since_are_taken_in(tmp_path: Path) -> None:
    device = make_device(tmp_path, recordings=1, samples=40)
    predictor = Predictor(device.store)
    first = predictor.predict("watch", WINDOW).probabilities
    device.ingest(["recording,x,y\n", *[f"n0,{n % 30},{-n % 20}\n" for n in range(400)]])
    assert predictor.predict("watch", WINDOW).probabilities != first


def test_newest_model_at_once(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    predictor = Predictor(device.store)
    before = predictor.predict("watch", WINDOW)
    device.store.models.put(make_model(7, seed=8))
    after = predictor.predict("watch", WINDOW)
    assert (before.version, after.version) == (1, 7)
    assert before.probabilities != after.probabilities


def test_window_of_another_length(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    with pytest.raises(BadInput, match="4 values; watch wants 10 samples of 2"):
        Predictor(device.store).predict("watch", array("h", [1] * 4))


def test_task_without_normalisation(tmp_path: Path) -> None:
    device = make_device(tmp_path, spec=replace(SPEC, normalise="none"), recordings=0)
    assert Predictor(device.store).predict("watch", WINDOW).normalised == BY_NOTHING


def test_a_reconstruction_is_answered_with_its_error(tmp_path: Path) -> None:
    device = make_device(tmp_path, spec=AUTOENCODER)
    answer = Predictor(device.store).predict("watch", WINDOW)
    assert (answer.label, answer.probabilities) == (None, {})
    job = device.freeze()
    x = job.recipe.normaliser.apply(WINDOW)
    spec, model = AUTOENCODER, device.model
    outputs = Net(spec.layers, model.exponents, model.weights, spec.loss).predict(x).outputs
    # Both in 2^-12: an input step is 2^-5.
    inputs = [value * 128 for value in memoryview(x).cast("b")]
    errors = [(v - t) ** 2 for v, t in zip(outputs, inputs, strict=True)]
    trained = Predictor(device.store).predict("watch", WINDOW)
    assert trained.error == pytest.approx(sum(errors) / 20 / 2**24)


def test_mean_squared_error_is_1_at_a_standard_deviation() -> None:
    assert mean_squared_error(bytes([32, 0]), [4096, 0]) == 0
    assert mean_squared_error(bytes([32, 0, 224]), [0, 4096, 0]) == 1
    assert mean_squared_error(bytes([0, 0]), [0, 2048]) == 0.125
