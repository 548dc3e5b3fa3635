"""From a closed round's updates to the next model."""

from collections.abc import Iterable

from fedling_broker.aggregation import aggregate
from fedling_broker.aggregation.aggregate import GroupSum
from fedling_broker.store.store import DecisionRow, Fold, PlanRow, Store
from fedling_broker.tasks.task_file import Task
from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Update


def add_up(store: Store, task: Task, members: Iterable[DecisionRow]) -> GroupSum:
    """The sum of the members' updates on disk. Raises shelf.Damaged."""
    vectors = ((m.device, *_vector(store.updates.get(m.update_hash))) for m in members)
    return aggregate.add_up(vectors, task.spec.layers)


def _vector(message: bytes) -> tuple[bytes, int]:
    """Vector and weight of an update, which was verified before it was stored."""
    update = payload.decode(Kind.UPDATE, envelope.parse(message, Kind.UPDATE).payload)
    assert isinstance(update, Update)
    return update.vector, update.weight


def fold(store: Store, task: Task, plan: PlanRow, *, keep: bool) -> None:
    """Make the next model; the same again if a crash came between. keep: updates stay on disk."""
    members = store.decisions(task.name, plan.plan_id, accepted=True)
    total = add_up(store, task, members)
    state = store.newest_state(task.name, task.spec.layers)
    state = aggregate.aggregate(state, [total], task.momentum)
    model_hash, state_hash = store.put_state(task.spec, state)
    sum_hash = store.sums.put(aggregate.to_bytes(total.vector))
    version = plan.base_version + 1
    row = Fold(plan.round, sum_hash, total.weight, task.momentum, version, model_hash, state_hash)
    store.enter_fold(task.name, plan.plan_id, row, state.exponents, keep)
    if not keep:
        for member in members:
            store.updates.erase(member.update_hash)
