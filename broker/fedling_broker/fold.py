"""From a closed round's updates to the next model, and the same once more to check it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fedling_broker import aggregate, initial
from fedling_broker.aggregate import GroupSum, ServerState
from fedling_broker.shelf import Damaged
from fedling_broker.store import FIRST_VERSION, DecisionRow, Fold, ModelRow, PlanRow, Store
from fedling_broker.tasks import Task
from fedling_protocol import codec, digest, envelope
from fedling_protocol.limits import MAX_LARGE
from fedling_protocol.messages import Update
from fedling_protocol.topics import Kind


def add_up(store: Store, task: Task, members: Iterable[DecisionRow]) -> GroupSum:
    """The sum of the members' updates on disk. Raises Damaged."""
    vectors = ((m.device, *_vector(store.updates.get(m.update_hash))) for m in members)
    return aggregate.add_up(vectors, task.spec.layers)


def _vector(message: bytes) -> tuple[bytes, int]:
    """Vector and weight of an update, which was verified before it was stored."""
    update = codec.decode(Kind.UPDATE, envelope.parse(message, MAX_LARGE).payload)
    assert isinstance(update, Update)
    return update.vector, update.weight


def fold(store: Store, task: Task, plan: PlanRow, *, keep: bool) -> None:
    """Make the next model; the same again if a crash came between. keep: updates stay on disk."""
    members = store.decisions(task.name, plan.plan_id, accepted=True)
    total = add_up(store, task, members)
    state = store.newest_state(task.name, task.spec.layers)
    state = aggregate.aggregate(state, [total], task.momentum)
    model_hash, state_hash = store.put_state(state)
    sum_hash = store.sums.put(aggregate.to_bytes(total.vector))
    version = plan.base_version + 1
    row = Fold(plan.round, sum_hash, total.weight, task.momentum, version, model_hash, state_hash)
    store.enter_fold(task.name, plan.plan_id, row, state.exponents, keep)
    if not keep:
        for member in members:
            store.updates.erase(member.update_hash)


@dataclass(frozen=True, slots=True)
class Check:
    """What `round verify` found about one round."""

    round: int
    version: int
    model_hash: bytes
    updates: bool  # the sum was added up again from the updates
    fault: str  # empty: the same hashes


def verify(store: Store, task: Task, seed: bytes) -> Iterator[Check]:
    """Every model again: from the sums in the journal always, the sums from updates if kept.

    After a fault later rounds are checked on the recomputed state, so each names its own fault.
    """
    models = {row.version: row for row in store.model_rows(task.name)}
    plans = {plan.round: plan for plan in store.plans(task.name)}
    state = initial.initial_state(task.spec.layers, seed)
    fault = _differs(store, task, state, models.get(FIRST_VERSION))
    yield Check(0, FIRST_VERSION, _hash(state), False, fault)
    for row in store.folds(task.name):
        audited, fault = False, ""
        try:
            audited, fault = _check_sum(store, task, row, plans[row.round])
            total = aggregate.from_bytes(store.sums.get(row.sum_hash), task.spec.layers)
            group = GroupSum(total, row.weight, ())
            state = aggregate.aggregate(state, [group], row.momentum)
        except (Damaged, ValueError) as error:
            fault = str(error)
        fault = fault or _differs(store, task, state, models.get(row.version))
        if not fault and _hash(state) != row.model_hash:
            fault = "the journal names another model hash"
        yield Check(row.round, row.version, _hash(state), audited, fault)


def _check_sum(store: Store, task: Task, row: Fold, plan: PlanRow) -> tuple[bool, str]:
    """Whether the updates were there to be added up again, and what is wrong."""
    members = store.decisions(task.name, plan.plan_id, accepted=True)
    if sum(member.weight for member in members) != row.weight:
        return False, "the members' weights do not add up to the journal's"
    if not members or not all(store.updates.path(m.update_hash).exists() for m in members):
        return False, ""
    total = add_up(store, task, members)
    if store.sums.get(row.sum_hash) != aggregate.to_bytes(total.vector):
        return True, "the updates add up to another sum"
    return True, ""


def _differs(store: Store, task: Task, state: ServerState, row: ModelRow | None) -> str:
    """What the published model has other than the recomputed state; empty: nothing."""
    if row is None:
        return "the model is missing"
    try:
        weights = store.weights(row, task.spec.layers)
    except Damaged as damaged:
        return str(damaged)
    if row.exponents != state.exponents or weights != aggregate.stored_weights(state):
        return "another model was published"
    return ""


def _hash(state: ServerState) -> bytes:
    weights = aggregate.stored_weights(state)
    return digest.model_hash(state.layers, state.exponents, weights)
