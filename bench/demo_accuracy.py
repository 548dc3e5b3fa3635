"""The whole demo, with real processes, beside a float twin that learns from the same batches.

    python -m bench.demo_accuracy [--seeds 3] [--rounds N]

demo_accuracy            mean over the seeds: final model, test windows, each device's own `predict`
twin_accuracy            the same of float nets: first model dequantised, plain float arithmetic on
                         the same frozen windows, order of batches, participation and weights
demo_minus_float_points  demo_accuracy - twin_accuracy, percentage points
demo_participation       mean share of the devices that were accepted in a round
demo_seconds             of learning, the longest run
demo_came_back           devices that left in mid-training and came back, the fewest of a run
demo_late                updates told "late", the fewest of a run
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.report import Report
from bench.watch_federation import FloatServer
from examples.watch import fetch
from fedling_agent.store import identity
from fedling_agent.store.store import Store as DeviceStore
from fedling_agent.training import replay
from fedling_broker.store.rounds import DecisionRow
from fedling_broker.store.store import Store
from fedling_protocol.wire.identity import device_id
from fedling_sim import run
from fedling_sim.federation import FLEET
from fedling_sim.progress import Lines
from fedling_sim.record import Record
from fedling_sim.simulation import Scenario
from fedling_sim.splitting import DeviceData
from tests.native import float_twin as twin
from tests.native import kernel
from tests.native import reference as ref

WATCH = Path(fetch.__file__).parent
SEEDS = 3


@dataclass(frozen=True, slots=True)
class Member:
    """A device as the twin needs it: its windows by id, its store, who it is."""

    recordings: dict[str, NDArray[np.int16]]  # [n][channels], what was ingested
    tests: NDArray[np.int16]  # [n][window][channels]
    classes: NDArray[np.int64]  # of the tests
    store: DeviceStore
    secret: bytes

    def training(self, plan_id: bytes) -> dict[str, Any]:
        """Frozen windows, labels and order, as `fedling-agent replay --order --json` tells them."""
        return replay.export(self.store, FLEET, self.secret, plan_id)

    def windows(self, training: dict[str, Any]) -> NDArray[np.int16]:
        """The frozen windows [n][window][channels]."""
        size = training["window"]
        return np.stack([self.recordings[r][i : i + size] for r, i, _, _ in training["examples"]])


# --- the twin -------------------------------------------------------------------------------------


def members(scenario: Scenario, data: list[DeviceData], directory: Path) -> dict[str, Member]:
    """By device id."""
    found = {}
    for device in data:
        state = directory / "devices" / device.name / "state"
        who = identity.load(state)
        assert who is not None
        store = DeviceStore(state, read_only=True)
        found[device_id(who.key.public)] = _member(device, scenario, store, who.secret)
    return found


def _member(device: DeviceData, scenario: Scenario, store: DeviceStore, secret: bytes) -> Member:
    spec = scenario.task.spec
    shape = (spec.window, spec.channels)
    return Member(
        {  # a watch has each recording in one part
            part.recording: np.array([row.counts for row in part.rows], np.int16)
            for part in device.training
        },
        np.stack([np.array(test.counts).reshape(shape) for test in device.tests]),
        np.array([spec.labels.index(test.label) for test in device.tests]),
        store,
        secret,
    )


def first_model(scenario: Scenario, store: Store) -> twin.FloatNet:
    """Version 1, dequantised."""
    spec, row = scenario.task.spec, store.models.rows(scenario.task.name)[0]
    shapes = [kernel.shape(layer) for layer in spec.layers]
    data = store.models.bytes_of(row, spec)
    return twin.dequantise(ref.load(shapes, row.exponents, data, ref.Loss(spec.loss)))


def train(net: twin.FloatNet, member: Member, plan_id: bytes) -> None:
    """What the device did in this round, in floats."""
    training = member.training(plan_id)
    windows = member.windows(training)
    inputs = twin.normalise(windows, windows)
    classes = np.array([label for _, _, _, label in training["examples"]])
    size = training["batch"]
    for order in training["order"]:
        for at in range(0, len(order), size):
            batch = order[at : at + size]
            twin.step(net, inputs[batch], classes[batch], training["lr_q24"] / 2**24)


def twin_of(scenario: Scenario, data: list[DeviceData], directory: Path) -> float:
    """Its accuracy at the end."""
    fleet = members(scenario, data, directory)
    store = Store(directory / "aggregator" / "state")
    momentum = scenario.task.optimiser.parameters.get("momentum_q8", 0) / 256
    server = FloatServer(first_model(scenario, store), momentum)
    last: dict[str, bytes] = {}
    for plan in store.rounds.plans(scenario.task.name):
        accepted = store.rounds.members(scenario.task.name, plan.plan_id)
        play_round(server, fleet, plan.plan_id, accepted)
        last |= {row.device: plan.plan_id for row in accepted}
    right = [
        own for device, plan_id in last.items() for own in tested(server, fleet[device], plan_id)
    ]
    store.close()
    for member in fleet.values():
        member.store.close()
    return float(np.mean(right))


def play_round(
    server: FloatServer, fleet: dict[str, Member], plan_id: bytes, accepted: list[DecisionRow]
) -> None:
    trained = []
    for row in accepted:
        net = server.copy()
        train(net, fleet[row.device], plan_id)
        trained.append(net)
    server.add(trained, [row.weight for row in accepted])


def tested(server: FloatServer, member: Member, plan_id: bytes) -> list[bool]:
    """Which of a device's test windows are right; scaled by what it last trained on."""
    like = member.windows(member.training(plan_id))
    found = twin.labels(server.net, twin.normalise(member.tests, like))
    return list(found == member.classes)


# --- the bench ------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="The demo beside a float twin.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs (default %(default)s)")
    parser.add_argument("--rounds", type=int, help="fewer than the demo has, for a try")
    args = parser.parse_args()
    print(fetch.fetch(WATCH / "data"))
    report = Report("demo_accuracy")
    runs = [play(report, seed, args.rounds) for seed in range(1, args.seeds + 1)]
    demos = [record for record, _ in runs]
    accuracy = float(np.mean([record.accuracy for record in demos]))
    floats = float(np.mean([other for _, other in runs]))
    report.figure("demo_accuracy", round(accuracy, 4))
    report.figure("twin_accuracy", round(floats, 4))
    report.figure("demo_minus_float_points", round(100 * (accuracy - floats), 2))
    report.figure("demo_rounds", len(demos[0].rounds))
    report.figure("demo_participation", round(float(np.mean([d.participation for d in demos])), 3))
    report.figure("demo_seconds", round(max(d.learning_s for d in demos), 1))
    report.figure("demo_came_back", min(len(d.came_back) for d in demos))
    report.figure("demo_late", min(sum(len(r.late) for r in d.rounds) for d in demos))
    report.finish()


def play(report: Report, seed: int, rounds: int | None) -> tuple[Record, float]:
    """One run and its twin's accuracy; a row of the report."""
    scenario, data = run.prepare(WATCH / "task.toml", seed, None, rounds)
    with tempfile.TemporaryDirectory(prefix="fedling-bench-") as name:
        record = run.run(scenario, data, Path(name), Lines(Console()))
        floats = twin_of(scenario, data, Path(name))
    assert record.sound, [record.verified, *record.faults]
    report.row(
        seed=seed,
        accuracy=record.accuracy,
        float_twin=round(floats, 4),
        participation=record.participation,
        seconds=round(record.learning_s, 1),
        came_back=len(record.came_back),
        late=sum(len(r.late) for r in record.rounds),
        kb_a_round=round(record.bytes_a_round / 1000, 1),
    )
    return record, floats


if __name__ == "__main__":
    main()
