"""The table [simulation] of a task file: which devices, which recordings, what kind of days."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from fedling_agent.data.streams import Stream, load_stream
from fedling_broker.tasks import task_file
from fedling_broker.tasks.task_file import Task
from fedling_native import Loss
from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.settings import SettingsError, setting
from fedling_sim import toml
from fedling_sim.world import Climate


@dataclass(frozen=True, slots=True)
class SimulationTable:
    """[simulation]: read by fedling-sim only; paths are relative to the task file."""

    data: Path = setting(
        help="the folder with a CSV file for each device (devices.json may name them), or one file"
        " with a column `device`"
    )
    stream: Path = setting(help="the file that defines the stream")
    devices: int = setting(
        0, help="the first so many devices of the data take part; 0: all", low=0, high=1000
    )
    seed: int = setting(
        1, help="the seed of keys, secrets, first weights and traces", low=0, high=2**31
    )
    training_s: float = setting(
        3.0, help="duty is chosen so that a local training lasts so long", unit="s", low=0, high=600
    )
    climate: Climate = field(default_factory=Climate)


@dataclass(frozen=True, slots=True)
class _Table:
    """The part of a task file that the simulator reads."""

    simulation: SimulationTable


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that decides a run."""

    task: Task
    stream: Stream
    task_text: str  # the task file as the aggregator gets it
    simulation: SimulationTable  # with absolute paths

    @property
    def seed(self) -> int:
        """The seed of everything that is drawn."""
        return self.simulation.seed

    def secret(self, *words: object) -> bytes:
        """Make 32 bytes that follow from the seed and a name."""
        name = "/".join(str(word) for word in ("fedling-sim", self.seed, *words))
        return hashlib.sha256(name.encode()).digest()


def load(
    path: Path, *, seed: int | None = None, devices: int | None = None, rounds: int | None = None
) -> Scenario:
    """Read a task file, with what the command line says instead. Raises SettingsError."""
    task, text = task_file.load_task(path)  # its errors are the best
    if task.spec.loss is not Loss.SOFTMAX:
        raise SettingsError(f"{path}: model.loss: allowed in a simulation, which tests: softmax")
    values = settings.tables(text, str(path))
    if task_file.SIMULATION not in values:
        raise SettingsError(f"{path}: [simulation] is missing: fedling-sim needs data and stream")
    own = {task_file.SIMULATION: values.pop(task_file.SIMULATION)}
    table = settings.read(own, str(path), _Table).simulation
    here = path.absolute().parent
    table = replace(
        table,
        data=here / table.data,
        stream=here / table.stream,
        seed=table.seed if seed is None else seed,
        devices=table.devices if devices is None else devices,
    )
    if rounds is not None:
        values["task"]["rounds"] = rounds
    elif task.rules.rounds == 0:
        raise SettingsError(f"{path}: task.rounds: a simulation has an end: say --rounds")
    text = toml.text(values)
    task = task_file.parse_task(text, str(path))
    if task.training.new_examples:
        raise SettingsError(
            f"{path}: training.new_examples: allowed in a simulation, whose data does not grow: 0"
        )
    return Scenario(task, _stream(table.stream, task, path), text, table)


def _stream(file: Path, task: Task, path: Path) -> Stream:
    """Load the stream, if it is what the task learns from. Raises SettingsError."""
    stream = load_stream(file)
    for key, wanted, found in (
        ("stream", task.spec.stream, stream.name),
        ("channels", task.spec.channels, len(stream.channels)),
    ):
        if wanted != found:
            raise SettingsError(f"{path}: task.{key} = {wanted}: {file} has {found}")
    return stream


def for_devices(scenario: Scenario, count: int, whole: int) -> Scenario:
    """Make the cohort smaller in proportion, if `count` devices stand for `whole` ones."""
    if count >= whole:
        return scenario
    values = settings.tables(scenario.task_text, "the task")
    cohort: Mapping[str, float] = values["cohort"]
    shrunk = {
        key: max(1, round(cohort[key] * count / whole))
        for key in ("goal", "minimum")
        if key in cohort
    }
    values["cohort"] = {**cohort, **shrunk}
    text = toml.text(values)
    return replace(scenario, task=task_file.parse_task(text, "the smaller task"), task_text=text)


def check_able(scenario: Scenario, windows: Sequence[int]) -> None:
    """Refuse a run whose first round would never end. windows: to train on, of each device.

    Raises SettingsError.
    """
    least = max(1, scenario.task.training.min_examples)
    able = sum(count >= least for count in windows)
    cohort = settings.tables(scenario.task_text, "the task")["cohort"]
    key = "minimum" if cohort.get("deadline_s") else "goal"
    if able < (wanted := cohort.get(key, 1)):
        raise SettingsError(
            f"{scenario.simulation.data}: {able} devices have the training.min_examples = {least}"
            f" windows to train on, and cohort.{key} = {wanted}: no round would end"
        )
