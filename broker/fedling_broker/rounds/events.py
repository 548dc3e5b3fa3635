"""What the rounds of a task are told, and what they ask for.

The shell's contract:

- It gives one event at a time to `machine.step`, then executes the actions of the list in order.
  What an action brings about (Opened, Folded) is given as an event when the whole list was done.
- An action marked **durable** is on disk before anything is said of what comes after it in the
  list, or in later lists. Many of them may be committed together, in their order, all or none: the
  words behind them wait (service/turns.py). If that fails (disk full), the shell throws the state
  away, with all that was not said, and rebuilds it with `state.restore`, as after a crash. Actions
  may be executed twice (a crash before the commit): each is idempotent.
- A state given to `machine.step` is spent: only the one that it returns may be used again.
- Sending is best effort: what cannot be sent is dropped; devices ask again.
- After each step it asks `state.due(state)`, and gives Tick at that time; and once after `restore`.
- Only verified messages become events: signature, topic, limits, schema. Anything else is refused
  and counted before it gets here.
- A coded update is given when it has been read, if `machine.is_to_be_read` says so: that takes long
  for a large model, and goes on beside the loop. Meanwhile anything may happen.
- What is known of the open plan (`state.open_plan`) is in the state. About a message for another
  plan the shell asks the database, and gives what it says as `past`.
- Milliseconds are of the boot-time clock; they are never written down. What is written down is
  `at_ms`: how long the round had been open.
"""

from fedling_broker.aggregation.reading import Read
from fedling_broker.rounds.terms import Terms
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import Join, Receipt, Ticket, Update, Verdict


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a device's update to a plan, and is written down."""

    update_hash: bytes
    verdict: Verdict  # accepted, refused or late
    reason: str


@dataclass(frozen=True, slots=True)
class Past:
    """What the database knows of a plan that is not open, and of one device in it."""

    decision: Decision | None


# --- events ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """Connected to the MQTT broker and subscribed: what is retained there has to be set again."""


@dataclass(frozen=True, slots=True)
class JoinSeen:
    """A device asks to take part, or what became of its update."""

    device: str
    join: Join
    certified: bool  # False: the join was signed with the key in it, and that key has this id
    past: Past | None = None  # not of the open plan; None: no such plan in this task's database
    here: bytes = b""  # which chunks of the update that the device has are here, as Ticket says it


@dataclass(frozen=True, slots=True)
class UpdateSeen:
    """A device sent an update."""

    device: str
    update: Update
    message: bytes  # all of it as it came: what is stored
    update_hash: bytes  # message hash
    past: Past | None = None  # as in JoinSeen
    read: Read | None = None  # of a coded one what it says; None: it was not to be read
    unreadable: bool = False  # no encoder wrote its vector


@dataclass(frozen=True, slots=True)
class DeviceGone:
    """A device was revoked; its place is gone from the disk already."""

    device: str


@dataclass(frozen=True, slots=True)
class Opened:
    """OpenRound was executed."""

    plan_id: bytes
    terms: Terms


@dataclass(frozen=True, slots=True)
class Folded:
    """FoldRound was executed."""

    plan_id: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """The time of `state.due` has come. Harmless at any other time."""


Event = Connected | JoinSeen | UpdateSeen | DeviceGone | Opened | Folded | Tick

# --- actions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenRound:
    """**Durable**: the plan of this round on the newest model is in the database, open. Round 0
    asks for statistics.

    Its plan_id is derived (digest.plan_id), so doing it again yields the same plan. Opened follows;
    nothing is published yet.
    """

    round: int


@dataclass(frozen=True, slots=True)
class PublishPlan:
    """Set what is retained: the base model of this plan first, then the plan; models that are
    neither are emptied last."""

    plan_id: bytes


@dataclass(frozen=True, slots=True)
class PublishRest:
    """Set what is retained: the newest model first, then Rest; other models are emptied last."""

    look_again_s: int


@dataclass(frozen=True, slots=True)
class GrantPlace:
    """**Durable**: the device has a place in the plan's cohort until the round is `until_ms` old.

    A place that the device has already is prolonged. `instead_of` loses its expired place in the
    same transaction.
    """

    plan_id: bytes
    device: str
    until_ms: int
    instead_of: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class SendTicket:
    """Publish a ticket to this device."""

    device: str
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class StoreUpdate:
    """**Durable**: the update's bytes, then the decision `accepted` about (plan, device), which
    says where they lie. The update is in the round's sum from then on."""

    device: str
    update: Update
    message: bytes
    update_hash: bytes
    at_ms: int
    read: Read | None = None  # as in UpdateSeen


@dataclass(frozen=True, slots=True)
class RecordDecision:
    """**Durable**: the decision about (plan, device), for ever. The update's bytes are thrown away.

    A place of the device in the plan's cohort ends with it.
    """

    plan_id: bytes
    device: str
    decision: Decision
    size: int  # bytes of the message that was decided about; 0: it never came


@dataclass(frozen=True, slots=True)
class SendReceipt:
    """Publish a receipt to this device."""

    device: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class CloseRound:
    """**Durable**: the plan is closed; whatever comes for it from now on is late."""

    plan_id: bytes


@dataclass(frozen=True, slots=True)
class FoldRound:
    """Add up all accepted updates of the closed plan and make the next model.

    It goes on beside the loop; other events come meanwhile. **Durable**, in one transaction after
    the files of model, state and sum: journal, new model version, the plan is folded, its updates
    are no longer needed. Folded follows.
    """

    plan_id: bytes


Action = (
    OpenRound
    | PublishPlan
    | PublishRest
    | GrantPlace
    | SendTicket
    | StoreUpdate
    | RecordDecision
    | SendReceipt
    | CloseRound
    | FoldRound
)
