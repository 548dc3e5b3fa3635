"""Computes a past update again from what the device still has, and tells how it was trained."""

import hashlib

from fedling_agent.store.plans import PlanRecord
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Freezer, Frozen, assemble, find_recordings
from fedling_agent.training.local_sgd import LocalSgd
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import Missing
from fedling_protocol.runtime.slices import Slices, finish
from fedling_protocol.wire import sums
from fedling_protocol.wire.digest import order, order_seed
from fedling_protocol.wire.messages import PlanKind


@dataclass(frozen=True, slots=True)
class Replay:
    """A second computation of an update."""

    plan_id: bytes
    expected: bytes  # SHA-256 of the vector that was spooled
    computed: bytes

    @property
    def same(self) -> bool:
        """Whether both computations gave the same update, bit for bit."""
        return self.expected == self.computed


def replay(store: Store, fleet: str, secret: bytes, plan_id: bytes) -> Replay:
    """Train a past plan again in this process, as fast as it can.

    Raises Missing: plan unknown, samples evicted, base model gone, not finished yet.
    """
    record = _find(store, plan_id)
    if record.vector_hash is None:
        raise Missing(f"plan {plan_id.hex()} is still in work: there is no update to compare with")
    frozen = finish(_read_again(store, record))
    if frozen.hash != record.frozen_hash:
        raise Missing("samples evicted: recordings of these names were ingested anew")
    if record.plan.kind is PlanKind.STATISTICS:
        vector = sums.pack(frozen.sums)
        return Replay(plan_id, record.vector_hash, hashlib.sha256(vector).digest())
    freezer = Freezer(store, fleet, secret)
    recipe, base = freezer.recipe(
        record.plan, frozen.hash, frozen.data_sum, record.normaliser, frozen.count
    )
    run = LocalSgd(recipe, base, memoryview(frozen.data))
    while not run.finished:
        run.step()
    vector, _ = run.update()
    return Replay(plan_id, record.vector_hash, hashlib.sha256(vector).digest())


def batch_order(
    store: Store, fleet: str, secret: bytes, plan_id: bytes
) -> list[list[list[tuple[str, int]]]]:
    """List [epoch][batch][example] as window ids. Raises Missing if the plan is unknown."""
    record = _find(store, plan_id)
    examples = finish(store.plans.examples(record))
    batch = record.plan.training.batch
    epochs = []
    for positions in _order(record, fleet, secret):
        ids = [(examples[i].recording, examples[i].first) for i in positions]
        epochs.append([ids[at : at + batch] for at in range(0, len(ids), batch)])
    return epochs


def export(store: Store, fleet: str, secret: bytes, plan_id: bytes) -> dict[str, object]:
    """Make JSON of round, examples with labels, normaliser, order by positions, hashes, weight."""
    record = _find(store, plan_id)
    plan, training = record.plan, record.plan.training
    return {
        "plan": plan_id.hex(),
        "task": plan.spec.task,
        "stream": plan.spec.stream,
        "round": plan.round,
        "state": str(record.state),
        "base_version": plan.base_version,
        "base_hash": plan.base_hash.hex(),
        "window": plan.spec.window,
        "epochs": training.epochs,
        "batch": training.batch,
        "lr_q24": training.lr_q24,
        "weight": min(record.examples, training.weight_cap),
        "frozen_hash": record.frozen_hash.hex(),
        "vector_hash": None if record.vector_hash is None else record.vector_hash.hex(),
        "update_hash": None if record.update_hash is None else record.update_hash.hex(),
        "normaliser": record.normaliser.to_tuples(),  # mean, mantissa, shift of each channel
        "examples": [
            [e.recording, e.first, e.revision, e.label]
            for e in finish(store.plans.examples(record))
        ],
        "order": _order(record, fleet, secret),  # positions in examples, of each epoch
    }


def _read_again(store: Store, record: PlanRecord) -> Slices[Frozen]:
    spec, recordings = record.plan.spec, store.recordings
    windows = yield from store.plans.examples(record)
    used = yield from find_recordings(recordings, spec.stream, windows)
    return (yield from assemble(recordings, spec, windows, used))


def _order(record: PlanRecord, fleet: str, secret: bytes) -> list[list[int]]:
    plan = record.plan
    if plan.kind is PlanKind.STATISTICS:
        return []  # nothing was trained
    seed = order_seed(secret, fleet, plan.spec.task, plan.plan_id)
    return [order(seed, epoch, record.examples) for epoch in range(plan.training.epochs)]


def _find(store: Store, plan_id: bytes) -> PlanRecord:
    record = store.plans.find(plan_id)
    if record is None:
        raise Missing(f"plan {plan_id.hex()} is not among the last 100 of this device")
    return record
