"""`fedling-sim run`: a federation from its first process to its report."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_native import parameter_counts
from fedling_sim import accounts, dataset, record, report, simulation
from fedling_sim.dataset import DeviceData
from fedling_sim.device import Device
from fedling_sim.evaluation import Examiner, predict
from fedling_sim.federation import Federation
from fedling_sim.observer import Observer
from fedling_sim.progress import Progress
from fedling_sim.record import DeviceBytes, Record
from fedling_sim.simulation import Scenario

TICK_S = 0.2
LOOKS = 4  # devices asked in a tick: all of twenty once a second
FETCH_S = 60.0  # for the final model, once the weather is fair


class OutTaken(RuntimeError):
    """The directory for the processes' files is not empty."""


def prepare(
    task: Path, seed: int | None, devices: int | None, rounds: int | None
) -> tuple[Scenario, list[DeviceData]]:
    """Make the scenario that the command line asks for. Raises SettingsError."""
    scenario = simulation.load(task, seed=seed, devices=devices, rounds=rounds)
    table = scenario.simulation
    data = dataset.load(table.data, scenario.task.spec, table.devices)
    return simulation.for_devices(scenario, len(data), len(dataset.names(table.data))), data


def run(scenario: Scenario, data: list[DeviceData], directory: Path, progress: Progress) -> Record:
    """Play all rounds and return the record. Raises ChildDied and what the parts raise."""
    examiner = Examiner(scenario, data)
    with Federation(scenario, data, directory, progress.say) as federation:
        result = new_record(federation, examiner)
        observer = Observer(federation, result, examiner)
        progress.say(f"{len(data)} devices and the aggregator start")
        federation.start()
        observer.start()
        play(federation, observer, progress)
        progress.say("every device tests the final model")
        test(federation, result)
        close_books(federation, observer)
    return result


def new_record(federation: Federation, examiner: Examiner) -> Record:
    """Make the record of a run that begins."""
    task = federation.scenario.task
    return Record(
        task=task.name,
        seed=federation.scenario.seed,
        devices=[device.name for device in federation.devices],
        parameters=sum(parameter_counts(task.spec.layers)),
        test_windows=examiner.windows,
    )


def play(federation: Federation, observer: Observer, progress: Progress) -> None:
    """Make weather and watch, until all rounds are done."""
    while not observer.done:
        start = time.monotonic()
        federation.weather(observer.second)
        federation.check()
        observer.look(LOOKS)
        progress.show(observer.now(), observer.record.events)
        time.sleep(max(0.0, start + TICK_S - time.monotonic()))
    rounds = observer.record.rounds
    observer.record.learning_s = rounds[-1].closed_s - rounds[0].opened_s
    progress.close()


def test(federation: Federation, result: Record) -> None:
    """Test the final model by each device's own `predict`, on what it has never stored."""
    task = federation.scenario.task.name
    federation.fair_weather()
    federation.wait_for_model(result.rounds[-1].version, FETCH_S)
    federation.wait_for_receipts(FETCH_S)
    right = {device.name: predict(device, task) for device in federation.devices}
    total = {device.name: len(device.data.tests) for device in federation.devices}
    result.accuracy_by_device = {
        name: right[name] / count for name, count in total.items() if count
    }
    result.accuracy = sum(right.values()) / max(1, sum(total.values()))


def close_books(federation: Federation, observer: Observer) -> None:
    """Stop the federation; then verify, and count."""
    result = observer.record
    federation.stop()
    observer.finish()
    result.bytes = [_bytes(federation, device) for device in federation.devices]
    result.faults = accounts.faults(federation.aggregator, federation.devices, result.bytes)
    verify(federation, result)


def verify(federation: Federation, result: Record) -> None:
    """Have the aggregator recompute every model."""
    checks = federation.aggregator.command("round", "verify", "--all")
    models, wrong = checks["models"], checks["faults"]
    audited = sum(model["from"] == "updates" for model in models)
    result.verified_well = not wrong
    result.verified = (
        f"{len(models)} models recomputed bit for bit, {audited} of them from the devices' updates"
        if not wrong
        else f"{wrong} of {len(models)} models differ when they are recomputed"
    )


def _bytes(federation: Federation, device: Device) -> DeviceBytes:
    up, down = device.traffic()
    seen = federation.proxy.traffic(device.name)
    return DeviceBytes(device.name, up, down, seen.up, seen.down)


def write(result: Record, directory: Path) -> Path:
    """Write run.json and the report; returns the report's path."""
    directory.mkdir(parents=True, exist_ok=True)
    record.save(result, directory)
    return report.write(result, directory)


@contextmanager
def workplace(out: Path, *, keep: bool) -> Iterator[Path]:
    """Make a directory for the processes' files: temporary, or kept beside the report."""
    if keep:
        directory = out / "state"
        if directory.exists():
            raise OutTaken(f"{directory}: is there already; remove it or name another --out")
        directory.mkdir(parents=True)
        yield directory
        return
    scratch = tempfile.mkdtemp(prefix="fedling-sim-")
    try:
        yield Path(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
