"""Answers with the personal model that is in use, else with the fleet's newest here."""

import logging
from array import array
from collections.abc import Sequence
from dataclasses import replace

from fedling_agent.data.recording import Changes
from fedling_agent.data.windows import Cutter, choose, room
from fedling_agent.store.models import StoredModel
from fedling_agent.store.personal import Made
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import IDENTITY, check_channels, read_windows
from fedling_native import INPUT_EXP, VALUE_EXP, Loss, Net, Normaliser, Prediction
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.runtime.slices import Slices
from fedling_protocol.wire.messages import TaskSpec

log = logging.getLogger(__name__)

BY_TRAINING = "by the last training"
BY_RECORDINGS = "by the recordings here"
BY_FLEET = "by the fleet"
BY_NOTHING = "not at all"
MOST_WINDOWS = 4096  # the newest, that a normaliser is computed from if nothing was trained yet
REFIT = 8  # and again when an eighth of its samples has come
ONE = 2**15  # of a probability


@dataclass(frozen=True, slots=True)
class Answer:
    """One prediction: a label, or of a reconstruction its error, large where a window is odd."""

    task: str
    version: int  # of the fleet's model, or of the one that the personal model was made from
    personal: bool
    normalised: str  # BY_TRAINING, BY_RECORDINGS, BY_FLEET or BY_NOTHING
    label: str | None
    probabilities: dict[str, float]  # of every label
    error: float | None  # mean squared error; 1 is the variance of a normalised channel


@dataclass(slots=True)
class _Fit:
    """A normaliser that was computed from recordings."""

    spec: TaskSpec
    normaliser: Normaliser
    samples: int  # of the stream that it covers
    since: int = 0  # that have come


class Predictor:
    """Keeps the net of each task that answers unpacked; call predict() as often as you like."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._nets: dict[str, tuple[bytes, Net]] = {}  # of each task: model hash, net
        self._fits: dict[str, _Fit] = {}  # of each task without a training here

    def predict(self, model: StoredModel, counts: "array[int]") -> Slices[Answer]:
        """counts: int16, window * channels. Raises BadInput (length), Missing: nobody has trained
        the model, or what is normal is not known.

        One slice, but for a model's first answer, or if what is normal must be found out.
        """
        task, spec = model.task, model.spec
        if len(counts) != spec.window * spec.channels:
            raise BadInput(
                f"{len(counts)} values; {task} wants {spec.window} samples of {spec.channels}"
            )
        if model.drawn:
            raise Missing(
                f"nobody has trained {task} yet: model {model.version} is drawn, its answers would"
                " mean nothing; it answers when a first round has ended"
            )
        made = self._store.personal.in_use(model)
        net = None if made is None else (yield from self._personal_net(made))
        if made is not None and net is not None:
            version, normaliser, how = made.version, made.normaliser, _how(spec)
        else:
            made, version = None, model.version
            normaliser, how = yield from self._normaliser(spec)
            net = yield from self._net(model)
        x = normaliser.apply(counts)
        label, probabilities, error = _words(spec, x, net.predict(x))
        return Answer(task, version, made is not None, how, label, probabilities, error)

    def changed(self, changes: Changes) -> None:
        """Something was ingested: what is normal is found out anew when enough has come."""
        for task, fit in list(self._fits.items()):
            if fit.spec.stream == changes.stream:
                fit.since += changes.samples
                if fit.since * REFIT >= fit.samples:
                    del self._fits[task]

    def _net(self, model: StoredModel) -> Slices[Net]:
        known = self._nets.get(model.task)
        if known is not None and known[0] == model.hash:
            return known[1]
        spec, weights = model.spec, (yield from self._store.models.weights(model))
        net = Net(spec.layers, model.exponents, weights, spec.loss)
        self._nets[model.task] = (model.hash, net)
        return net

    def _personal_net(self, made: Made) -> Slices[Net | None]:
        """None: it is damaged, and the fleet's model answers."""
        known = self._nets.get(made.task)
        if known is not None and known[0] == made.hash:
            return known[1]
        try:
            weights = yield from self._store.personal.weights(made)
        except Missing as error:
            log.error("%s; the fleet's model answers", error)
            return None
        assert made.hash is not None  # it is in use
        net = Net(made.spec.layers, made.exponents, weights, made.spec.loss)
        self._nets[made.task] = (made.hash, net)
        return net

    def _normaliser(self, spec: TaskSpec) -> Slices[tuple[Normaliser, str]]:
        """The normaliser the model was trained with here; before a first training, one like it."""
        if spec.normalise == "none":
            return Normaliser.from_tuples([IDENTITY] * spec.channels), BY_NOTHING
        if spec.normalise == "fleet":
            if spec.scale is None:
                raise Missing(
                    f"what is normal in the fleet is not known yet of {spec.task}: it answers when"
                    " the round of statistics has ended"
                )
            return Normaliser.from_tuples(spec.scale), BY_FLEET
        normaliser = self._store.models.normaliser(spec.task)
        if normaliser is not None and len(normaliser.means) == spec.channels:
            return normaliser, BY_TRAINING
        fit = self._fits.get(spec.task)
        if fit is None or fit.spec != spec:  # none yet, or of another task that had its name
            fit = self._fits[spec.task] = yield from _fit(self._store, spec)
        return fit.normaliser, BY_RECORDINGS


def _how(spec: TaskSpec) -> str:
    """Say where the normaliser of a personal model is from."""
    return {"none": BY_NOTHING, "fleet": BY_FLEET}.get(spec.normalise, BY_TRAINING)


def _fit(store: Store, spec: TaskSpec) -> Slices[_Fit]:
    """Fit a normaliser to the newest windows, labelled or not, held out or not."""
    check_channels(store, spec)
    cutter = Cutter(replace(spec, labels=()), None)
    most = min(MOST_WINDOWS, room(spec))
    windows, used = yield from choose(store.recordings, spec.stream, cutter, most)
    if not windows:
        raise Missing(
            f"no recordings of {spec.stream}: what is normal on this device is not known yet; "
            "ingest some samples first"
        )
    read = yield from read_windows(store.recordings, spec, windows, used)
    return _Fit(spec, read.normaliser, len(windows) * spec.stride)


def _words(
    spec: TaskSpec, x: bytes, prediction: Prediction
) -> tuple[str | None, dict[str, float], float | None]:
    """Put label, probabilities and error into an answer, as the loss has them."""
    if spec.loss is Loss.RECONSTRUCTION:
        return None, {}, mean_squared_error(x, prediction.outputs)
    shares = [p / ONE for p in prediction.outputs]
    return spec.labels[prediction.label], dict(zip(spec.labels, shares, strict=True)), None


def mean_squared_error(x: bytes, outputs: Sequence[int]) -> float:
    """Compare int8 inputs in 2^INPUT_EXP with their reconstruction in 2^VALUE_EXP."""
    inputs = memoryview(x).cast("b")
    shift = INPUT_EXP - VALUE_EXP
    total = sum((v - (t << shift)) ** 2 for t, v in zip(inputs, outputs, strict=True))
    return total * 4.0**VALUE_EXP / len(inputs)
