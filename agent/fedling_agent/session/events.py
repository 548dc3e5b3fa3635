"""What a session is told, and what it asks for.

The shell's contract:

- It gives one event at a time to `machine.step`, then executes the actions of the list in order.
  What an action brings about (a model stored, a training finished) is given as an event when the
  whole list was executed.
- An action marked **durable** is on disk (fsync) before the next action of the list is executed.
  If that fails (disk full), the shell throws the rest of the list and the state away and rebuilds
  the state with `state.restore`, as after a crash. Actions may be executed twice (a crash between
  two of them): each is idempotent.
- Sending never fails towards the machine: what cannot be sent is dropped; the machine asks again.
- After each step it asks `state.due(state)`, and gives Tick at that time.
- Only verified messages become events: signature, topic, limits, schema. Anything else is refused
  and counted before it gets here.
- Milliseconds are of the boot-time clock (it counts while the machine sleeps); they are never
  written down, since they mean nothing after a restart.
"""

from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import Plan, Receipt, Rest, Ticket, Verdict

# --- events ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """Connected to the MQTT broker, and plan, ticket, receipt and keys are subscribed.

    The broker then sends the retained plan or rest: PlanSeen or RestSeen follows.
    """


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone, and with it every transfer and every subscription to a model."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What policy and conditions say now; given at start and whenever one of the four changes.

    The trainer's lease, not this event, keeps a running child from a batch too many.
    """

    train: bool
    transfer: bool  # large messages: models and updates, both ways
    send: bool  # no more than transfer: updates, and questions that lead to them
    enough: bool  # at least min_examples of the last seen plan; asked before a plan is begun


@dataclass(frozen=True, slots=True)
class PlanSeen:
    """A plan is open. Also given when the same plan comes again."""

    plan: Plan
    finished: bool  # the store says: PlanOver was executed for it; or this agent cannot do it
    held: bool  # the base model is on disk


@dataclass(frozen=True, slots=True)
class RestSeen:
    """The aggregator says that no plan is open."""

    rest: Rest
    held: bool  # the newest model is on disk


@dataclass(frozen=True, slots=True)
class TicketSeen:
    """An answer to a join."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class ReceiptSeen:
    """The aggregator's word on a plan, or on the update with that message hash."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Enrolled:
    """This device's certificate came (keys/<device>): no need to wait longer."""


@dataclass(frozen=True, slots=True)
class ModelStored:
    """The model asked for by FetchModel is verified (its hash too), on disk, and unsubscribed."""

    version: int
    model_hash: bytes


@dataclass(frozen=True, slots=True)
class ModelComing:
    """A chunk of the model asked for by FetchModel, or of its change, is verified and on disk."""

    version: int


@dataclass(frozen=True, slots=True)
class UpdateSpooled:
    """The training asked for by StartTraining is finished.

    Before it gives this event the shell has signed the update and, in one transaction, put it into
    the spool and ended the plan's being begun (the checkpoint goes; what a replay needs stays).
    It may follow a PauseTraining (the child was just done), never a PlanOver.
    """

    plan_id: bytes
    update_hash: bytes  # message hash


@dataclass(frozen=True, slots=True)
class TrainingFailed:
    """This plan cannot be trained here, for good: the shell has tried as often as it likes."""

    plan_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateSent:
    """The MQTT broker has the update asked for by SendUpdate (PUBACK). No durability is implied."""

    plan_id: bytes


@dataclass(frozen=True, slots=True)
class UpdateLost:
    """The file of a spooled update is gone or damaged: it can never be sent."""

    plan_id: bytes
    update_hash: bytes


@dataclass(frozen=True, slots=True)
class Erase:
    """The owner erases examples. Beats everything.

    The shell has written down that an erasure is under way; after a restart it gives this event
    again, until the actions were executed. Only then it deletes the examples.
    """


@dataclass(frozen=True, slots=True)
class Tick:
    """The time of `state.due` has come. Harmless at any other time."""


Event = (
    Connected
    | Disconnected
    | Allowed
    | PlanSeen
    | RestSeen
    | TicketSeen
    | ReceiptSeen
    | Enrolled
    | ModelComing
    | ModelStored
    | UpdateSpooled
    | TrainingFailed
    | UpdateSent
    | UpdateLost
    | Erase
    | Tick
)

# --- actions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendJoin:
    """Publish a Join. The shell adds the public key if this device has no certificate yet."""

    plan_id: bytes
    nonce: bytes
    have: bytes | None


@dataclass(frozen=True, slots=True)
class AskPlan:
    """Subscribe to the plans again, so that the MQTT broker sends what it retains there."""


@dataclass(frozen=True, slots=True)
class FetchModel:
    """Get this model: if it is on disk, ModelStored follows; else subscribe to model/<version>,
    or to those chunks of it that are not on disk.

    A model with another hash is refused and counted; the subscription stays.
    """

    version: int
    model_hash: bytes
    size: int  # bytes of the Model message
    generation: int = 0  # of the task


@dataclass(frozen=True, slots=True)
class CancelFetch:
    """Stop receiving this model, now: unsubscribe, and if bytes of it are on their way, drop the
    connection. MQTT knows no other way to stop a PUBLISH."""

    version: int
    late: bool = False  # it has not come in time


@dataclass(frozen=True, slots=True)
class StartTraining:
    """**Durable**: the plan is begun and its training set is frozen, unless both are so already.

    Then start the child, or let it go on from its checkpoint. Ends in UpdateSpooled or
    TrainingFailed. The base model is on disk: the shell keeps it as long as the plan is begun.
    While the shell's one training slot is taken by another task, the start waits for it.
    """

    plan: Plan


@dataclass(frozen=True, slots=True)
class PauseTraining:
    """The child finishes its batch, writes a checkpoint, ends. The plan stays begun."""

    plan_id: bytes


@dataclass(frozen=True, slots=True)
class SendUpdate:
    """Publish the spooled envelope, byte for byte, as one message or as those of its chunks that
    the aggregator has not; if it has all, the last one. UpdateSent follows at the last PUBACK."""

    plan_id: bytes
    update_hash: bytes
    here: bytes = b""  # the chunks that the aggregator has, as Ticket says it


@dataclass(frozen=True, slots=True)
class CancelUpdate:
    """Stop sending this update, now: if only a part of it went out, drop the connection."""

    plan_id: bytes


@dataclass(frozen=True, slots=True)
class PlanOver:
    """**Durable**, in one transaction: this device is done with the plan, it never trains it again.

    A child that works on it is stopped. Its checkpoint, and its frozen set if nothing of it was
    spooled, are deleted; so is its spool entry. What became of it is written down (the receipt).
    From now on PlanSeen says `finished` for it, as long as the store remembers plans.
    """

    plan_id: bytes
    update_hash: bytes | None  # of the spool entry that ends; None: nothing was spooled
    verdict: Verdict | None  # as received, a duplicate's first verdict; None: the device gave up
    reason: str  # of the receipt; or "superseded", "erased", "failed: ..."


Action = (
    SendJoin
    | AskPlan
    | FetchModel
    | CancelFetch
    | StartTraining
    | PauseTraining
    | SendUpdate
    | CancelUpdate
    | PlanOver
)
