"""An aggregator's store with rounds that were folded without any network."""

from array import array
from pathlib import Path

from fedling_broker.service import fold
from fedling_broker.store.store import DecisionRow, PlanRow, Store
from fedling_broker.tasks.task_file import Task, parse_task
from fedling_protocol.wire import digest, envelope
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Update, Verdict
from fedling_protocol.wire.topics import Topics

SEED = b"s" * 32
TOPICS = Topics("fedling", "test")
KEYS = [SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3)]
TEXT = """
[task]
name = "tiny"
stream = "wrist"
window = 4
stride = 4
channels = 2
labels = ["up", "down"]
[model]
layers = [5, 2]
[training]
epochs = 1
batch = 4
learning_rate = 0.1
[server]
momentum = 0.5
[cohort]
goal = 3
"""
TASK: Task = parse_task(TEXT, "tiny.toml")
WEIGHTS, BIASES = 8 * 5 + 5 * 2, 5 + 2


def make_store(directory: Path) -> Store:
    """With the task, its first model, no round."""
    Store.create(directory)
    store = Store(directory)
    store.add_task(TASK, TEXT, SEED)
    return store


def open_round(store: Store, number: int) -> PlanRow:
    base = store.newest("tiny")
    epoch = store.ledger.meta("restore_epoch")
    plan_id = digest.plan_id(b"secret", "test", "tiny", number, base.model_hash, epoch)
    store.open_round("tiny", number, plan_id, base)
    plan = store.plan("tiny", plan_id)
    assert plan is not None
    return plan


def vector(step: int) -> bytes:
    """That value everywhere."""
    return array("h", [step] * WEIGHTS).tobytes() + array("i", [step * 100] * BIASES).tobytes()


def accept(store: Store, plan: PlanRow, number: int, step: int, weight: int) -> DecisionRow:
    """Store an update of one of the three devices, and its verdict."""
    key = KEYS[number]
    update = Update(
        plan.plan_id,
        plan.base_version,
        plan.base_hash,
        weight,
        Codec.RAW_INT16,
        vector(step),
        0,
        1,
    )
    topic = TOPICS.of(Kind.UPDATE, "tiny", device_id(key.public), plan.plan_id, 0)
    message = envelope.seal(update, TOPICS.bound(topic), key)
    update_hash = store.updates.put(message)
    device = device_id(key.public)
    row = DecisionRow(device, Verdict.ACCEPTED, "", update_hash, len(message), weight, 0)
    store.decide("tiny", plan.plan_id, row)
    return row


def run_round(store: Store, number: int, *, keep: bool = False) -> PlanRow:
    """Open, three updates, close, fold."""
    plan = open_round(store, number)
    for device in range(3):
        accept(store, plan, device, 100 * number + device, 10 + device)
    store.close_round("tiny", plan.plan_id)
    fold.fold(store, TASK, plan, keep=keep)
    return plan
