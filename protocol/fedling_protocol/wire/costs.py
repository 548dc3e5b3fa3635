"""What the fields of messages cost whoever receives them, and what bounds that (docs/costs.md).

Every field of every record stands in one list or the other: a test looks. A bound of this table is
checked before it is paid; `measure` says how much a message asks for, `most` is never passed by one
that was let in.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from fedling_native import weights_size
from fedling_protocol.classes import dataclass
from fedling_protocol.wire import limits, work
from fedling_protocol.wire.messages import Plan, Roots, Tasks, TaskSpec, Update


class Unit(StrEnum):
    """In what a cost is counted."""

    WORK = "multiply-accumulates"
    PROCESSOR = "minutes of a core"
    MEMORY = "bytes of memory"
    FLASH = "bytes on flash"
    WIRE = "bytes on the wire"
    MESSAGES = "messages"
    SAMPLES = "samples looked at"
    TIME = "seconds"


class Whose(StrEnum):
    """Who says the bound."""

    PROTOCOL = "SPEC.md"
    DEVICE = "the device"
    OWNER = "its owner"
    AGGREGATOR = "the aggregator"


@dataclass(frozen=True, slots=True)
class Cost:
    """One thing that is paid."""

    what: str
    unit: Unit
    fields: tuple[str, ...]  # Record.field
    bound: str
    whose: Whose
    checked: str  # when
    most: int = 0  # of measure()
    measure: Callable[[Any], int] | None = None  # of a message of the type that `of` names
    of: type | None = None


def _values(spec: TaskSpec) -> int:
    """The most values of an example that some layer stores or gives."""
    return max(max(layer.padded_inputs, layer.outputs) for layer in spec.layers)


def _step_memory(plan: Plan) -> int:
    """As fdl_step_arena_size() counts, without its rounding."""
    held = sum(layer.padded_inputs for layer in plan.spec.layers)
    return plan.training.batch * (6 * _values(plan.spec) + held)


def _weights_memory(plan: Plan) -> int:
    """Weights, those of the start, packed ones; an int32 a parameter with momentum."""
    size = weights_size(plan.spec.layers)
    return size * (5 if plan.training.momentum else 3)


def _frozen_bytes(plan: Plan) -> int:
    """A window of int16 and its class."""
    return 2 * plan.spec.window * plan.spec.channels + 1


SPEC_FIELDS: Final = ("TaskSpec.layers", "TaskSpec.loss")

COSTS: Final[tuple[Cost, ...]] = (
    Cost(
        "a batch, in the midst of which nothing stops training", Unit.WORK,
        ("TaskSpec.layers", "Training.batch"),
        "2^33; a child that is not done in 20 times what that takes here is killed",
        Whose.PROTOCOL, "when the plan is read",
        limits.MAX_WORK, lambda p: work.of_batch(p.spec.layers, p.training.batch), Plan,
    ),
    Cost(
        "the training of all rounds", Unit.PROCESSOR,
        ("TaskSpec.layers", "Training.epochs", "Training.batch"),
        "`policy.work` in 24 hours", Whose.OWNER, "before each batch",
    ),
    Cost(
        "activations and errors of a batch", Unit.MEMORY,
        (*SPEC_FIELDS, "TaskSpec.window", "TaskSpec.channels", "Training.batch"),
        "7 * 2^24", Whose.PROTOCOL, "when the plan is read",
        7 * limits.MAX_STEP, _step_memory, Plan,
    ),
    Cost(
        "weights while they are trained", Unit.MEMORY, ("TaskSpec.layers", "Training.momentum"),
        "5 * 16 MiB", Whose.PROTOCOL, "when the plan is read",
        5 * limits.MAX_WEIGHTS, _weights_memory, Plan,
    ),
    Cost(
        "a training set, in memory and as a file", Unit.FLASH,
        ("TaskSpec.window", "TaskSpec.channels", "TaskSpec.stride", "TaskSpec.labels"),
        "16 MiB and 65,536 windows; the newest are taken", Whose.DEVICE, "before it is gathered",
        2 * limits.MAX_VALUES + 1, _frozen_bytes, Plan,
    ),
    Cost(
        "windows that test the base model, in memory and as a file", Unit.FLASH,
        ("TaskSpec.window", "TaskSpec.channels", "Training.holdout"),
        "2 MiB, 4,096 windows and as many as train; the newest are taken", Whose.DEVICE,
        "before they are gathered",
    ),
    Cost(
        "testing them: a third of what training once on as many takes", Unit.WORK,
        ("TaskSpec.layers", "Training.batch", "Training.holdout"),
        "a third of a batch at a time, all in `policy.work`", Whose.OWNER, "before each piece",
    ),
    Cost(
        "looking for windows, with a hash for each block that may be kept out", Unit.SAMPLES,
        ("TaskSpec.stream", "TaskSpec.stride", "TaskSpec.normalise", "Training.holdout",
         "Training.holdout_block", "Training.min_examples", "Training.new_examples"),
        "what `store.bytes` holds, once a plan, in slices of the loop", Whose.OWNER,
        "a slice at a time",
    ),
    Cost(
        "sums over the training set, for statistics", Unit.SAMPLES,
        ("Plan.kind", "TaskSpec.channels"), "those of one training set", Whose.DEVICE,
        "a slice at a time",
    ),
    Cost(
        "a plan or rest that is later than the last: a write, and a count of windows",
        Unit.MESSAGES,
        ("Plan.epoch", "Plan.generation", "Plan.base_version", "Plan.plan_id", "Rest.epoch",
         "Rest.generation", "Rest.version"),
        "200 at once, then one in 30 s, of each of 16 tasks", Whose.DEVICE, "before it is written",
    ),
    Cost(
        "a model comes, an update goes", Unit.WIRE,
        ("Plan.model_size", "Rest.model_size", "Plan.base_hash", "Rest.model_hash",
         "Model.weights", "Change.steps", "Plan.change_size", "Rest.change_size",
         "TaskSpec.layers", "Plan.codec", "Plan.rate"),
        "`policy.traffic` in 24 hours; a task whose model alone is more is declined", Whose.OWNER,
        "before it is asked for",
        limits.MAX_LARGE, lambda p: p.model_size, Plan,
    ),
    Cost(
        "chunks of a model or change that are here before the rest of it", Unit.FLASH,
        ("Chunk.data", "Plan.chunked", "Rest.chunked", "Chunked.size", "Chunked.model",
         "Chunked.change"),
        "1,100 files, together the size that the plan or rest says, of one message a task",
        Whose.PROTOCOL, "when the plan is read; a chunk when it comes",
        limits.MAX_CHUNKS, lambda p: 0 if p.chunked is None else p.chunked.count(p.model_size),
        Plan,
    ),
    Cost(
        "changes of a model that are here before the others", Unit.MEMORY,
        ("Plan.recent", "Rest.recent"),
        "8, together of fewer bytes than the model", Whose.PROTOCOL, "when the plan is read",
        limits.MAX_RECENT, lambda p: 0 if p.recent is None else p.recent.count, Plan,
    ),
    Cost(
        "models that are kept", Unit.FLASH, ("Model.weights", "Model.version", "Model.spec"),
        "8 and 32 MiB a task, 16 tasks", Whose.DEVICE, "the newest alone is kept whatever its size",
    ),
    Cost(
        "a plan that is kept with what came of it", Unit.FLASH,
        ("Plan.cohort", "TaskSpec.labels", "TaskSpec.layers"),
        "131,072 each, the last 100", Whose.PROTOCOL, "when it comes",
        limits.MAX_COHORT * 16 + limits.MAX_LABELS * limits.MAX_LABEL_BYTES,
        lambda p: 16 * len(p.cohort or ()) + sum(len(x.encode()) for x in p.spec.labels), Plan,
    ),
    Cost(
        "asking for plans, which brings all of them", Unit.MESSAGES, ("Rest.look_again_s",),
        "one in 60 s, whatever it says, and none while transfers are not allowed", Whose.DEVICE,
        "before it is asked",
    ),
    Cost(
        "joins", Unit.MESSAGES,
        ("Ticket.answer", "Ticket.seconds", "Ticket.nonce", "Receipt.verdict", "Receipt.of"),
        "100 at once, then one in 30 s", Whose.DEVICE, "before one is sent",
    ),
    Cost(
        "waiting before a join", Unit.TIME, ("Plan.spread_s",), "3,600", Whose.PROTOCOL,
        "when the plan is read", limits.MAX_SPREAD, lambda p: p.spread_s or 0, Plan,
    ),
    Cost(
        "the list of tasks, and what is looked for in it", Unit.FLASH,
        ("Tasks.tasks", "Tasks.number", "TaskInForce.task", "TaskInForce.generation"),
        "512 tasks", Whose.PROTOCOL, "when it comes",
        limits.MAX_TASKS, lambda t: len(t.tasks), Tasks,
    ),
    Cost(
        "certificates that are kept", Unit.FLASH,
        ("Certificate.key", "Certificate.role", "Certificate.id", "Certificate.serial",
         "Certificate.revoked"),
        "1,024 each: a device three, the aggregator those of its fleet", Whose.PROTOCOL,
        "signed by a root or the authority, of a higher serial",
    ),
    Cost(
        "the chain of roots, a signature each, and all of it kept", Unit.FLASH,
        ("Roots.links", "Link.key", "Link.signature", "Link.issued_s"),
        "32 roots; of those that are known none is verified again", Whose.PROTOCOL,
        "before the first signature",
        limits.MAX_SUCCESSORS, lambda r: len(r.links), Roots,
    ),
    Cost(
        "a device that enrols: certificates, a use of its token", Unit.FLASH,
        ("Enrol.key", "Enrol.tls_key", "Enrol.token_id", "Enrol.mac", "Enrol.nonce", "Enrol.name",
         "Enrol.seal_key"),
        "so often as its token says, and once for each two thirds of a certificate's life",
        Whose.AGGREGATOR, "before anything is signed",
    ),
    Cost(
        "what a device gets when it enrols", Unit.FLASH,
        ("Enrolled.grant", "Grant.root", "Grant.authority", "Grant.aggregator", "Grant.device",
         "Grant.roots", "Grant.tls_certificate", "Grant.tls_ca"),
        "16,384 bytes, for an Enrol of its own", Whose.PROTOCOL, "its size before its signature",
    ),
    Cost(
        "how a plan ended", Unit.FLASH,
        ("Receipt.plan_id", "Receipt.update_hash", "Receipt.reason"),
        "a row for a plan that is known, the last 10,000", Whose.DEVICE, "before it is written",
    ),
    Cost(
        "an update at the aggregator, in memory and as a file", Unit.FLASH,
        ("Update.vector", "Update.codec", "Update.chunks"),
        "its task's vector, 7 a label and 1,024, of devices with a place, one a plan",
        Whose.AGGREGATOR, "its size before its signature, its place before it is written",
    ),
    Cost(
        "chunks of an update at the aggregator before the rest of it", Unit.FLASH,
        ("Chunk.data",),
        "the bytes of one update, of devices with a place, as long as the round is open",
        Whose.AGGREGATOR, "its size before its signature, its place before it is written",
    ),
    Cost(
        "what an update says of its test", Unit.FLASH, ("Update.tested",),
        "256 classes, 7 bytes each in the message, 12 in the database", Whose.PROTOCOL,
        "when the update is read",
        limits.MAX_LABELS, lambda u: len(u.tested or ()), Update,
    ),
    Cost(
        "who asks without a certificate", Unit.FLASH, ("Join.key",),
        "1,000 rows; 60 at once, then one a second", Whose.AGGREGATOR, "before it is written",
    ),
    Cost(
        "places and verdicts", Unit.FLASH, ("Join.plan_id", "Join.have", "Update.plan_id"),
        "a row for a certified device and a plan of ours", Whose.AGGREGATOR, "before it is written",
    ),
)  # fmt: skip

FREE: Final[Mapping[str, str]] = {
    "Certificate.fleet": "compared",
    "Certificate.issued_s": "compared",
    "Certificate.until_s": "compared",
    "Certificate.name": "32 characters, shown",
    "Enrolled.nonce": "compared",
    "Enrolled.reason": "64 characters, shown",
    "Enrolled.mac": "compared",
    "Grant.host": "253 characters, written into a file",
    "Grant.port": "written into a file",
    "TaskSpec.task": "compared with the topic",
    "Training.lr_q24": "a factor",
    "Training.weight_cap": "a factor",
    "Training.clip_q16": "a factor",
    "Training.frozen": "makes work less",
    "Training.proximal_q16": "a pull costs a pass over the weights, no more than a batch",
    "Conditions.mains": "compared with a reading that is made anyway",
    "Conditions.battery": "compared with a reading that is made anyway",
    "Conditions.temperature": "compared with a reading that is made anyway",
    "Plan.round": "shown",
    "Plan.target": "a coded vector costs passes over the weights, however long it shall be",
    "Plan.spec": "its fields",
    "Plan.training": "its fields",
    "Plan.conditions": "its fields",
    "Rest.paused": "200 bytes, shown",
    "Rest.spec": "its fields",
    "Tasks.epoch": "compared",
    "TaskSpec.scale": "64 factors",
    "Model.packed": "read once, in a time that grows with the weights",
    "Change.version": "the topic's: no other is looked at",
    "Change.exponents": "one a layer of the model that is held, else it is of no use",
    "Change.drawn": "as Model.drawn",
    "Chunk.whole": "compared",
    "Chunk.size": "compared",
    "Model.drawn": "shown: nobody has trained it",
    "Model.exponents": "compared with the hash",
    "Join.nonce": "comes back",
    "Ticket.plan_id": "compared",
    "Ticket.reason": "64 characters, shown",
    "Ticket.epoch": "compared",
    "Ticket.here": "1,100 bits, looked at",
    "Receipt.epoch": "compared",
    "Update.base_version": "compared",
    "Update.base_hash": "compared",
    "Update.weight": "compared with the cap, and cut to what counts",
    "Update.saturated": "shown",
    "State.code": "the aggregator does not read it",
    "State.version": "the aggregator does not read it",
    "State.why_not": "the aggregator does not read it",
}
