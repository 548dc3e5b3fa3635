"""Personal models: what the fleet's model gains on a device that it has never seen.

The task of examples/watch, twenty watches of ten people. One person at a time is left out: the
other eighteen watches learn for 40 rounds, twelve in each, with the server of the broker. Then the
two watches of that person, whose last fifth of each recording nothing has seen, make a personal
model of what lies before it, as the agent does: the windows are parted by
fedling_agent.training.personal, trained by LocalSgd, chosen by HeldOutTest.

    personal_gain_points         chosen model less the fleet's on the last fifth, in points of
                                 accuracy: mean over the twenty watches and three seeds
    personal_worst_points        the watch that gained least, or lost most: mean over three seeds
    personal_worst_run_points    the same of one watch and one seed; a window is up to 7.1 points
    personal_kept                the share of watches and seeds that chose their own
    personal_stale_gain_points   the same, with a personal model of round 20 against the fleet's
                                 model of round 40
    personal_cnn_*               the same with the network of examples/watch/cnn.toml

With --all also what was rejected: other lengths, the last layer alone, other rules.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.report import Report
from bench.support.kernel_fleet import Fleet
from bench.watch_federation import CNN, MLP, STRIDE, WATCH, WINDOW, Way, devices, read_recordings
from examples.watch import fetch
from fedling_agent.data.windows import Windows
from fedling_agent.training import personal
from fedling_agent.training.held_out import HeldOutTest
from fedling_agent.training.job import Recipe
from fedling_agent.training.local_sgd import LocalSgd
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.aggregation.state import ServerState
from fedling_native import Layer, Loss, Normaliser
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.messages import Hits, TaskSpec, Training
from tests.native import kernel

SEEDS, ROUNDS, HALF, COHORT = 3, 40, 20, 12
WATCHES = 2  # of a person, one after the other in the data
CHANNELS = 6
WAYS = (
    Way("personal", momentum=192),
    Way("personal_cnn", momentum=192, lr_q24=3_355_443, shapes=CNN),
)
assert WAYS[0].shapes is MLP

Rule = Callable[[Hits, Hits], bool]


@dataclass(frozen=True, slots=True)
class Part:
    """Windows as a job has them: int16 windows, then one class byte each."""

    data: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Owner:
    """What one watch knows, and the last fifth that it does not."""

    normaliser: Normaliser  # of all windows that it has
    train: Part
    choose: Part
    test: Part


@dataclass(frozen=True, slots=True)
class Tried:
    """A personal model beside the fleet's."""

    fleets: Hits  # on what chooses
    own: Hits
    fleets_test: float  # share of the last fifth
    own_test: float

    def gain(self, rule: Rule) -> float:
        """Points that the chosen one gains on the last fifth."""
        better = rule(self.fleets, self.own)
        return 100 * (self.own_test - self.fleets_test) if better else 0.0


# --- the data -------------------------------------------------------------------------------------


@cache
def owners() -> list[Owner]:
    index = json.loads((WATCH / "data" / "devices.json").read_text())
    return [owner(device["file"]) for device in index["devices"]]


def owner(file: str) -> Owner:
    recordings = list(read_recordings(WATCH / "data" / file))
    windows, tests = Windows(str(n) for n in range(len(recordings))), Windows()
    for number, (label, counts) in enumerate(recordings):
        cut = len(counts) * 4 // 5
        windows.add(number, range(0, cut - WINDOW + 1, STRIDE), 0, label)
        tests.add(
            number, range(-(-cut // STRIDE) * STRIDE, len(counts) - WINDOW + 1, STRIDE), 0, label
        )
    samples = [counts for _, counts in recordings]
    parted = finish(personal.part(windows, spec(())))
    fit = Normaliser.fit([cut_out(samples, windows).tobytes()], CHANNELS)
    return Owner(fit, *(pack(samples, one) for one in (*parted, tests)))


def spec(layers: tuple[Layer, ...]) -> TaskSpec:
    return TaskSpec(
        "watch", "watch", WINDOW, STRIDE, CHANNELS, "device", fetch.LABELS, layers, Loss.SOFTMAX
    )


def cut_out(samples: Sequence[NDArray[np.int16]], windows: Windows) -> NDArray[np.int16]:
    places = zip(windows.recordings, windows.firsts, strict=True)
    return np.stack([samples[number][first : first + WINDOW] for number, first in places])


def pack(samples: Sequence[NDArray[np.int16]], windows: Windows) -> Part:
    return Part(cut_out(samples, windows).tobytes() + bytes(windows.labels), len(windows))


# --- a federation without one person --------------------------------------------------------------


def learn(way: Way, person: int, seed: int) -> tuple[ServerState, ServerState]:
    """The fleet's model halfway and at the end."""
    first = WATCHES * person
    others = [one for at, one in enumerate(devices()) if not first <= at < first + WATCHES]
    layers = tuple(kernel.layer(shape) for shape in way.shapes)
    state, dice = initial_state(layers, seed.to_bytes(32, "big")), np.random.default_rng(seed)
    fleet, half = Fleet(others, layers, way, COHORT, dice, state), state
    for done in range(1, ROUNDS + 1):
        fleet.round()
        half = fleet.state if done == HALF else half
    return half, fleet.state


# --- a personal model -----------------------------------------------------------------------------


def try_out(
    way: Way, state: ServerState, of: int, seed: int, epochs: int = personal.EPOCHS, frozen: int = 0
) -> Tried:
    me = owners()[of]
    recipe = recipe_of(way, state, me, hashlib.sha256(b"%d %d" % (of, seed)).digest())
    recipe = replace(recipe, training=replace(recipe.training, epochs=epochs, frozen=frozen))
    run = LocalSgd(recipe, state.view, memoryview(me.train.data))
    while not run.finished:
        run.step()
    own = run.checkpoint().weights
    return Tried(
        tested(recipe, state.view, me.choose), tested(recipe, own, me.choose),
        share(tested(recipe, state.view, me.test)), share(tested(recipe, own, me.test)),
    )  # fmt: skip


def recipe_of(way: Way, state: ServerState, me: Owner, seed: bytes) -> Recipe:
    training = Training(way.epochs, way.batch, way.lr_q24, 1, 1000, 0, 1, 0, 0, 0, 0)
    return Recipe(
        plan_id=bytes(16),
        layers=tuple(kernel.layer(shape) for shape in way.shapes),
        loss=Loss.SOFTMAX,
        exponents=state.exponents,
        training=personal.further(training),
        seed=seed,
        count=me.train.count,
        values=WINDOW * CHANNELS,
        normaliser=me.normaliser,
        frozen_hash=bytes(32),
        examples_sum=bytes(32),
        base_sum=bytes(32),
    )


def tested(recipe: Recipe, weights: bytes, part: Part) -> Hits:
    test = HeldOutTest(replace(recipe, tests=part.count), [weights], part.data, None)
    while not test.finished:
        test.step()
    return Hits(*map(sum, zip(*test.tally.tested, strict=True)))


def share(hits: Hits) -> float:
    return hits.right / hits.windows


# --- what comes of it -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """The models of a federation that one watch had no part in."""

    watch: int
    seed: int
    half: ServerState
    last: ServerState


def play(way: Way, seeds: int) -> list[Ended]:
    played = []
    for seed in range(1, seeds + 1):
        for person in range(len(devices()) // WATCHES):
            models = learn(way, person, seed)
            first = WATCHES * person
            played += [Ended(watch, seed, *models) for watch in range(first, first + WATCHES)]
    return played


def tell(report: Report, way: Way, played: list[Ended]) -> None:
    tried = [try_out(way, one.last, one.watch, one.seed) for one in played]
    gains = [one.gain(personal.is_better) for one in tried]
    of_watches = []
    for watch in range(len(devices())):
        mine = [at for at, one in enumerate(played) if one.watch == watch]
        of_watches.append(float(np.mean([gains[at] for at in mine])))
        report.row(
            way=way.name,
            watch=watch,
            fleets=float(np.mean([tried[at].fleets_test for at in mine])),
            chosen=float(np.mean([tried[at].fleets_test + gains[at] / 100 for at in mine])),
            gains=" ".join(f"{gains[at]:+.1f}" for at in mine),
            choose=tried[mine[0]].fleets.windows,
            test=owners()[watch].test.count,
        )
    kept = [personal.is_better(one.fleets, one.own) for one in tried]
    report.figure(
        f"{way.name}_fleets_accuracy", round(float(np.mean([t.fleets_test for t in tried])), 4)
    )
    report.figure(f"{way.name}_gain_points", round(float(np.mean(gains)), 2))
    report.figure(f"{way.name}_worst_points", round(min(of_watches), 2))
    report.figure(f"{way.name}_worst_run_points", round(min(gains), 2))
    report.figure(f"{way.name}_kept", round(float(np.mean(kept)), 3))
    report.figure(f"{way.name}_stale_gain_points", round(stale_gain(way, played, tried), 2))


def stale_gain(way: Way, played: list[Ended], tried: list[Tried]) -> float:
    """What a personal model of half the rounds gains on the fleet's model of all of them."""
    gains = []
    for one, now in zip(played, tried, strict=True):
        then = try_out(way, one.half, one.watch, one.seed)
        chosen = personal.is_better(then.fleets, then.own)
        gains.append(100 * (then.own_test - now.fleets_test) if chosen else 0.0)
    return float(np.mean(gains))


RULES: dict[str, Rule] = {
    "always": lambda _fleets, _own: True,
    "one more": lambda fleets, own: own.right > fleets.right,
    "two more": personal.is_better,
    "three more": lambda fleets, own: own.right >= fleets.right + 3,
}


def tell_rejected(report: Report, way: Way, played: list[Ended]) -> None:
    last = len(way.shapes) - 1
    for epochs, frozen in ((5, 0), (10, 0), (20, 0), (40, 0), (20, last)):
        tried = [try_out(way, one.last, one.watch, one.seed, epochs, frozen) for one in played]
        for name, rule in RULES.items():
            gains = [one.gain(rule) for one in tried]
            report.row(
                way=way.name, epochs=epochs, frozen=frozen, rule=name,
                gain=float(np.mean(gains)), worst=min(gains),
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Personal models beside the fleet's.")
    parser.add_argument("--all", action="store_true", help="also what was rejected")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs (default %(default)s)")
    args = parser.parse_args()
    report = Report("personal")
    for way in WAYS:
        played = play(way, args.seeds)
        tell(report, way, played)
        if args.all:
            tell_rejected(report, way, played)
    report.finish()


if __name__ == "__main__":
    main()
