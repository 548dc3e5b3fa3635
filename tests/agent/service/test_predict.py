"""Predictions of the newest model."""

from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.service import predict
from fedling_agent.service.predict import (
    BY_FLEET,
    BY_NOTHING,
    BY_RECORDINGS,
    BY_TRAINING,
    Answer,
    Predictor,
    mean_squared_error,
)
from fedling_agent.store.store import Store
from fedling_native import Net, Normaliser
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.messages import TaskSpec
from tests.support.device import (
    AUTOENCODER,
    MEASURED,
    SPEC,
    UNMEASURED,
    csv_lines,
    make_device,
    make_model,
)

WINDOW = array("h", [1000, 0] * 10)


def ask(predictor: Predictor, store: Store, counts: "array[int]" = WINDOW) -> Answer:
    """What it says of a window, by the newest model."""
    model = store.models.newest("watch")
    assert model is not None
    return finish(predictor.predict(model, counts))


def test_before_a_training_the_recordings_normalise(tmp_path: Path) -> None:
    device = make_device(tmp_path, recordings=0)
    predictor = Predictor(device.store)
    with pytest.raises(Missing, match="ingest some samples first"):
        ask(predictor, device.store)
    device.ingest(csv_lines())
    answer = ask(predictor, device.store)
    assert answer.normalised == BY_RECORDINGS
    job = device.freeze()
    trained = ask(predictor, device.store)
    assert trained.normalised == BY_TRAINING
    net = Net(SPEC.layers, device.model.exponents, device.model.weights)
    expected = net.predict(job.recipe.normaliser.apply(WINDOW))
    assert trained.label == SPEC.labels[expected.label]
    assert list(trained.probabilities) == list(SPEC.labels)
    assert sum(trained.probabilities.values()) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("spec", [SPEC, MEASURED, replace(SPEC, normalise="none")])
def test_a_model_that_nobody_has_trained_does_not_answer(tmp_path: Path, spec: TaskSpec) -> None:
    device = make_device(tmp_path, spec=spec)
    predictor = Predictor(device.store)
    device.store.models.put(replace(make_model(2, spec=spec), drawn=True))
    with pytest.raises(Missing, match="nobody has trained watch yet: model 2 is drawn"):
        ask(predictor, device.store)
    device.store.models.put(make_model(3, seed=3, spec=spec))
    assert ask(predictor, device.store).version == 3


def test_the_fleets_scale_reads_samples_whatever_is_stored_here(tmp_path: Path) -> None:
    device = make_device(tmp_path, recordings=0, spec=MEASURED)
    predictor = Predictor(device.store)
    answer = ask(predictor, device.store)
    assert answer.normalised == BY_FLEET
    assert MEASURED.scale is not None
    x = Normaliser.from_tuples(MEASURED.scale).apply(WINDOW)
    expected = Net(SPEC.layers, device.model.exponents, device.model.weights).predict(x)
    assert list(answer.probabilities.values()) == [p / 2**15 for p in expected.outputs]
    device.ingest(csv_lines())
    job = device.freeze()
    assert job.recipe.normaliser.to_tuples() == MEASURED.scale
    assert ask(predictor, device.store) == answer


def test_a_scale_that_is_not_known_yet_is_waited_for(tmp_path: Path) -> None:
    """A network from elsewhere is trained, but nobody knows what is normal in this fleet."""
    device = make_device(tmp_path, spec=UNMEASURED)
    with pytest.raises(Missing, match="when the round of statistics has ended"):
        ask(Predictor(device.store), device.store)


def test_an_eighth_more_samples_are_taken_in(tmp_path: Path) -> None:
    device = make_device(tmp_path, recordings=1, samples=100)
    predictor = Predictor(device.store)
    first = ask(predictor, device.store).probabilities
    for count in (5, 5):  # 19 windows, 95 samples of the stream: 12 more matter
        rows = [f"n0,{n % 30},{-n % 20}\n" for n in range(20, 20 + count)]
        predictor.changed(device.ingest(["recording,x,y\n", *rows]).changes)
        assert ask(predictor, device.store).probabilities == first
    predictor.changed(replace(device.ingest(["recording,x,y\n"]).changes, stream="o", samples=99))
    assert ask(predictor, device.store).probabilities == first
    rows = [f"n0,{n % 30},{-n % 20}\n" for n in range(10)]  # a window; less than a quarter
    predictor.changed(device.ingest(["recording,x,y\n", *rows]).changes)
    assert ask(predictor, device.store).probabilities != first


def test_newest_windows_are_normal_whatever_their_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "MOST_WINDOWS", 30)
    device = make_device(tmp_path, recordings=3)
    predictor, recordings = Predictor(device.store), device.store.recordings
    answer = ask(predictor, device.store)
    newest = recordings.newest("wrist")
    windows = [recordings.samples(newest[0], first, 10) for first in range(0, 111, 5)]
    windows += [recordings.samples(newest[1], first, 10) for first in range(80, 111, 5)]
    x = Normaliser.fit(windows, 2).apply(WINDOW)
    expected = Net(SPEC.layers, device.model.exponents, device.model.weights).predict(x)
    assert list(answer.probabilities.values()) == [p / 2**15 for p in expected.outputs]


def test_newest_model_at_once(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    predictor = Predictor(device.store)
    before = ask(predictor, device.store)
    device.store.models.put(make_model(7, seed=8))
    after = ask(predictor, device.store)
    assert (before.version, after.version) == (1, 7)
    assert before.probabilities != after.probabilities


def test_window_of_another_length(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    with pytest.raises(BadInput, match="4 values; watch wants 10 samples of 2"):
        ask(Predictor(device.store), device.store, array("h", [1] * 4))


def test_task_without_normalisation(tmp_path: Path) -> None:
    device = make_device(tmp_path, spec=replace(SPEC, normalise="none"), recordings=0)
    assert ask(Predictor(device.store), device.store).normalised == BY_NOTHING


def test_a_reconstruction_is_answered_with_its_error(tmp_path: Path) -> None:
    device = make_device(tmp_path, spec=AUTOENCODER)
    answer = ask(Predictor(device.store), device.store)
    assert (answer.label, answer.probabilities) == (None, {})
    job = device.freeze()
    x = job.recipe.normaliser.apply(WINDOW)
    spec, model = AUTOENCODER, device.model
    outputs = Net(spec.layers, model.exponents, model.weights, spec.loss).predict(x).outputs
    # Both in 2^-12: an input step is 2^-5.
    inputs = [value * 128 for value in memoryview(x).cast("b")]
    errors = [(v - t) ** 2 for v, t in zip(outputs, inputs, strict=True)]
    trained = ask(Predictor(device.store), device.store)
    assert trained.error == pytest.approx(sum(errors) / 20 / 2**24)


def test_mean_squared_error_is_1_at_a_standard_deviation() -> None:
    assert mean_squared_error(bytes([32, 0]), [4096, 0]) == 0
    assert mean_squared_error(bytes([32, 0, 224]), [0, 4096, 0]) == 1
    assert mean_squared_error(bytes([0, 0]), [0, 2048]) == 0.125
