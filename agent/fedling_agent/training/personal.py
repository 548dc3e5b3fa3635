"""How a personal model is made of a device's own windows: what trains it, and what chooses.

A model that answers on one device only: the fleet's newest, trained further on the windows of this
device, and used if it does better on windows that did not train it. All of it is decided here, by
functions without clock, disk or dice. Evidence: bench/personal.py.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from fedling_agent.data.windows import PIECE, Windows, room_for_tests
from fedling_agent.store.personal import Made, is_same
from fedling_native import Loss
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime.slices import Slices
from fedling_protocol.wire.messages import Hits, TaskSpec, Training

EPOCHS = 20  # of the task's own training; with 10 to 40 the gain is the same within half a point
CHOOSING = 4  # the newest quarter of each label's windows chooses
LEAST_MORE = 2  # windows that must be told right in addition: a single one may be luck
AGAIN = 4  # it is made anew when a quarter of what trained it has come


class Hindrance(Enum):
    """Why no personal model is made now, and how a person is told."""

    LOSS = "only tasks that tell labels apart have personal models"
    MODEL = "nobody has trained the fleet's model yet"
    PLAN = "no plan was seen yet that says how to train"
    EXAMPLES = "too few examples of a label"
    DONE = "made of the newest model and of what is here"
    REST = "the last try was less than an hour ago"
    BUSY = "a round comes first"


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides whether a personal model is made now, but for the conditions."""

    spec: TaskSpec | None  # of the fleet's newest model; None: none is here
    base: bytes  # its hash
    drawn: bool  # nobody has trained it
    planned: bool  # a plan has said how to train
    labelled: Mapping[str, int]  # samples of each label of the task
    stock: int  # see stock_of()
    last: Made | None  # what was made last
    rested: bool
    busy: bool  # a round has the training slot, or waits for it


def hindrance(now: Situation) -> Hindrance | None:
    """Say why no personal model is made now; None: nothing hinders, if conditions allow it."""
    spec = now.spec
    if spec is None or now.drawn:
        return Hindrance.MODEL
    if spec.loss is not Loss.SOFTMAX:
        return Hindrance.LOSS
    if not now.planned:
        return Hindrance.PLAN
    least = spec.window + (CHOOSING - 1) * spec.stride  # samples of as many windows
    if any(now.labelled.get(label, 0) < least for label in spec.labels):
        return Hindrance.EXAMPLES
    if now.last is not None and not is_past(now.last, spec, now.base, now.stock):
        return Hindrance.DONE
    if not now.rested:
        return Hindrance.REST
    return Hindrance.BUSY if now.busy else None


def is_past(last: Made, spec: TaskSpec, base: bytes, stock: int) -> bool:
    """Whether what was made last is not of the newest model, or of too little that is here."""
    if last.base != base or not is_same(last.spec, spec):
        return True
    return (stock - last.stock) * AGAIN >= last.examples * spec.stride


def stock_of(labelled: Mapping[str, int], evicted: int) -> int:
    """Count what has come with a label of the task: it grows also where old samples make room."""
    return sum(labelled.values()) + evicted


class Parted(NamedTuple):
    """Windows that train a personal model and windows that choose; no sample is in both."""

    train: Windows
    choose: Windows


def part(windows: Windows, spec: TaskSpec) -> Slices[Parted]:
    """Part windows by time: of each label the newest ones choose, those that touch them are left
    out, all others train.

    windows: oldest first, each covered by one label. Both parts have the names of `windows`, so
    the same recordings belong to them.
    """
    of_label = [array("I") for _ in spec.labels]
    for at, label in enumerate(windows.labels):
        of_label[label].append(at)
        if at % PIECE == PIECE - 1:
            yield
    most = room_for_tests(spec, len(windows))
    train, choose = bytearray(len(windows)), bytearray(len(windows))
    for places in of_label:
        count = min(len(places) // CHOOSING, len(places) * most // max(1, len(windows)))
        cut = len(places) - count
        for at in places[cut:]:
            choose[at] = 1
        for at in places[: _untouched(windows, places, cut, spec.window)]:
            train[at] = 1
        yield
    return Parted((yield from _taken(windows, train)), (yield from _taken(windows, choose)))


def is_enough(parted: Parted, spec: TaskSpec) -> bool:
    """Whether each label of the task has windows in both parts: what is in neither would be
    forgotten, and nothing would show it."""
    every = set(range(len(spec.labels)))
    return set(parted.train.labels) == every == set(parted.choose.labels)


def is_better(fleets: Hits, own: Hits) -> bool:
    """Whether a personal model answers in place of the fleet's, which was tested on the same."""
    return own.right >= fleets.right + LEAST_MORE


def further(training: Training) -> Training:
    """Tell how the fleet's model is trained further: as in a round, for longer."""
    return replace(training, epochs=EPOCHS)


def _untouched(windows: Windows, places: Sequence[int], cut: int, window: int) -> int:
    """Tell how many of a label's windows before `cut` have no sample of those from there on."""
    if cut == len(places):
        return cut
    first, recording = windows.firsts[places[cut]], windows.recordings[places[cut]]
    stop = cut
    while stop and windows.recordings[places[stop - 1]] == recording:
        if windows.firsts[places[stop - 1]] + window <= first:
            break
        stop -= 1
    return stop


def _taken(windows: Windows, wanted: bytearray) -> Slices[Windows]:
    """Copy the windows that are wanted, in their order."""
    taken = Windows(windows.names)
    for number, at in enumerate(_places(wanted)):
        revision, label = windows.revisions[at], windows.labels[at]
        taken.add(windows.recordings[at], (windows.firsts[at],), revision, label)
        if number % PIECE == PIECE - 1:
            yield
    return taken


def _places(wanted: bytearray) -> Iterator[int]:
    return (at for at, one in enumerate(wanted) if one)
