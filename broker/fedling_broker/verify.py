"""`round verify`: every published model once more, from what the journal keeps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fedling_broker.aggregation import initial, scale, sums
from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.reading import Base
from fedling_broker.aggregation.state import (
    ServerState,
    state_from_bytes,
    state_of_weights,
    state_to_bytes,
    to_values_and_velocity,
)
from fedling_broker.aggregation.sums import GroupSum, Sum
from fedling_broker.aggregation.vectors import fraction_of
from fedling_broker.service import measure
from fedling_broker.service.running_sum import add, stored
from fedling_broker.store.horizon import FIRST_VERSION, Beginning
from fedling_broker.store.models import Fold, ModelRow, StateForm
from fedling_broker.store.rounds import DecisionRow, PlanRow
from fedling_broker.store.shelf import Damaged, sha256
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import Task
from fedling_native import NativeError
from fedling_protocol.classes import dataclass
from fedling_protocol.wire import digest
from fedling_protocol.wire import sums as packed
from fedling_protocol.wire.messages import TaskSpec


class Mismatch(Exception):
    """Two things that the store holds do not agree; the message says which."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about one published model."""

    round: int  # 0: of the first model
    version: int
    model_hash: bytes  # as recomputed; empty if it could not be
    updates: bool  # the sum was added up again from the updates
    fault: str  # empty: everything agrees
    back_to: int | None = None  # the version whose weights it has again
    kept: str = ""  # all that is left of it, since older rounds were erased: "state" or "file"

    @property
    def source(self) -> str:
        """What it was recomputed from."""
        if self.back_to is not None:
            return f"model {self.back_to}"
        if self.kept:
            return self.kept
        return "updates" if self.updates else "seed" if self.version == FIRST_VERSION else "sum"


def verify(store: Store, task: Task, seed: bytes) -> Iterator[Check]:
    """Every model from the sums in the journal; the sums from the updates that were kept.

    seed: of a first model that was not imported. A fault is named at its round; what comes after a
    lost sum cannot be recomputed, and says so.
    """
    with store.database.instant():  # beside a running aggregator
        models = {row.version: row for row in store.models.rows(task.name)}
        plans = {plan.round: plan for plan in store.rounds.plans(task.name)}
        folds = store.models.folds(task.name)
        begins = store.models.horizon.beginning(task.name)
    first = FIRST_VERSION if begins is None else begins.version
    # Each version's, with its scale. Older ones are here if a later one has their weights again.
    specs = {v: row.spec(task.spec) for v, row in models.items() if v <= first}
    spec = specs.get(first, task.spec)
    for version in [v for v in models if v < first]:
        yield _check_older(store, task.spec, models.pop(version))
    try:
        state = _state_of(store, spec, begins) if begins else first_state(store, spec, seed)
    except Damaged as damaged:
        why = "older rounds were erased" if begins else "the first model was imported"
        for version in models:
            yield Check(0, version, b"", False, f"{why}: {damaged}")
        return
    fault = _fault_of_model(store, spec, state, models.pop(first, None))
    yield Check(0, first, hash_of(spec, state), False, fault, kept="state" if begins else "")
    lost = ""
    for row in folds:
        model, plan = models.pop(row.version, None), plans.get(row.round)
        before, base = state, spec
        audited, fault = False, lost
        try:
            if not lost:
                spec = specs[row.version] = _scaled(store, specs, base, row)
                state = _recompute(store, base, before, row, plan)
                audited = _check_round(store, base, row, plan, before)
                _check_state(store, spec, row, state)
        except Mismatch as mismatch:
            fault = str(mismatch)
        except (Damaged, ValueError, NativeError) as error:
            fault = str(error)
            lost = f"cannot be recomputed: round {row.round} is damaged"
        fault = fault or _fault_of_model(store, spec, state, model)
        found = b"" if lost else hash_of(spec, state)
        yield Check(row.round, row.version, found, audited, fault, row.back_to)
    for version, model in models.items():
        yield Check(0, version, model.model_hash, False, "no round in the journal made this model")
    yield from _round_in_work(store, task.name)


def _state_of(store: Store, spec: TaskSpec, begins: Beginning) -> ServerState:
    """The server's state that the history which is kept begins with. Raises Damaged."""
    try:
        return state_from_bytes(spec.layers, store.models.states.get(begins.state_hash))
    except ValueError as error:
        raise Damaged(f"{store.models.states.path(begins.state_hash)}: {error}") from error


def _check_older(store: Store, spec: TaskSpec, row: ModelRow) -> Check:
    """A model from before the history that is kept: its bytes are those that were published."""
    try:
        store.models.bytes_of(row, spec)
    except Damaged as damaged:
        return Check(0, row.version, b"", False, str(damaged), kept="file")
    return Check(0, row.version, row.model_hash, False, "", kept="file")


def _round_in_work(store: Store, task: str) -> Iterator[Check]:
    """Name the accepted updates that no sum could be made of any more."""
    plan = store.rounds.unfolded(task)
    if plan is None or plan.round in {fold.round for fold in store.models.folds(task)}:
        return
    for member in store.rounds.members(task, plan.plan_id):
        try:
            store.rounds.update(plan.plan_id, member)
        except Damaged as damaged:
            now = store.rounds.plan(task, plan.plan_id)
            if now is not None and not now.folded:  # else a running aggregator has erased it
                fault = f"the update of {member.device}: {damaged}"
                yield Check(plan.round, plan.base_version + 1, b"", True, fault)


def first_state(store: Store, spec: TaskSpec, seed: bytes) -> ServerState:
    """What rounds began from. Raises Damaged: it was imported and is not here any more.

    Only the hash of a model that was drawn tells on which grid that was: what its task says of
    compression may be otherwise since, and releases before had other grids, or none.
    """
    imported = store.tasks.imported(spec.task)
    if imported is not None:
        return state_of_version(store, spec, FIRST_VERSION, imported)
    known = [row.model_hash for row in store.models.rows(spec.task) if row.version == FIRST_VERSION]
    for grid in initial.GRIDS:
        state = initial.initial_state(spec.layers, seed, spec.loss, grid)
        if hash_of(spec, state) in known:
            break
    return state


def state_of_version(
    store: Store, spec: TaskSpec, version: int, name: bytes | None = None
) -> ServerState:
    """What rounds go on from when they begin with a version's weights. Raises Damaged.

    name: the hash that the version must have
    """
    for row in store.models.rows(spec.task):
        if row.version == version:
            wanted = replace(row, model_hash=name or row.model_hash)
            weights = store.models.bytes_of(wanted, spec)
            return state_of_weights(spec.layers, row.exponents, weights)
    raise Damaged(f"model {version} is missing")


def hash_of(spec: TaskSpec, state: ServerState) -> bytes:
    """The hash of the model that devices get of this state."""
    return digest.model_hash(spec, state.exponents, state.view)


def _scaled(store: Store, specs: Mapping[int, TaskSpec], before: TaskSpec, row: Fold) -> TaskSpec:
    """The task with the scale that it has after a round. Raises Damaged, NativeError."""
    if row.measured:
        total = measure.total_of(store.models.sums.get(row.sum_hash))
        return replace(before, scale=measure.scale_of(total))
    if row.back_to is not None and row.back_to in specs:
        return replace(before, scale=specs[row.back_to].scale or before.scale)
    return before


def _recompute(
    store: Store, spec: TaskSpec, state: ServerState, row: Fold, plan: PlanRow | None
) -> ServerState:
    """The state after a round, from its sum or an old model. Raises Damaged, ValueError."""
    if row.measured:
        return state
    if row.back_to is not None:
        return state_of_version(store, spec, row.back_to)
    total = sums.from_bytes(store.models.sums.get(row.sum_hash), state.layers)
    steps = None if plan is None or plan.limits is None else plan.limits.steps
    fraction = fraction_of(None if plan is None else plan.target)
    return aggregate(state, [GroupSum(total, row.weight, (), fraction)], row.setup, steps)


def _check_round(
    store: Store, spec: TaskSpec, row: Fold, plan: PlanRow | None, before: ServerState
) -> bool:
    """Plan and members fit the journal; whether the sum was added up again. Raises Mismatch."""
    if row.back_to is not None:  # a round that was open was ended without a sum
        return False
    if plan is None or not plan.folded or plan.limits is None:
        raise Mismatch("the journal has a round that was never closed")
    if (plan.base_version, plan.base_hash) != (row.version - 1, hash_of(spec, before)):
        raise Mismatch("the plan's base is not the model before it")
    members, limits = store.rounds.members(spec.task, plan.plan_id), plan.limits
    if row.measured:
        return plan.kept and _check_statistics(store, row, plan, members)
    if sum(min(member.weight, limits.examples) for member in members) != row.weight:
        raise Mismatch("the members' weights do not add up to the journal's")
    if not plan.kept:
        return False
    base = Base(before.layers, before.exponents, plan.target)
    total = Sum(base.layers, base.fraction)
    try:
        for member, update in stored(store.rounds, plan.plan_id, members):
            add(total, base.read(member.device, update), limits)
    except Damaged as damaged:
        raise Mismatch(str(damaged)) from damaged
    if sha256(sums.to_bytes(total.total)) != row.sum_hash or total.weight != row.weight:
        raise Mismatch("the updates add up to another sum")
    return True


def _check_statistics(
    store: Store, row: Fold, plan: PlanRow, members: Sequence[DecisionRow]
) -> bool:
    """The updates add up to the sum that made the scale. Raises Mismatch."""
    try:
        devices = measure.measured(store.rounds, plan.plan_id, members)
    except Damaged as damaged:
        raise Mismatch(str(damaged)) from damaged
    total = scale.total_of([one for _, one in devices], limited=row.limited)
    if sha256(packed.pack(total)) != row.sum_hash or total.count != row.weight:
        raise Mismatch("the updates add up to another sum")
    return True


def _check_state(store: Store, spec: TaskSpec, row: Fold, state: ServerState) -> None:
    """The aggregator goes on from the state that the sums give. Raises Mismatch."""
    old = row.state_form == StateForm.VALUES_AND_VELOCITY
    bytes_of = to_values_and_velocity if old else state_to_bytes
    hashes = sha256(bytes_of(state)), hash_of(spec, state)
    if hashes != (row.state_hash, row.model_hash):
        raise Mismatch("the journal names another model or another state of the server")
    if store.models.newest(spec.task).version == row.version:
        _check_newest_state(store, spec, state)


def _check_newest_state(store: Store, spec: TaskSpec, state: ServerState) -> None:
    """The file that the next mean is added to is there and sound. Raises Mismatch."""
    name = store.models.newest_state(spec.task)
    if sha256(state_to_bytes(state)) != name:
        raise Mismatch("the next round would begin from another state of the server")
    try:
        store.models.states.get(name)
    except Damaged as damaged:
        raise Mismatch(str(damaged)) from damaged


def _fault_of_model(store: Store, spec: TaskSpec, state: ServerState, row: ModelRow | None) -> str:
    """What the published model has other than the recomputed state; empty: nothing."""
    if row is None:
        return "the model is missing"
    try:
        weights = store.models.bytes_of(row, spec)
    except Damaged as damaged:
        return str(damaged)
    same = row.exponents == state.exponents and row.scale == spec.scale
    if not same or weights != state.view:
        return "another model was published"
    return ""
