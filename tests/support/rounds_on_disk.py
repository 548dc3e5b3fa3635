"""An aggregator's store with rounds that were folded without any network."""

from array import array
from collections.abc import Sequence
from pathlib import Path

from fedling_broker.aggregation.reading import Base
from fedling_broker.aggregation.sums import Sum
from fedling_broker.service.fold import fold
from fedling_broker.service.running_sum import add, read_stored
from fedling_broker.store.rounds import DecisionRow, PlanRow
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import Task, parse_task
from fedling_protocol.wire import digest, envelope
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Hits, Update, Verdict
from fedling_protocol.wire.topics import Topics

SEED = b"s" * 32
NOW_MS = 1_000_000  # of the boot, when rounds are opened
TOPICS = Topics("fedling", "test")
KEYS = [SigningKey(bytes([n]) * 32) for n in (1, 2, 3)]
TEXT = """
[task]
name = "tiny"
stream = "wrist"
window = 4
stride = 4
channels = 2
labels = ["up", "down"]
normalise = "device"
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
    base, generation = store.models.newest("tiny"), store.ledger.meta("generation")
    plan_id = digest.plan_id(b"secret", "test", "tiny", number, base.model_hash, 1, generation)
    store.rounds.open("tiny", number, plan_id, base, TASK.clip_q8, NOW_MS)
    plan = store.rounds.plan("tiny", plan_id)
    assert plan is not None
    return plan


def base_of(store: Store) -> Base:
    """The model that updates of the round in work change."""
    return Base(TASK.spec.layers, store.models.newest("tiny").exponents)


def vector(step: int) -> bytes:
    """That value everywhere."""
    return array("h", [step] * WEIGHTS).tobytes() + array("i", [step * 100] * BIASES).tobytes()


def accept(
    store: Store,
    plan: PlanRow,
    number: int,
    step: int,
    weight: int,
    tested: tuple[Hits, ...] | None = None,
) -> DecisionRow:
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
        tested,
    )
    topic = TOPICS.of(Kind.UPDATE, "tiny", device_id(key.public), plan.plan_id, 0)
    message = envelope.seal(update, TOPICS.bound(topic), key)
    device, update_hash = device_id(key.public), digest.message_hash(message)
    sizes = base_of(store).read(device, update).sizes
    with store.database.transaction("an update"):
        extent = store.rounds.add_update("tiny", plan.plan_id, message)
        row = DecisionRow(
            device, Verdict.ACCEPTED, "", update_hash, extent.first, extent.size, weight, 0,
            sizes.weights, sizes.biases, tested,
        )  # fmt: skip
        store.rounds.decide("tiny", plan.plan_id, row)
        for write in store.rounds.take_writes():
            write()
    return row


def accept_three(
    store: Store, plan: PlanRow, tests: Sequence[tuple[Hits, ...] | None] = (None,) * 3
) -> None:
    """Updates of one length, shorter than those of the round before: nothing is cut of them."""
    for device, (sign, tested) in enumerate(zip((1, -1, 1), tests, strict=True)):
        accept(store, plan, device, sign * (600 - 100 * plan.round), 10 + device, tested)


def run_round(
    store: Store,
    number: int,
    *,
    keep: bool = False,
    keep_rounds: int = 0,
    tests: Sequence[tuple[Hits, ...] | None] = (None,) * 3,
) -> PlanRow:
    """Open, three updates, close, fold. tests: what each says of its test"""
    plan = open_round(store, number)
    accept_three(store, plan, tests)
    store.rounds.close("tiny", plan.plan_id, TASK.clip_q8)
    fold_round(store, plan, keep=keep, keep_rounds=keep_rounds)
    return plan


def fold_round(store: Store, plan: PlanRow, *, keep: bool = False, keep_rounds: int = 0) -> None:
    """What a runner does about a closed round, in one go."""
    models, rounds = store.models, store.rounds
    closed = rounds.plan("tiny", plan.plan_id)
    assert closed is not None
    assert closed.limits is not None
    before, base = models.newest_state("tiny"), models.newest("tiny")
    total = Sum(TASK.spec.layers)
    members, limits = rounds.members("tiny", plan.plan_id), closed.limits
    for read in read_stored(rounds, base_of(store), plan.plan_id, members):
        add(total, read, limits)
    made = fold(models, TASK, base, before, total.group(), limits.steps)
    with store.database.transaction("a fold"):
        models.enter("tiny", made.entry(plan.round), made.model)
        version, state = made.model.version, made.state_hash
        pruned = models.horizon.move("tiny", version, state, keep_rounds)
        rounds.end("tiny", plan.plan_id, keep=keep)
    if not keep:
        rounds.erase_log(plan.plan_id)
    models.erase_state(before)
    if pruned:
        store.tidy()
