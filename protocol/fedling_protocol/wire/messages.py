"""The messages of the wire, as frozen dataclasses (SPEC.md section 3)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from fedling_native import Layer, Loss
from fedling_protocol.classes import dataclass
from fedling_protocol.rule import setting
from fedling_protocol.wire.codecs import Codec


class Role(StrEnum):
    """What a certified key may sign for."""

    DEVICE = "device"
    AGGREGATOR = "aggregator"
    AUTHORITY = "authority"  # certifies devices, and nothing else


class PlanKind(StrEnum):
    """What a plan asks for: its word at key 1, and in its topic."""

    TRAIN = "train"
    STATISTICS = "statistics"  # sums over the training windows: nothing is trained


CODECS_OF: Final[Mapping[PlanKind, tuple[Codec, ...]]] = {
    PlanKind.TRAIN: (Codec.RAW_INT16, Codec.CODED),
    PlanKind.STATISTICS: (Codec.SUMS,),
}
"""How an update to a plan of each kind may hold its vector."""


class Answer(StrEnum):
    """A ticket's first word."""

    GO = "go"
    WAIT = "wait"


class WaitReason(StrEnum):
    """Why a ticket says wait: the reasons of this version. A device shows others as they are."""

    NOT_ENROLLED = "not enrolled"
    COHORT_FULL = "cohort full"
    NOT_IN_COHORT = "not in cohort"
    EXPIRED = "certificate expired"  # a device renews it, and joins again


class EnrolReason(StrEnum):
    """Why a device was not enrolled: the reasons of this version. It shows others as they are."""

    TOKEN_UNKNOWN = "token unknown"
    TOKEN_USED = "token used up"
    TOKEN_LATE = "token too late"
    REVOKED = "revoked"
    NAME_TAKEN = "name taken"
    NOT_ENROLLED = "not enrolled"  # a renewal by a device that has nothing to renew
    BY_HAND = "certified by hand"  # the authority is not where the aggregator is
    BUSY = "busy"  # ask again


class Verdict(StrEnum):
    """The aggregator's last word on an update."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    LATE = "late"


class StateCode(StrEnum):
    """All that a device tells about itself unasked."""

    OFFLINE = "offline"
    IDLE = "idle"
    WAITING = "waiting"
    TRAINING = "training"
    SENDING = "sending"


class StateReason(StrEnum):
    """Why a device does not take part: the reasons of this version. Others are shown as they are.

    What stops it for a while (power, heat) stays with the device.
    """

    PAUSED = "paused"  # by its owner


@dataclass(frozen=True, slots=True)
class Certificate:
    """The word of the root or of the authority that a key belongs to whom, or does no more."""

    key: bytes  # Ed25519 public key, 32 bytes
    role: Role
    fleet: str
    id: str  # device id, "aggregator" or "authority"
    serial: int  # the highest wins
    issued_s: int = 0  # Unix time; 0: of one who did not say
    until_s: int = 0  # Unix time after which it does not count; 0: it counts until it is replaced
    name: str = ""  # of the device, for people
    revoked: bool = False  # a tombstone: nothing counts that this key signs


@dataclass(frozen=True, slots=True)
class Link:
    """A root key's word on the one that comes after it."""

    key: bytes  # Ed25519 public key of the successor
    issued_s: int
    signature: bytes  # by the key before: roots.statement()


@dataclass(frozen=True, slots=True)
class Roots:
    """All root keys that came after the fleet's first one, in order."""

    links: tuple[Link, ...]


class Scale(NamedTuple):
    """How one channel is read: sat((count - mean) * mantissa >> shift), NUMERICS.md section 6."""

    mean: int
    mantissa: int
    shift: int


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What is learned: enough to cut windows, run the model and name its answers."""

    task: str
    stream: str
    window: int  # samples
    stride: int  # samples
    channels: int
    normalise: str  # "fleet", "device" or "none"
    labels: tuple[str, ...]  # reconstruction: train on these only; none: on every window
    layers: tuple[Layer, ...]
    loss: Loss  # softmax or reconstruction
    scale: tuple[Scale, ...] | None = None  # of each channel; "fleet": None until it was measured


@dataclass(frozen=True, slots=True)
class Training:
    """How a device trains in one round."""

    epochs: int
    batch: int
    lr_q24: int  # learning rate in units of 2^-24
    min_examples: int
    weight_cap: int
    holdout: int  # thousandths
    holdout_block: int  # samples
    momentum: int  # in 1/256; 0: none
    clip_q16: int  # longest mean gradient of a layer, in 2^-16; 0: no limit
    frozen: int  # so many of the first layers are not trained
    proximal_q16: int  # mu of FedProx, in 2^-16; 0: none
    new_examples: int = 0  # of which an accepted update knows nothing yet; with fewer none joins


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the task asks of a device before it may train; a device's own policy may be stricter.

    Also the task file's [conditions]. A field has the name of the agent's condition.
    """

    mains: bool = setting(False, help="train on mains only")
    battery: int = setting(
        40, help="on battery, train only from this charge", unit="%", low=0, high=100
    )
    temperature: int = setting(
        75, help="train only up to this temperature", unit="°C", low=-40, high=125
    )


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """Where a plan or a rest stands in the history of its task: of two the later one holds."""

    epoch: int  # of the aggregator: its state was continued, made anew or restored so often
    generation: int  # of the task: one of the same name that was added later has a higher one
    version: int  # of the model that is named
    open: bool  # a plan on a model comes after a rest that names it


@dataclass(frozen=True, slots=True)
class Chunked:
    """How messages are cut that are larger than the MQTT broker takes, and which they are."""

    size: int  # bytes of a message in each chunk of it, but the last
    model: bytes | None = None  # message hash of the Model; None: it is not cut
    change: bytes | None = None  # of the Change, likewise

    def count(self, size: int) -> int:
        """Count the chunks of a message of so many bytes."""
        return -(-size // self.size)


@dataclass(frozen=True, slots=True)
class Recent:
    """The last changes of a model that are retained, the newest too; each is one message."""

    count: int
    size: int  # bytes of them all


@dataclass(frozen=True, slots=True)
class Plan:
    """What the aggregator asks of a device in one round."""

    plan_id: bytes  # 16 bytes, the key of everything in this round
    round: int
    base_version: int
    base_hash: bytes  # model hash, 32 bytes
    spec: TaskSpec
    training: Training
    conditions: Conditions
    rate: int  # 0: every coordinate is sent
    codec: Codec
    cohort: tuple[str, ...] | None  # device ids, or None: whoever asks first
    model_size: int  # bytes of the Model message
    spread_s: int | None = None  # a device joins after a random part of it; None: at once
    epoch: int = 0  # as in Moment, here and below; 0: of an aggregator that knows of none
    generation: int = 0
    kind: PlanKind = PlanKind.TRAIN
    target: int | None = None  # bytes that a coded vector shall have; None: it is not coded
    change_size: int | None = None  # bytes of the Change message; None: there is none
    chunked: Chunked | None = None  # None: no message is cut
    recent: Recent | None = None  # None: no change is retained but the newest, if there is one

    @property
    def moment(self) -> Moment:
        """Where it stands in the history of its task."""
        return Moment(self.epoch, self.generation, self.base_version, True)

    @property
    def newest(self) -> bytes:
        """The hash of the newest model, as this says."""
        return self.base_hash


@dataclass(frozen=True, slots=True)
class Rest:
    """No open plan: the newest model, and when to look again."""

    version: int
    model_hash: bytes
    spec: TaskSpec
    model_size: int  # bytes of the Model message
    look_again_s: int
    epoch: int = 0
    generation: int = 0
    change_size: int | None = None  # as in Plan
    paused: str | None = None  # the operator opens no round: why, in words; may be empty
    chunked: Chunked | None = None  # as in Plan
    recent: Recent | None = None  # as in Plan

    @property
    def moment(self) -> Moment:
        """Where it stands in the history of its task."""
        return Moment(self.epoch, self.generation, self.version, False)

    @property
    def newest(self) -> bytes:
        """The hash of the newest model, as this says."""
        return self.model_hash


@dataclass(frozen=True, slots=True)
class TaskInForce:
    """A task that the aggregator has."""

    task: str
    generation: int


@dataclass(frozen=True, slots=True)
class Tasks:
    """All tasks that the aggregator has: a device forgets others."""

    number: int  # the highest generation that was given: a task of a higher one was added later
    tasks: tuple[TaskInForce, ...]
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """One version of the shared model; complete in itself."""

    version: int
    spec: TaskSpec
    exponents: tuple[int, ...]  # w_exp of each layer
    weights: bytes  # NUMERICS.md section 2, or section 11 if packed
    drawn: bool = False  # nobody has trained it: its answers mean nothing
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """How a version of the model follows from the one before; its task is the plan's or rest's."""

    version: int
    exponents: tuple[int, ...]  # w_exp of each layer, of this version
    steps: bytes  # NUMERICS.md section 11
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes of a large Model, Change or Update; its topic tells which and of what."""

    whole: bytes  # message hash of the message
    size: int  # its bytes in all
    data: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """A device asks to take part, or what became of its update."""

    plan_id: bytes
    nonce: bytes  # 8 bytes
    have: bytes | None  # message hash of the spooled update
    key: bytes | None  # public key, only from a device without a certificate


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to take part now, or to ask again later."""

    plan_id: bytes
    nonce: bytes
    answer: Answer
    seconds: int
    reason: str
    epoch: int = 0
    here: bytes = b""  # with go: which chunks of the update are here, bit k % 8 of byte k // 8


class Hits(NamedTuple):
    """How many windows of one class a device has tested the base model on, and told right."""

    windows: int
    right: int


@dataclass(frozen=True, slots=True)
class Update:
    """What a device learned in one round."""

    plan_id: bytes
    base_version: int
    base_hash: bytes
    weight: int  # min(examples, cap)
    codec: Codec
    vector: bytes  # NUMERICS.md section 7, coded: section 10; of statistics: sums
    saturated: int  # values that did not fit in int16
    chunks: int  # 1
    tested: tuple[Hits, ...] | None = None  # each class; None: the base model was not tested


@dataclass(frozen=True, slots=True)
class Receipt:
    """The aggregator's last word on an update."""

    plan_id: bytes
    update_hash: bytes | None
    verdict: Verdict
    reason: str
    of: Verdict | None  # duplicate: of this first verdict
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """A device's short word about itself, retained; the last will says "offline"."""

    code: StateCode
    version: int  # of the model it holds, 0: none
    why_not: str = ""  # a StateReason, or one of a later version; empty: nothing is told


@dataclass(frozen=True, slots=True)
class Enrol:
    """A device asks for certificates: with a token, or for new ones while it has some."""

    key: bytes  # Ed25519 public key; its id stands in the topic
    nonce: bytes  # 16 bytes
    tls_key: bytes  # P-256 public key, compressed, 33 bytes
    name: str = ""  # that it would like to have
    token_id: bytes | None = None  # 8 bytes; None: a renewal
    mac: bytes | None = None  # by the token, over all the rest
    seal_key: bytes | None = None  # X25519 public key


@dataclass(frozen=True, slots=True)
class Grant:
    """All that a device must have to take part."""

    root: bytes  # public key: the one that the token names, or that the device knows
    authority: bytes  # envelopes of certificates, as on the topics of their owners
    aggregator: bytes
    device: bytes
    host: str  # where the MQTT broker is
    port: int
    roots: bytes | None = None  # envelope of Roots; None: the root has no successor
    tls_certificate: bytes | None = None  # DER; None: the fleet has no authority for TLS
    tls_ca: bytes | None = None


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The aggregator's answer to a device that asked for certificates."""

    nonce: bytes  # of the ask
    reason: str  # why not; granted: empty
    grant: Grant | None = None
    mac: bytes | None = None  # by the token, over all the rest; None: a renewal, or no such token


Message = (
    Certificate
    | Roots
    | Tasks
    | Plan
    | Rest
    | Model
    | Change
    | Chunk
    | Join
    | Ticket
    | Update
    | Receipt
    | State
    | Enrol
    | Enrolled
)
OfEpoch = Tasks | Plan | Rest | Ticket | Receipt  # what the running aggregator says, but models
