"""A device's store with examples, a model and a plan, for tests of the agent's parts."""

import random
from array import array
from dataclasses import dataclass, replace
from pathlib import Path

from fedling_agent.data.streams import Channel, Parser, Row, RowError, Stream
from fedling_agent.store.inputs import Ingested
from fedling_agent.store.recordings import Bounds
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Freezer
from fedling_agent.training.job import Job
from fedling_native import Loss, average_pool, conv, dense, parameter_counts
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.digest import model_hash
from fedling_protocol.wire.messages import (
    CODECS_OF,
    Conditions,
    Model,
    Plan,
    PlanKind,
    Scale,
    TaskSpec,
    Training,
)

FLEET = "test"
SECRET = bytes(range(32))
STREAM = Stream("wrist", (Channel("x", "g", 0.001), Channel("y", "g", 0.001)))
SPEC = TaskSpec(
    task="watch",
    stream="wrist",
    window=10,
    stride=5,
    channels=2,
    normalise="device",
    labels=("down", "up"),
    layers=(dense(20, 12, relu=True), dense(12, 2)),
    loss=Loss.SOFTMAX,
)
CNN = replace(
    SPEC,
    layers=(
        conv((1, 10, 2), 8, (1, 3), (1, 2), relu=True),
        conv((1, 4, 8), 8, (1, 3), relu=True),
        average_pool((1, 2, 8)),
        dense(8, 2),
    ),
)
UNMEASURED = replace(SPEC, normalise="fleet")
MEASURED = replace(UNMEASURED, scale=(Scale(-40, 200, 12), Scale(3, 130, 9)))
AUTOENCODER = replace(
    SPEC, labels=(), layers=(dense(20, 6, relu=True), dense(6, 20)), loss=Loss.RECONSTRUCTION
)
TRAINING = Training(
    epochs=3,
    batch=8,
    lr_q24=838_861,
    min_examples=1,
    weight_cap=1000,
    holdout=0,
    holdout_block=100,
    momentum=0,
    clip_q16=0,
    frozen=0,
    proximal_q16=0,
)
EASY = Conditions(mains=False, battery=0, temperature=90)


def csv_lines(
    recordings: int = 4, samples: int = 120, seed: int = 1, prefix: str = "r"
) -> list[str]:
    """With a header; the first half of each recording is "down", the other "up"."""
    rng = random.Random(seed)
    lines = ["recording,label,x,y\n"]
    for number in range(recordings):
        for at in range(samples):
            up = at >= samples // 2
            x, y = rng.gauss(1.0 if up else -1.0, 0.5), rng.gauss(0, 0.1)
            lines.append(f"{prefix}{number},{'up' if up else 'down'},{x:.4f},{y:.4f}\n")
    return lines


def parse(lines: list[str], form: str = "csv", stream: Stream = STREAM) -> list[Row | RowError]:
    return list(Parser(stream, form).feed(lines))


def make_model(version: int = 1, seed: int = 2, spec: TaskSpec = SPEC) -> Model:
    """Random weights."""
    rng = random.Random(seed)
    weights, biases = parameter_counts(spec.layers)
    stored = array("h", (rng.randint(-4000, 4000) for _ in range(weights)))
    exponents = tuple(-7 if layer.weight_count else 0 for layer in spec.layers)
    return Model(version, spec, exponents, stored.tobytes() + bytes(4 * biases))


def hash_of(model: Model) -> bytes:
    return model_hash(model.spec, model.exponents, model.weights)


def make_plan(
    model: Model,
    number: int = 1,
    training: Training = TRAINING,
    kind: PlanKind = PlanKind.TRAIN,
) -> Plan:
    return Plan(
        plan_id=number.to_bytes(16, "big"),
        round=number if kind is PlanKind.TRAIN else 0,
        base_version=model.version,
        base_hash=hash_of(model),
        spec=model.spec,
        training=training,
        conditions=EASY,
        rate=0,
        codec=CODECS_OF[kind][0],
        cohort=None,
        model_size=1000,
        kind=kind,
    )


def freeze_now(freezer: Freezer, plan: Plan) -> Job:
    """All slices, then the write."""
    return finish(freezer.freeze(plan))()


@dataclass(slots=True)
class Device:
    """A store that has examples and a model."""

    store: Store
    freezer: Freezer
    model: Model
    plan: Plan

    def ingest(self, lines: list[str], up_ms: int = 0) -> Ingested:
        return self.store.recordings.ingest(STREAM, parse(lines), 1000, up_ms=up_ms)

    def freeze(self) -> Job:
        return freeze_now(self.freezer, self.plan)

    def mend(self) -> Job | None:
        """The job of the plan, made again where it is damaged."""
        write = finish(self.freezer.job(self.plan.plan_id))
        return None if write is None else write()

    def reopen(self) -> "Device":
        """As after a restart."""
        self.store.close()
        store = Store(self.store.directory)
        return replace(self, store=store, freezer=Freezer(store, FLEET, SECRET))


def make_device(
    directory: Path,
    *,
    bounds: Bounds | None = None,
    recordings: int = 4,
    samples: int = 120,
    spec: TaskSpec = SPEC,
    training: Training = TRAINING,
) -> Device:
    store = Store(directory, bounds)
    model = make_model(spec=spec)
    plan = make_plan(model, training=training)
    device = Device(store, Freezer(store, FLEET, SECRET), model, plan)
    device.ingest(csv_lines(recordings, samples))
    store.models.put(model)
    return device
