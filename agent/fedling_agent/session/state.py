"""What a session remembers; every value is replaced, never changed."""

import hashlib
from typing import NamedTuple

from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import Moment, Plan, StateCode


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a session waits. Tests that crash a process use a retry of 100 ms or less."""

    retry_ms: int = 30_000  # wait for an answer; base of the exponential back-off
    longest_ms: int = 3_600_000  # ceiling of the back-off
    transfer_ms: int = 900_000  # a fetch, or an update without PUBACK, is given up after this
    resend_longest_ms: int = 6 * 3_600_000  # ceiling between two sendings of one update


@dataclass(frozen=True, slots=True)
class Dice:
    """Deterministic randomness: SHA-256(seed || counter).

    The shell takes the seed (16 bytes or more) from os.urandom at every start: a nonce must not
    come twice.
    """

    seed: bytes
    thrown: int = 0

    def throw(self) -> tuple[bytes, "Dice"]:
        """Draw 32 bytes; the dice for the next throw come with them."""
        value = hashlib.sha256(self.seed + self.thrown.to_bytes(8, "big")).digest()
        return value, Dice(self.seed, self.thrown + 1)


@dataclass(frozen=True, slots=True)
class Spooled:
    """A finished, signed update without a receipt."""

    plan_id: bytes
    update_hash: bytes  # message hash


@dataclass(frozen=True, slots=True)
class Fetch:
    """A model that is wanted and not on disk."""

    version: int
    model_hash: bytes
    size: int
    due_ms: int | None  # given up then; None: not begun, transfers are forbidden
    moment: Moment  # of the plan or rest that named it


@dataclass(frozen=True, slots=True)
class Sent:
    """An update that was sent, so far without a receipt."""

    update_hash: bytes
    times: int
    again_ms: int  # it is not sent again before then, unless more of it has come through
    here: bytes = b""  # the chunks that the aggregator had then, as Ticket says it


# --- phases ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to do, or not allowed to do it."""


@dataclass(frozen=True, slots=True)
class Joining:
    """A join was sent."""

    plan_id: bytes
    have: bytes | None
    nonce: bytes
    sent_ms: int
    due_ms: int  # ask again then


@dataclass(frozen=True, slots=True)
class Waiting:
    """Told to ask again later."""

    plan_id: bytes
    have: bytes | None
    reason: str  # a WaitReason, or one of a later version
    due_ms: int


@dataclass(frozen=True, slots=True)
class Ready:
    """There is leave to begin the offered plan; its base model is missing, or conditions fail."""


@dataclass(frozen=True, slots=True)
class Training:
    """The child runs, or waits for the training slot."""


@dataclass(frozen=True, slots=True)
class Paused:
    """A plan is begun and conditions for training fail."""


@dataclass(frozen=True, slots=True)
class Sending:
    """An update was published."""

    plan_id: bytes
    sent: bool  # the MQTT broker has it
    due_ms: int  # join with `have` then


@dataclass(frozen=True, slots=True)
class Held:
    """The aggregator wants an update that went out before, perhaps more than once, and is lost.

    Something in between may drop it each time: an MQTT broker acknowledges what it forbids.
    """

    plan_id: bytes
    due_ms: int  # join with `have` then


Phase = Idle | Joining | Waiting | Ready | Training | Paused | Sending | Held


class Session(NamedTuple):
    """One device's part in one task. What it learned from a connection ends with the connection.

    A tuple, since each event replaces a few of its many fields, often several times.
    """

    timing: Timing
    dice: Dice
    phase: Phase = Idle()
    begun: Plan | None = None  # frozen on disk; its training is not finished
    spool: tuple[Spooled, ...] = ()  # oldest first
    connected: bool = False
    train: bool = False  # these four as in Allowed
    transfer: bool = False
    send: bool = False
    enough: bool = False
    tries: int = 0  # joins since the last answer that let us go on
    sent: Sent | None = None  # the update that was sent last
    spread_ms: int = 0  # the last plan's: after a new plan or a reconnect a join waits a part of it
    ask_ms: int | None = None  # nothing is joined before then
    paid_ms: int = 0  # joins are paid with time: up to then, for those that were sent
    # Of this connection:
    offer: Plan | None = None  # the open plan; not begun, not finished
    ticket_ms: int = 0  # the last ticket is good until then: to begin, and to send what came of it
    fetch: Fetch | None = None
    look_ms: int | None = None  # ask for the plan again then
    standstill: str | None = None  # the operator has paused the task: the words of it, or none


def restore(timing: Timing, seed: bytes, begun: Plan | None, spool: tuple[Spooled, ...]) -> Session:
    """Make the session after a start, from what is on disk.

    begun: the plan whose StartTraining was executed, and neither UpdateSpooled nor PlanOver since
    spool: the updates without PlanOver, oldest first
    The shell then gives Allowed as soon as it knows, Erase if one was under way, and Connected.
    """
    return Session(timing, Dice(seed), Paused() if begun else Idle(), begun, spool)


def due(s: Session) -> int | None:
    """Tell when the next Tick is due; None: not before another event. Ask again after each step."""
    times: list[int] = []
    if isinstance(s.phase, Joining | Waiting | Sending | Held):
        times.append(s.phase.due_ms)
    elif isinstance(s.phase, Ready):
        times.append(s.ticket_ms)
    if s.fetch and s.fetch.due_ms is not None:
        times.append(s.fetch.due_ms)
    if s.transfer and s.look_ms is not None:
        times.append(s.look_ms)
    if s.ask_ms is not None:
        times.append(s.ask_ms)
    return min(times, default=None)


def code(s: Session) -> StateCode:
    """What this device tells about itself, while it is connected."""
    match s.phase:
        case Training():
            return StateCode.TRAINING
        case Sending():
            return StateCode.SENDING
        case Idle():
            return StateCode.IDLE
        case _:
            return StateCode.WAITING
