"""What a round asks of devices, from its task and from what the database has of it."""

from dataclasses import replace

from fedling_broker.rounds import state
from fedling_broker.rounds.state import Rounds
from fedling_broker.rounds.terms import Terms
from fedling_broker.store.rounds import PlanRow
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import Task
from fedling_native import weights_size
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Plan

CLAIM_MARGIN = 2  # claims may be so many times what counts


def asked_of(task: Task, asked: Task) -> Task:
    """The task in its open round: devices train as they were asked when it was opened."""
    return replace(task, training=asked.training, conditions=asked.conditions)


def plan_of(task: Task, row: PlanRow, model_size: int, generation: int) -> Plan:
    """What devices are asked in this round."""
    training = replace(task.training, weight_cap=weight_cap(task, row))
    return Plan(
        row.plan_id, row.round, row.base_version, row.base_hash, task.spec, training,
        task.conditions, 0, Codec.RAW_INT16, task.cohort, model_size, task.spread_s,
        generation=generation,
    )  # fmt: skip


def terms_of(task: Task, row: PlanRow) -> Terms:
    """What a plan asks of an update."""
    return Terms(
        row.base_version,
        row.base_hash,
        Codec.RAW_INT16,
        weight_cap(task, row),
        weights_size(task.spec.layers),
    )


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
    done, plan = store.models.folded(task.name), on_disk(asked, store, now_ms)
    if not paused:
        return state.restore(task.rules, done, plan, now_ms)
    if plan is None:
        return Rounds(task.rules, done, state.Over())
    return state.restore(replace(task.rules, rounds=done + 1), done, plan, now_ms)
