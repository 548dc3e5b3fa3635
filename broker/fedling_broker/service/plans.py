"""What a round asks of devices, from its task and from what the database has of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from fedling_broker.rounds import state
from fedling_broker.rounds.state import Rounds
from fedling_broker.rounds.terms import Terms
from fedling_broker.service.publisher import Retained
from fedling_broker.store.models import ModelRow
from fedling_broker.store.rounds import PlanRow
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import Task
from fedling_native import Layer, Loss, coded, weights_size
from fedling_protocol.wire import sums
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.limits import MAX_SMALL, MAX_WEIGHTS, TESTED_SIZE
from fedling_protocol.wire.messages import Plan, PlanKind, TaskSpec

CLAIM_MARGIN = 2  # claims may be so many times what counts


def asked_of(task: Task, asked: Task) -> Task:
    """The task in its open round: devices train as they were asked when it was opened."""
    return replace(task, training=asked.training, conditions=asked.conditions)


def plan_of(task: Task, row: PlanRow, model: ModelRow, sizes: Retained, generation: int) -> Plan:
    """What devices are asked in this round. model: its base; sizes: of its messages"""
    training = replace(task.training, weight_cap=weight_cap(task, row))
    return Plan(
        row.plan_id, row.round, row.base_version, row.base_hash, model.spec(task.spec), training,
        task.conditions, 0, row.codec, task.cohort, sizes.size, task.spread_s,
        generation=generation, kind=row.kind, target=row.target, change_size=sizes.change,
        chunked=sizes.cut(largest_update(task, row)), recent=sizes.recent,
    )  # fmt: skip


def terms_of(task: Task, row: PlanRow) -> Terms:
    """What a plan asks of an update."""
    return Terms(
        row.base_version,
        row.base_hash,
        row.codec,
        weight_cap(task, row),
        VECTOR_SIZE[row.codec](task.spec, row.target),
        classes_of(task, row.kind),
    )


def classes_of(task: Task, kind: PlanKind) -> int:
    """How many classes a test of the base model tells of; 0: there is none."""
    tests = kind is PlanKind.TRAIN and task.training.holdout and task.spec.loss is Loss.SOFTMAX
    return len(task.spec.labels) if tests else 0


@lru_cache(maxsize=64)
def _room(layers: Sequence[Layer], target: int) -> int:
    return min(coded.room(layers, target), MAX_WEIGHTS)


VECTOR_SIZE: Mapping[Codec, Callable[[TaskSpec, int | None], int]] = {
    Codec.RAW_INT16: lambda spec, _: weights_size(spec.layers),
    Codec.CODED: lambda spec, target: _room(spec.layers, target or 0),
    Codec.SUMS: lambda spec, _: sums.size(spec.channels),
}
"""Bytes of a vector, of a coded one at most: (task, target) ->"""


def largest_vector(task: Task) -> int:
    """The most bytes that the vector of an update may have, whatever a plan of the task asks."""
    codecs = set(Codec) - ({Codec.CODED} if task.target is None else set())
    return max(VECTOR_SIZE[codec](task.spec, task.target) for codec in codecs)


def largest_update(task: Task, row: PlanRow) -> int:
    """The most bytes that an update to a plan may have."""
    vector = VECTOR_SIZE[row.codec](task.spec, row.target)
    return vector + TESTED_SIZE * len(task.spec.labels) + MAX_SMALL


def weight_cap(task: Task, row: PlanRow) -> int:
    """The most examples that a device may claim: more than count, or no middle could ever rise."""
    cap = task.training.weight_cap
    return cap if row.limits is None else min(cap, CLAIM_MARGIN * row.limits.examples)


def on_disk(task: Task, store: Store, now_ms: int) -> state.OnDisk | None:
    """The plan that is not folded, as the rounds are restored from it."""
    plan = store.rounds.unfolded(task.name)
    if plan is None:
        return None
    rows = store.rounds.decisions(task.name, plan.plan_id)
    return state.OnDisk(
        plan.plan_id,
        terms_of(task, plan),
        plan.closed,
        plan.age_at(now_ms, store.rounds.boot),
        store.rounds.places(task.name, plan.plan_id),
        {row.device: row.decision for row in rows},
    )


def restore(task: Task, asked: Task, paused: bool, store: Store, now_ms: int) -> Rounds:
    """The rounds after a start. A paused task ends the round in work and opens no other.

    asked: the task when the round in work was opened
    """
    rules, plan = replace(task.rules, paused=paused), on_disk(asked, store, now_ms)
    return state.restore(rules, done(task, store), plan, now_ms)


def done(task: Task, store: Store) -> int:
    """How many rounds are folded; -1: before the first the fleet is asked for statistics."""
    unknown = task.spec.normalise == "fleet" and store.models.newest(task.name).scale is None
    return -1 if unknown else store.models.folded(task.name)
