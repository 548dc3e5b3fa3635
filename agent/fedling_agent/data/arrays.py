"""Arrays of a file as lines of a table: which of them are samples, labels, times, recordings.

As people keep such data who train models: `x` has an axis of samples and one of channels, or
before them one of recordings; `y` has a label for each recording, or for each sample.
"""

from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat

from fedling_agent.data import fields as read
from fedling_agent.data import npy
from fedling_agent.data.fields import Wrong, shown
from fedling_agent.data.npz import Array, Arrays
from fedling_agent.data.separated import written
from fedling_agent.data.streams import MAX_NAME, Given, Stream
from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.wire.limits import MAX_LABELS

SAMPLES, LABEL, TIME, RECORDING, CLASSES = "samples", "label", "time", "recording", "classes"
NAMES = {  # what the arrays of each kind are called, however their letters are written
    SAMPLES: ("x", "data"),
    LABEL: ("y", "label", "labels"),
    TIME: ("t", "time", "times"),
    RECORDING: ("recording", "recordings"),
    CLASSES: ("classes", "label_names"),
}
TOLD = 8  # names of arrays, in an error


@dataclass(frozen=True, slots=True)
class Table:
    """Samples with what is said of them, a line each behind a header."""

    stream: Stream
    recording: str  # of all samples or, with a number behind it, of those of one recording
    samples: Array
    label: Array | None
    time: Array | None
    names: Array | None  # of each sample's recording
    classes: tuple[str, ...]  # what the numbers of labels stand for; empty: for themselves

    def lines(self) -> Iterator[str]:
        """Write the header, then a line for each sample. Raises BadInput: an array is damaged."""
        columns, channels = self.stream.columns[:3], self.stream.columns[3:]
        parts: list[tuple[str, Iterator[str]]] = [(columns[0], self._recordings())]
        if self.label is not None:
            parts.append((columns[1], map(written, self._each(self.label, self._label))))
        if self.time is not None:
            parts.append((columns[2], map(written, map(str, self.time.values()))))
        yield ",".join(map(written, (*[name for name, _ in parts], *channels)))
        words = zip(*[words for _, words in parts], strict=False)  # a name alone never ends
        for values, said in zip(self.samples.rows(len(channels)), words, strict=False):
            yield ",".join((*said, *map(repr, values)))

    def place(self, line: int) -> str:
        """Say where the values of a line are. line: the first one, which is the header's, is 1"""
        numbers, at = [], line - 2
        for axis in reversed(self.samples.shape[:-1]):
            at, number = divmod(at, axis)
            numbers.append(str(number))
        return f"{self.samples.name}[{', '.join(reversed(numbers))}]"

    @property
    def _count(self) -> int:
        """How many samples follow each other in one recording."""
        return self.samples.shape[-2]

    def _recordings(self) -> Iterator[str]:
        if self.names is not None:
            return map(written, map(str, self.names.values()))
        if len(self.samples.shape) == 2:
            return repeat(written(self.recording))
        numbers = range(self.samples.shape[0] if self._count else 0)
        return (
            word for n in numbers for word in repeat(written(f"{self.recording}-{n}"), self._count)
        )

    def _each(self, array: Array, word: Callable[[npy.Value], str]) -> Iterator[str]:
        """Give what an array says of each sample, if need be the same for all of a recording."""
        words = map(word, array.values())
        if len(array.shape) == len(self.samples.shape) - 1:
            return words
        return chain.from_iterable(repeat(one, self._count) for one in words)

    def _label(self, value: npy.Value) -> str:
        if not self.classes or isinstance(value, str):
            return str(value)
        if isinstance(value, float) or not 0 <= value < len(self.classes):
            assert self.label is not None
            names = f"{len(self.classes)} names"
            raise BadInput(f"{self.label.title}: {value} is none of the {names} in the file")
        return self.classes[value]


def table(arrays: Arrays, file: str, stream: Stream, given: Given) -> Table:
    """Find out which array is what. Raises BadInput: nobody knows, or their shapes do not fit."""
    found = _kinds(arrays, file, stream)
    samples = found.pop(SAMPLES)
    _check_samples(samples, stream)
    whole, rest = samples.shape[:-1], samples.shape[:1]
    fitting = {
        LABEL: (whole, rest),
        TIME: (whole,),
        RECORDING: (whole,) if len(whole) == 1 else (),
    }
    for kind, shapes in fitting.items():
        if kind in found:
            _check_fits(found[kind], samples, shapes)
    classes = _classes(found[CLASSES]) if CLASSES in found else ()
    label, time, names = (found.get(kind) for kind in fitting)
    for array in (label, names):
        if array is not None and array.header.code in npy.FLOATS:
            raise BadInput(f"{array.title}: allowed: texts, or whole numbers: .astype(int)")
    if names is not None and given.recording:
        raise BadInput(f"{names.title}: is there, and --recording is given")
    recording = given.recording or given.named
    if names is None:
        _check_recording(recording, samples)
    return Table(stream, recording, samples, label, time, names, classes)


def _kinds(arrays: Arrays, file: str, stream: Stream) -> dict[str, Array]:
    """Tell by their names which array is what."""
    found: dict[str, str] = {}
    others: list[str] = []
    for name in arrays.names:
        kind = next((kind for kind, names in NAMES.items() if name.lower() in names), "")
        if kind in found:
            raise BadInput(f"{file}: arrays {found[kind]} and {name}: which one? {_calling()}")
        if kind:
            found[kind] = name
        elif name not in stream.ignore:
            others.append(name)
    if SAMPLES not in found and len(others) == 1:
        found[SAMPLES] = others.pop()
    if SAMPLES not in found or others:
        raise BadInput(f"{file}: {_unknown(others, SAMPLES in found)}")
    return {kind: arrays.array(name) for kind, name in found.items()}


def _unknown(others: list[str], samples: bool) -> str:
    listed = ", ".join(map(shown, others[:TOLD])) + (", ..." if len(others) > TOLD else "")
    if not samples:
        return f"which array has the samples? There are {listed or 'none'}: {_calling()}"
    words = ", ".join(map(settings.quoted, others[:TOLD]))
    return f"unknown arrays {listed}: {_calling()}; to leave them out: ignore = [{words}] in the" \
        " stream's file"  # fmt: skip


def _calling() -> str:
    return "numpy.savez(FILE, x=..., y=...) has samples x, and labels y if they are known"


def _check_samples(samples: Array, stream: Stream) -> None:
    """Raise BadInput unless these can be samples of this stream."""
    shape, channels = samples.shape, len(stream.channels)
    if len(shape) in (2, 3) and shape[-1] == channels and samples.header.code != npy.TEXT:
        return
    names = ", ".join(channel.name for channel in stream.channels)
    words = (
        f"{samples.title}: shape {shape}{' of texts' * (samples.header.code == npy.TEXT)}: allowed:"
        f" numbers, (samples, {channels}) or (recordings, samples, {channels}), since {stream.name}"
        f" has {channels} channels: {names}"
    )
    if len(shape) > 1 and shape[-2] == channels:
        words += f"; .swapaxes(-1, -2) makes it so of {samples.name}"
    elif channels == 1:
        words += f"; [..., None] makes it so of {samples.name}"
    raise BadInput(words)


def _check_fits(array: Array, samples: Array, shapes: tuple[tuple[int, ...], ...]) -> None:
    if array.shape in shapes:
        return
    if not shapes:
        words = "the recordings are the first axis, and are called by its numbers: leave it out"
    else:
        words = "allowed: " + " or ".join(map(str, dict.fromkeys(shapes)))
    about = f"{samples.name} has shape {samples.shape}"
    raise BadInput(f"{array.title}: shape {array.shape}, and {about}: {words}")


def _check_recording(recording: str, samples: Array) -> None:
    """Raise BadInput unless all recordings can be called so."""
    longest = recording if len(samples.shape) == 2 else f"{recording}-{samples.shape[0]}"
    try:
        read.text("recording", longest, MAX_NAME)
    except Wrong as wrong:
        raise BadInput(f"{samples.title}: {wrong}; another one: --recording NAME") from wrong


def _classes(array: Array) -> tuple[str, ...]:
    """Read the names of labels. Raises BadInput."""
    if len(array.shape) != 1 or array.header.code != npy.TEXT or array.shape[0] > MAX_LABELS:
        raise BadInput(f"{array.title}: shape {array.shape}: allowed: up to {MAX_LABELS} texts")
    return tuple(str(value) for value in islice(array.values(), MAX_LABELS))
