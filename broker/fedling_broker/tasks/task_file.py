"""Task files: what is learned, how a device trains, who takes part (docs/configuration.md)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from math import ceil
from pathlib import Path

from fedling_broker.aggregation import optimisers
from fedling_broker.aggregation.optimisers import Setup
from fedling_broker.rounds.state import Rules
from fedling_broker.rounds.synchronous import Synchronous
from fedling_broker.tasks.model_table import LossWord, ModelTable, layers_of, loss_of
from fedling_native import Layer, Loss, parameter_counts, weights_size
from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import given
from fedling_protocol.settings import SettingsError, setting
from fedling_protocol.wire import limits as limit
from fedling_protocol.wire import payload, shapes
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.labels import tidy
from fedling_protocol.wire.messages import Conditions, Plan, Scale, TaskSpec, Training
from fedling_protocol.wire.names import is_device, is_name
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.topics import is_task

MAX_SECONDS = 10 * 365 * 86_400
ENDLESS_PAUSE_S = 3600  # a task without an end learns as data comes, not as fast as it can
RATE_ONE = 1 << 24  # learning rates travel in 2^-24
NORM_ONE = 1 << 16  # norms and mu travel in 2^-16
SIMULATION = "simulation"  # the table that only fedling-sim reads
JOINS_IN_SECOND = 100  # of devices that have a place, when their joins are spread
MAX_USUAL_SPREAD_S = 60
USUAL_BITS = 0.25  # of an update for each parameter
USUAL_TARGET = 256  # bytes: an update of a small model is as small as all messages around it
ENVELOPE_ROOM = 256  # bytes of a plan's message beside its payload


def allow(check: Callable[[str], bool], what: str) -> Callable[[str], str | None]:
    """Make a check for `setting` that allows what passes the test."""
    return lambda value: None if check(value) else what


NAME = allow(is_name, "a name: a-z, 0-9 and -, at most 32 characters, no - first")
TASK = allow(is_task, 'a name as in topics: a-z, 0-9 and -, at most 32; not "state" or "keys"')


class Normalise(StrEnum):
    """How a device scales its samples."""

    FLEET = "fleet"  # by mean and deviation of all devices' samples, which are asked for them first
    DEVICE = "device"  # by its own: where sensors differ, and each device sees every label
    NONE = "none"


DEVICE = allow(is_device, "device ids: 16 characters of a-z and 2-7, as fedling-agent init says")


def is_label(text: str) -> bool:
    """Whether it may be a class: devices store labels in this form."""
    label = tidy(text)
    return label.isprintable() and 1 <= len(label.encode()) <= limit.MAX_LABEL_BYTES


LABEL = allow(is_label, f"printable texts of 1 to {limit.MAX_LABEL_BYTES} bytes")


def above_one_unit(value: float) -> str | None:
    """Make a check for `setting`: what is not 0 must not become 0 on the wire."""
    return None if value == 0 or value >= 1 / NORM_ONE else f"0, or {1 / NORM_ONE} and more"


def above_one_part(value: float) -> str | None:
    """Make a check for `setting`, as above_one_unit() does, of what is kept in 1/256."""
    return None if value == 0 or value >= 1 / 256 else f"0, or {1 / 256} and more"


@dataclass(frozen=True, slots=True)
class TaskTable:
    """[task]: what is learned from which windows."""

    name: str = setting(help="how the task is called in topics and commands", check=TASK)
    stream: str = setting(help="the devices' stream that it learns from", check=NAME)
    window: int = setting(
        help="how many samples an example has", unit="samples", low=1, high=65_535
    )
    stride: int = setting(
        help="an example begins so many samples after the one before",
        unit="samples",
        low=1,
        high=65_535,
    )
    channels: int = setting(help="how many channels the stream has", low=1, high=limit.MAX_CHANNELS)
    labels: tuple[str, ...] = setting(
        (),
        help="the classes; reconstruction: learn from windows of these, without any from all",
        high=limit.MAX_LABELS,
        check=LABEL,
    )
    normalise: Normalise = setting(Normalise.FLEET, help="how a device scales its samples")
    rounds: int = setting(
        0, help="the task rests after so many rounds; 0: it goes on for ever", low=0, high=2**31
    )

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for label in self.labels:
            if seen.get(tidy(label), label) != label:  # the same twice: shapes.check_spec
                raise ValueError(
                    f"labels: {seen[tidy(label)]!r} and {label!r} are one label: space around it"
                    " and Unicode's form do not matter"
                )
            seen[tidy(label)] = label
        if self.window * self.channels > limit.MAX_VALUES:
            raise ValueError(
                f"window = {self.window}: allowed with channels = {self.channels}: at most"
                f" {limit.MAX_VALUES // self.channels}"
            )


@dataclass(frozen=True, slots=True)
class TrainingTable:
    """[training]: how a device trains in one round."""

    epochs: int = setting(
        help="how often a device goes over its examples in one round", low=1, high=1000
    )
    batch: int = setting(
        help="how many examples one step of training takes", low=1, high=limit.MAX_BATCH
    )
    learning_rate: float = setting(
        help="how far a step goes along the mean gradient of its batch",
        low=1 / RATE_ONE,
        high=limit.MAX_RATE / RATE_ONE,
    )
    min_examples: int = setting(
        1, help="a device with fewer examples does not join", unit="examples", low=1, high=2**31
    )
    new_examples: int | None = setting(
        None,
        help="a device with fewer examples that are new since its last accepted update does not "
        "join; 0: it trains on the same ones again; by default 1 if the task goes on for ever, "
        "else 0",
        unit="examples",
        low=0,
        high=2**31,
    )
    weight_cap: int = setting(
        1000, help="a device with more examples counts for so many", low=1, high=limit.MAX_WEIGHT
    )
    holdout: float = setting(
        0.0,
        help="the part of a device's data that it keeps out of training, and tests each round's "
        "model on; 0: nobody tests it; a device that has too few examples, or would have none of a "
        "label left, keeps nothing out",
        low=0,
        high=limit.MAX_HOLDOUT / 1000,
    )
    holdout_block: int = setting(
        3000,
        help="data is kept out of training in blocks of so many samples",
        unit="samples",
        low=1,
        high=limit.MAX_HOLDOUT_BLOCK,
    )
    momentum: float = setting(
        0.0,
        help="the momentum of a device's steps, which begins anew in each round",
        low=0,
        high=limit.MAX_MOMENTUM / 256,
    )
    clip_norm: float = setting(
        0.0,
        help="a layer's mean gradient is cut to this length; 0: it is not",
        low=0,
        high=65_535,
        check=above_one_unit,
    )
    frozen_layers: int = setting(
        0, help="so many of the first layers are not trained", low=0, high=limit.MAX_LAYERS - 1
    )
    proximal: float = setting(
        0.0,
        help="mu of FedProx: how much weights are held near those of the round's start",
        low=0,
        high=65_535,
        check=above_one_unit,
    )


@dataclass(frozen=True, slots=True)
class CohortTable:
    """[cohort]: who takes part in a round, and how long it lasts."""

    goal: int = setting(help="a round ends with so many updates", low=1, high=limit.MAX_WEIGHT)
    minimum: int = setting(
        1,
        help="from its deadline on a round ends with so many updates",
        low=1,
        high=limit.MAX_WEIGHT,
    )
    over_selection: float = setting(
        0.3, help="how many places there are beyond the goal, as a part of it", low=0, high=10
    )
    deadline_s: int = setting(
        0,
        help="when a round is overdue; 0: never, it waits for its goal",
        unit="s",
        low=0,
        high=MAX_SECONDS,
    )
    devices: tuple[str, ...] = setting(
        (),
        help="only these devices take part; empty: whoever asks",
        high=limit.MAX_COHORT,
        check=DEVICE,
    )
    pause_s: int | None = setting(
        None,
        help="how long the task rests between two rounds; by default an hour if it goes on for"
        " ever, else 0",
        unit="s",
        low=0,
        high=MAX_SECONDS,
    )
    wait_s: int = setting(
        300,
        help="a device that got no place asks again after so long",
        unit="s",
        low=1,
        high=86_400,
    )
    spread_s: int | None = setting(
        None,
        help="a device joins after a random part of it; by default 1 for each 100 places,"
        " at most 60",
        unit="s",
        low=0,
        high=limit.MAX_SPREAD,
    )

    def __post_init__(self) -> None:
        if self.minimum > self.goal:
            raise ValueError(f"minimum = {self.minimum}: allowed: at most goal = {self.goal}")
        if self.devices and self.goal > len(self.devices):
            raise ValueError(
                f"goal = {self.goal}: allowed: at most the {len(self.devices)} named devices"
            )


@dataclass(frozen=True, slots=True)
class ServerTable:
    """[server]: how the mean of a round becomes the next model."""

    momentum: float = setting(
        0.0, help="the server's momentum (FedAvgM); 0: plain federated averaging", low=0, high=0.99
    )
    clip: float = setting(
        1.25,
        help="an update is shortened to so many times the middle length of the last rounds, and"
        " counts for no more examples than the middle device has, once a round had three;"
        " 0: neither",
        low=0,
        high=100,
        check=above_one_part,
    )


@dataclass(frozen=True, slots=True)
class CompressionTable:
    """[compression]: how small an update is made; at most one of these keys.

    An update that is made smaller tells what was learned less exactly. Over the devices of a round
    that evens out, as their data do. Models then follow in longer leaps, and cost as little.
    """

    bits: float | None = setting(
        None,
        help="so many bits for each parameter of the model; by default a quarter of a bit, and 256"
        " bytes at least",
        unit="bits",
        low=1 / 64,
        high=16,
    )
    target_bytes: int | None = setting(
        None,
        help="so many bytes for all parameters of the model",
        unit="bytes",
        low=limit.MIN_TARGET,
        high=limit.MAX_WEIGHTS,
    )
    off: bool = setting(False, help="every change is sent as it is: 16 bits a weight, 32 a bias")

    def __post_init__(self) -> None:
        given = [self.bits is not None, self.target_bytes is not None, self.off]
        if sum(given) > 1:
            raise ValueError("bits, target_bytes, off: allowed: one of them")


@dataclass(frozen=True, slots=True)
class TaskFile:
    """All that the aggregator reads of a task file."""

    task: TaskTable
    model: ModelTable
    training: TrainingTable
    cohort: CohortTable
    conditions: Conditions = setting(Conditions(), help="before a device may train")
    server: ServerTable = setting(ServerTable(), help="the aggregator's optimiser")
    compression: CompressionTable = setting(CompressionTable(), help="how small an update is made")

    def __post_init__(self) -> None:
        if self.model.loss is LossWord.SOFTMAX and len(self.task.labels) < 2:
            raise ValueError(
                f"task.labels: {len(self.task.labels)} entries: allowed with loss softmax: 2 to"
                f" {limit.MAX_LABELS}"
            )
        goal, cap = self.cohort.goal, self.training.weight_cap
        if goal * cap > limit.MAX_WEIGHT:
            raise ValueError(
                f"training.weight_cap = {cap}: allowed with cohort.goal = {goal}: at most"
                f" {limit.MAX_WEIGHT // goal}, so that a sum fits 64 bits"
            )


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the wire and the rounds want it."""

    spec: TaskSpec
    training: Training
    conditions: Conditions
    cohort: tuple[str, ...] | None
    rules: Rules
    optimiser: Setup
    clip_q8: int  # as aggregation.limits has it
    spread_s: int | None  # of joins; None: devices join at once
    target: int | None  # bytes of an update's vector that is coded; None: it is sent as it is

    @property
    def name(self) -> str:
        return self.spec.task


def load_task(path: Path) -> tuple[Task, str]:
    """Read a task and the text of its file. Raises SettingsError, Missing, BadInput.

    What an aggregator has stored may hold examples out that nothing tests on, a file that is given
    now may not.
    """
    with given.opened(path) as file:
        data = file.read()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text: {error}") from error
    task = parse_task(text, str(path))
    check_holdout(task, path)
    return task, text


def check_holdout(task: Task, path: Path) -> None:
    """Check that what is held out tests something. Raises SettingsError."""
    training, window = task.training, task.spec.window
    if not training.holdout:
        return
    if task.spec.loss is not Loss.SOFTMAX:
        raise SettingsError(
            f"{path}: training.holdout = {training.holdout / 1000}: allowed with loss"
            " reconstruction: 0; nothing tests on what is held out"
        )
    if training.holdout_block < window:
        raise SettingsError(
            f"{path}: training.holdout_block = {training.holdout_block}: allowed: at least"
            f" task.window, {window}; no window would lie in a block"
        )


def parse_task(text: str, file: str) -> Task:
    """Parse the text of a task file; `file` is its name in errors. Raises SettingsError."""
    values = settings.tables(text, file)
    values.pop(SIMULATION, None)
    tables = settings.read(values, file, TaskFile)
    try:
        task = task_of(tables)
        shapes.check_spec(task.spec)
        shapes.check_training(task.spec, task.training)
        check_plan(task)
    except Refused as refused:
        raise SettingsError(f"{file}: {refused.detail}") from refused
    except ValueError as error:
        raise SettingsError(f"{file}: {error}") from error
    return task


def task_of(tables: TaskFile) -> Task:
    """Say a task file in the words of the wire and the rounds. Raises ValueError."""
    spec = spec_of(tables)
    target = target_of(tables.compression, spec.layers)
    leaps = optimisers.leaps_of(target, sum(parameter_counts(spec.layers)))
    momentum_q8 = round(tables.server.momentum * 256)
    return Task(
        spec,
        training_of(tables),
        tables.conditions,
        cohort_of(tables),
        rules_of(tables),
        optimisers.of_momentum(momentum_q8, leaps),
        round(tables.server.clip * 256),
        spread_of(tables),
        target,
    )


def check_plan(task: Task) -> None:
    """Check a task's plan. Raises ValueError when it could not be sent."""
    plan = Plan(
        bytes(16), limit.MAX_U32, limit.MAX_U32, bytes(32), largest(task.spec), task.training,
        task.conditions, 0, Codec.CODED, task.cohort, limit.MAX_LARGE, task.spread_s,
        target=limit.MAX_WEIGHTS,
    )  # fmt: skip
    size = len(payload.encode(plan)) + ENVELOPE_ROOM
    if size > limit.MAX_PLAN:
        raise ValueError(f"a plan of {size} bytes: allowed: {limit.MAX_PLAN}; use shorter labels")


def largest(spec: TaskSpec) -> TaskSpec:
    """Make the spec with which a plan is longest: a scale comes later."""
    if spec.normalise != Normalise.FLEET:
        return spec
    return replace(spec, scale=(Scale(-(2**15), 255, -6),) * spec.channels)


def spec_of(tables: TaskFile) -> TaskSpec:
    """Make the spec: what is learned. Raises ValueError."""
    task, model = tables.task, tables.model
    layers = layers_of(model, task.window, task.channels)
    check_outputs(layers[-1].outputs, tables)
    return TaskSpec(
        task.name, task.stream, task.window, task.stride, task.channels, str(task.normalise),
        tuple(map(tidy, task.labels)), layers, loss_of(model),
    )  # fmt: skip


def check_outputs(outputs: int, tables: TaskFile) -> None:
    """Check the last layer. Raises ValueError unless it gives what the loss compares."""
    wanted, what = len(tables.task.labels), "one for each label"
    if tables.model.loss is LossWord.RECONSTRUCTION:
        wanted, what = tables.task.window * tables.task.channels, "as many as a window has"
    if outputs != wanted:
        raise ValueError(
            f"model.layers: the last layer gives {outputs} values: allowed with loss"
            f" {tables.model.loss}: {wanted}, {what}"
        )


def training_of(tables: TaskFile) -> Training:
    """Say on the wire how a device trains."""
    training = tables.training
    return Training(
        training.epochs,
        training.batch,
        round(training.learning_rate * RATE_ONE),
        training.min_examples,
        training.weight_cap,
        round(training.holdout * 1000),
        training.holdout_block,
        round(training.momentum * 256),
        round(training.clip_norm * NORM_ONE),
        training.frozen_layers,
        round(training.proximal * NORM_ONE),
        new_examples_of(tables),
    )


def new_examples_of(tables: TaskFile) -> int:
    """A task without an end learns as data comes; one of so many rounds may go over it again."""
    given = tables.training.new_examples
    return given if given is not None else int(not tables.task.rounds)


def cohort_of(tables: TaskFile) -> tuple[str, ...] | None:
    """List the named devices; None: whoever asks."""
    return tables.cohort.devices or None


def spread_of(tables: TaskFile) -> int | None:
    """Seconds over which joins are spread; by default so that 100 places are asked for a second.

    That is a sixth of what an aggregator answers, and a tenth of what an MQTT broker queues for it.
    """
    seconds = tables.cohort.spread_s
    if seconds is None:
        seconds = min(MAX_USUAL_SPREAD_S, policy_of(tables).capacity // JOINS_IN_SECOND)
    return seconds or None


def target_of(compression: CompressionTable, layers: Sequence[Layer]) -> int | None:
    """Bytes of a coded vector; None: none is coded, since it would not be smaller either."""
    parameters = sum(parameter_counts(layers))
    if compression.off:
        return None
    if compression.target_bytes is not None:
        target = compression.target_bytes
    elif compression.bits is not None:
        target = max(limit.MIN_TARGET, ceil(parameters * compression.bits / 8))
    else:
        target = max(USUAL_TARGET, ceil(parameters * USUAL_BITS / 8))
    return target if target < weights_size(layers) else None


def rules_of(tables: TaskFile) -> Rules:
    """Make the rules by which rounds follow one another."""
    rounds, pause_s = tables.task.rounds, tables.cohort.pause_s
    if pause_s is None:
        pause_s = 0 if rounds else ENDLESS_PAUSE_S
    return Rules(policy_of(tables), rounds, pause_s)


def policy_of(tables: TaskFile) -> Synchronous:
    """Make the policy by which one round is held."""
    cohort = tables.cohort
    return Synchronous(
        cohort.goal,
        cohort.minimum,
        round(cohort.over_selection * 1000),
        cohort.deadline_s * 1000 or None,
        frozenset(cohort.devices) or None,
        cohort.wait_s,
    )
