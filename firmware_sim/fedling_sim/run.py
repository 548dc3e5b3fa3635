"""`fedling-sim run`: a federation from its first process to its report."""

import time
from collections import Counter
from pathlib import Path

from fedling_native import parameter_counts
from fedling_protocol.disk.errors import writing
from fedling_sim import accounts, alone, dataset, record, report, simulation
from fedling_sim.device import Device
from fedling_sim.evaluation import Examiner, predict
from fedling_sim.federation import Federation
from fedling_sim.observer import Observer
from fedling_sim.progress import Progress
from fedling_sim.record import DeviceBytes, Record
from fedling_sim.simulation import Scenario
from fedling_sim.splitting import DeviceData

TICK_S = 0.2
LOOKS = 4  # devices asked in a tick: all of twenty once a second
FETCH_S = 60.0  # for the final model, once the weather is fair


def prepare(
    task: Path, seed: int | None, devices: int | None, rounds: int | None
) -> tuple[Scenario, list[DeviceData]]:
    """Make the scenario that the command line asks for. Raises SettingsError."""
    scenario = simulation.load(task, seed=seed, devices=devices, rounds=rounds)
    table = scenario.simulation
    data = dataset.load(table.data, scenario.stream, scenario.task.spec, table.devices)
    whole = len(dataset.sources(table.data))
    scenario = simulation.for_devices(scenario, len(data), whole)
    simulation.check_able(scenario, [device.windows for device in data])
    return scenario, data


def run(
    scenario: Scenario,
    data: list[DeviceData],
    directory: Path,
    progress: Progress,
    *,
    plain: bool = False,
) -> Record:
    """Play all rounds and return the record; after Ctrl-C that of the rounds that were done.

    plain: without TLS and enrolment.
    Raises ChildDied and what the parts raise; KeyboardInterrupt if no round was done.
    """
    begin = time.monotonic()
    with Federation(scenario, data, directory, progress.say, plain=plain) as federation:
        examiner = Examiner(scenario, federation.devices)
        result = new_record(federation, examiner)
        observer = Observer(federation, result, examiner)
        introduce(result, progress)
        federation.start()
        observer.start()
        try:
            wait_for_round(federation, observer)
            result.first_round_s = time.monotonic() - begin
            progress.say(f"the first round opened {result.first_round_s:.1f} s after the start")
            play(federation, observer, progress)
            finish(federation, observer, progress)
        except KeyboardInterrupt:
            if not result.rounds:
                raise
            keep(federation, observer, progress)
    return result


def introduce(result: Record, progress: Progress) -> None:
    """Say what is learned, from what, and how right one is who only guesses."""
    for note in result.notes:
        progress.say(f"note: {note}")
    devices, labels = len(result.devices), len(result.tests_by_label)
    guess = result.majority
    progress.say(
        f"{devices} devices learn together to tell {labels} labels apart"
        + (f"; always to say {guess[0]!r} is right in {100 * guess[1]:.0f} %" if guess else "")
    )


def finish(federation: Federation, observer: Observer, progress: Progress) -> None:
    """Test the final model, learn alone for comparison, and see whether all adds up."""
    result = observer.record
    progress.say("every device tests the final model, and learns alone for comparison")
    test(federation, result)
    learn_alone(federation, observer.examiner, result)
    close_books(federation, observer)


def keep(federation: Federation, observer: Observer, progress: Progress) -> None:
    """Bring what was done before Ctrl-C into the record; nothing is tested or audited any more."""
    progress.close()
    progress.say("interrupted: the rounds that were done are kept")
    observer.record.interrupted = True
    federation.stop()
    observer.finish()
    observer.record.bytes = [_bytes(federation, device) for device in federation.devices]


def new_record(federation: Federation, examiner: Examiner) -> Record:
    """Make the record of a run that begins."""
    task, data = federation.scenario.task, [device.data for device in federation.devices]
    tests = Counter(test.label for device in data for test in device.tests)
    return Record(
        tests_by_label={label: tests[label] for label in task.spec.labels},
        notes=dataset.notes(data, task.spec),
        training_by_device={device.name: device.windows for device in data},
        tests_by_device={device.name: len(device.tests) for device in data},
        task=task.name,
        seed=federation.scenario.seed,
        devices=[device.name for device in federation.devices],
        parameters=sum(parameter_counts(task.spec.layers)),
        test_windows=examiner.windows,
    )


def wait_for_round(federation: Federation, observer: Observer) -> None:
    """Return when the aggregator has opened the first round. Raises ChildDied."""
    while not observer.opened:
        federation.check()
        observer.look(0)
        time.sleep(TICK_S / 4)


def play(federation: Federation, observer: Observer, progress: Progress) -> None:
    """Make weather and watch, until all rounds are done."""
    while not observer.done:
        start = time.monotonic()
        federation.weather(observer.second)
        federation.check()
        observer.look(LOOKS)
        progress.show(observer.now(), observer.record.events)
        time.sleep(max(0.0, start + TICK_S - time.monotonic()))
    progress.close()


def test(federation: Federation, result: Record) -> None:
    """Test the final model by each device's own `predict`, on what it has never stored."""
    task = federation.scenario.task.name
    federation.fair_weather()
    federation.wait_for_model(result.rounds[-1].version, FETCH_S)
    federation.wait_for_receipts(FETCH_S)
    for device in federation.devices:
        told, example = predict(device, task)
        result.example = result.example or example
        if told:
            right = sum(row.get(label, 0) for label, row in told.items())
            result.accuracy_by_device[device.name] = right / len(device.data.tests)
        for label, row in told.items():
            total = result.confusion.setdefault(label, {})
            for said, count in row.items():
                total[said] = total.get(said, 0) + count
    if result.confusion:
        right = sum(row.get(label, 0) for label, row in result.confusion.items())
        result.accuracy = right / result.test_windows


def learn_alone(federation: Federation, examiner: Examiner, result: Record) -> None:
    """Find out how right each device would be without the others."""
    first = federation.aggregator.first_state()
    result.alone = alone.learn(federation.scenario, first, examiner, len(result.rounds))


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
    sent = device.updates()
    return DeviceBytes(device.name, up, down, seen.up, seen.down, *sent, seen.connections)


def write(result: Record, directory: Path) -> Path:
    """Write run.json and the report; returns the report's path. Raises CannotWrite."""
    with writing(str(directory)):
        record.save(result, directory)
        return report.write(result, directory)
