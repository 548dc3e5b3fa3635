"""Answers with the newest model that the device holds."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedling_agent.store.models import StoredModel
from fedling_agent.store.recordings import Recording
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import IDENTITY, check_channels
from fedling_native import INPUT_EXP, VALUE_EXP, Loss, Net, Normaliser, Prediction
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.wire.messages import TaskSpec

BY_TRAINING = "by the last training"
BY_RECORDINGS = "by the recordings here"
BY_NOTHING = "not at all"
MOST_WINDOWS = 4096  # the newest, that a normaliser is computed from if nothing was trained yet
ONE = 2**15  # of a probability


@dataclass(frozen=True, slots=True)
class Answer:
    """One prediction: a label, or of a reconstruction its error, large where a window is odd."""

    task: str
    version: int  # of the model
    normalised: str  # BY_TRAINING, BY_RECORDINGS or BY_NOTHING
    label: str | None
    probabilities: dict[str, float]  # of every label
    error: float | None  # mean squared error; 1 is the variance of a normalised channel


class Predictor:
    """Keeps the newest net of each task unpacked; call predict() as often as you like."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._nets: dict[str, tuple[bytes, Net]] = {}  # of each task: model hash, net
        self._fits: dict[str, tuple[int, Normaliser]] = {}  # of each task: samples, from recordings

    def predict(self, task: str, counts: "array[int]") -> Answer:
        """counts: int16, window * channels. Raises Missing ("no model yet"), BadInput (length)."""
        model = self._store.models.newest(task)
        if model is None:
            raise Missing(f"no model yet of {task}")
        spec = model.spec
        if len(counts) != spec.window * spec.channels:
            raise BadInput(
                f"{len(counts)} values; {task} wants {spec.window} samples of {spec.channels}"
            )
        normaliser, how = self._normaliser(spec)
        x = normaliser.apply(counts)
        label, probabilities, error = _words(spec, x, self._net(model).predict(x))
        return Answer(task, model.version, how, label, probabilities, error)

    def _net(self, model: StoredModel) -> Net:
        known = self._nets.get(model.task)
        if known is not None and known[0] == model.hash:
            return known[1]
        spec, weights = model.spec, self._store.models.weights(model)
        net = Net(spec.layers, model.exponents, weights, spec.loss)
        self._nets[model.task] = (model.hash, net)
        return net

    def _normaliser(self, spec: TaskSpec) -> tuple[Normaliser, str]:
        """The one the model was trained with here; before a first training, one like it."""
        if spec.normalise == "none":
            return Normaliser.from_tuples([IDENTITY] * spec.channels), BY_NOTHING
        normaliser = self._store.models.normaliser(spec.task)
        if normaliser is not None and len(normaliser.means) == spec.channels:
            return normaliser, BY_TRAINING
        return self._from_recordings(spec), BY_RECORDINGS

    def _from_recordings(self, spec: TaskSpec) -> Normaliser:
        check_channels(self._store, spec)
        recordings = self._store.recordings.of_stream(spec.stream)
        samples = sum(recording.samples for recording in recordings)
        known = self._fits.get(spec.task)
        if known is not None and known[0] == samples:
            return known[1]
        chosen = _newest(spec, recordings)
        if not chosen:
            raise Missing(
                f"no recordings of {spec.stream}: what is normal on this device is not known yet; "
                "ingest some samples first"
            )

        def windows() -> Iterator[bytes]:
            for recording, first in chosen:
                yield self._store.recordings.samples(recording, first, spec.window)

        normaliser = Normaliser.fit(windows, spec.channels)
        self._fits[spec.task] = (samples, normaliser)
        return normaliser


def _words(
    spec: TaskSpec, x: bytes, prediction: Prediction
) -> tuple[str | None, dict[str, float], float | None]:
    """Label, probabilities and error, as the loss has them."""
    if spec.loss is Loss.RECONSTRUCTION:
        return None, {}, mean_squared_error(x, prediction.outputs)
    shares = [p / ONE for p in prediction.outputs]
    return spec.labels[prediction.label], dict(zip(spec.labels, shares, strict=True)), None


def mean_squared_error(x: bytes, outputs: Sequence[int]) -> float:
    """Between int8 inputs in 2^INPUT_EXP and their reconstruction in 2^VALUE_EXP."""
    inputs = memoryview(x).cast("b")
    shift = INPUT_EXP - VALUE_EXP
    total = sum((v - (t << shift)) ** 2 for t, v in zip(inputs, outputs, strict=True))
    return total * 4.0**VALUE_EXP / len(inputs)


def _newest(spec: TaskSpec, recordings: list[Recording]) -> list[tuple[Recording, int]]:
    """The newest windows, labelled or not."""
    chosen: list[tuple[Recording, int]] = []
    room = min(MOST_WINDOWS, (2**24 - 1) // spec.window)
    for recording in reversed(recordings):
        last = (recording.samples - spec.window) // spec.stride * spec.stride
        starts = range(last, -1, -spec.stride)
        chosen += [(recording, first) for first in starts[: room - len(chosen)]]
    return chosen
