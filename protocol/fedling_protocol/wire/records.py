"""The CBOR maps of the wire, each as a table of its keys (SPEC.md section 3)."""

import re
from typing import Final

from fedling_native import Kind as LayerKind
from fedling_native import Layer, Loss
from fedling_protocol.wire import limits as limit
from fedling_protocol.wire import names
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.fields import (
    Array,
    Bytes,
    Code,
    Flag,
    Integer,
    Label,
    Nullable,
    Optional,
    Record,
    Row,
    Text,
    Word,
)
from fedling_protocol.wire.messages import (
    Answer,
    Certificate,
    Change,
    Chunk,
    Chunked,
    Conditions,
    Enrol,
    Enrolled,
    Grant,
    Hits,
    Join,
    Link,
    Model,
    Plan,
    PlanKind,
    Receipt,
    Recent,
    Rest,
    Role,
    Roots,
    Scale,
    State,
    StateCode,
    TaskInForce,
    Tasks,
    TaskSpec,
    Ticket,
    Training,
    Update,
    Verdict,
)

VERSION_KEY: Final = 0
CHOICE_KEY: Final = 1  # of the records that share a topic: which one it is

U32 = Integer(0, limit.MAX_U32)
COUNTED = Optional(Integer(1, limit.MAX_U32), absent=0)  # what came later than the rest
NAME = Text(names.NAME)
DEVICE = Text(names.DEVICE)
OWNER = Text(names.OWNER)
HOST = Text(names.HOST)
CODEC = Word(Codec)
REASON = Text(re.compile(f"[ -~]{{0,{limit.MAX_REASON}}}"))
CODE_WORD = Text(re.compile("[a-z][a-z -]{0,31}"))
PLAN_ID = Bytes(16, 16)
NONCE = Bytes(8, 8)
ENROL_NONCE = Bytes(16, 16)
TOKEN_ID = Bytes(8, 8)
TLS_KEY = Bytes(33, 33)
HASH = Bytes(32, 32)
KEY = Bytes(32, 32)
SIGNATURE = Bytes(64, 64)
MAC = Bytes(32, 32)
DER = Bytes(1, limit.MAX_DER)
SMALL = Bytes(1, limit.MAX_SMALL)  # the envelope of a certificate
WEIGHTS = Bytes(1, limit.MAX_WEIGHTS)
MODEL_SIZE = Integer(1, limit.MAX_LARGE)
LAYER = Row(
    (
        Integer(0, max(LayerKind)),
        *(Integer(1, limit.MAX_SIDE),) * 4,  # height, width, channels, out
        Integer(0, 1),  # relu
        *(Integer(0, limit.MAX_KERNEL),) * 8,  # kernel, stride, pad
    ),
    Layer.to_ints,
    Layer.from_ints,
)
SCALE = Row(
    (Integer(-(2**15), 2**15 - 1), Integer(0, 255), Integer(-6, 18)),  # mean, mantissa, shift
    tuple,
    lambda row: Scale(*row),
)
HITS = Row(
    (Integer(0, limit.MAX_TESTED),) * 2,  # windows, right
    tuple,
    lambda row: Hits(*row),
)

TASK_SPEC = Record(
    TaskSpec,
    {
        1: NAME,
        2: NAME,
        3: Integer(1, limit.MAX_VALUES),
        4: Integer(1, limit.MAX_VALUES),
        5: Integer(1, limit.MAX_CHANNELS),
        6: Text(re.compile("fleet|device|none")),
        7: Array(Label(limit.MAX_LABEL_BYTES), 0, limit.MAX_LABELS),
        8: Array(LAYER, 1, limit.MAX_LAYERS),
        9: Code((Loss.SOFTMAX, Loss.RECONSTRUCTION)),
        10: Optional(Array(SCALE, 1, limit.MAX_CHANNELS)),
    },
    {},
)
TRAINING = Record(
    Training,
    {
        1: Integer(1, limit.MAX_EPOCHS),
        2: Integer(1, limit.MAX_BATCH),
        3: Integer(1, limit.MAX_RATE),
        4: U32,
        5: Integer(1, limit.MAX_WEIGHT),
        6: Integer(0, limit.MAX_HOLDOUT),
        7: Integer(1, limit.MAX_HOLDOUT_BLOCK),
        8: Integer(0, limit.MAX_MOMENTUM),
        9: U32,
        10: Integer(0, limit.MAX_LAYERS - 1),
        11: U32,
        12: Optional(Integer(1, 2**32 - 1), absent=0),
    },
    {},
)
CONDITIONS = Record(Conditions, {1: Flag(), 2: Integer(0, 100), 3: Integer(-128, 127)}, {})

CHUNKED = Record(
    Chunked,
    {1: Integer(limit.MIN_CHUNK, limit.MAX_LARGE), 2: Optional(HASH), 3: Optional(HASH)},
    {},
)

RECENT = Row(
    (Integer(2, limit.MAX_RECENT), MODEL_SIZE),  # how many, bytes of them all
    lambda recent: (recent.count, recent.size),
    lambda row: Recent(*row),
)

_VERSION = {VERSION_KEY: names.WIRE_VERSION}
CERTIFICATE = Record(
    Certificate,
    {
        1: KEY,
        2: Word(Role),
        3: NAME,
        4: OWNER,
        5: U32,
        6: COUNTED,
        7: COUNTED,
        8: Optional(NAME, absent=""),
        9: Optional(Flag(), absent=False),
    },
    _VERSION,
)
LINK = Record(Link, {1: KEY, 2: U32, 3: SIGNATURE}, {})
ROOTS = Record(Roots, {1: Array(LINK, 1, limit.MAX_SUCCESSORS)}, _VERSION)
PLAN = Record(
    Plan,
    {
        2: PLAN_ID,
        3: U32,
        4: U32,
        5: HASH,
        6: TASK_SPEC,
        7: TRAINING,
        8: CONDITIONS,
        9: Integer(0, 0),
        10: CODEC,
        11: Optional(Array(DEVICE, 1, limit.MAX_COHORT)),
        12: MODEL_SIZE,
        13: Optional(Integer(1, limit.MAX_SPREAD)),
        15: COUNTED,
        16: COUNTED,
        CHOICE_KEY: Word(PlanKind),
        17: Optional(Integer(limit.MIN_TARGET, limit.MAX_WEIGHTS)),
        18: Optional(MODEL_SIZE),
        20: Optional(CHUNKED),
        21: Optional(RECENT),
    },
    _VERSION,
)
REST = Record(
    Rest,
    {
        4: U32,
        5: HASH,
        6: TASK_SPEC,
        12: MODEL_SIZE,
        14: U32,
        15: COUNTED,
        16: COUNTED,
        18: Optional(MODEL_SIZE),
        19: Optional(Label(limit.MAX_WORDS, 0)),
        20: Optional(CHUNKED),
        21: Optional(RECENT),
    },
    _VERSION | {CHOICE_KEY: "rest"},
)
TASK_IN_FORCE = Record(TaskInForce, {1: NAME, 2: U32}, {})
TASKS = Record(Tasks, {1: U32, 2: Array(TASK_IN_FORCE, 0, limit.MAX_TASKS), 3: COUNTED}, _VERSION)
EXPONENTS = Array(Integer(limit.MIN_EXPONENT, limit.MAX_EXPONENT), 1, limit.MAX_LAYERS)
MODEL = Record(
    Model,
    {
        1: U32,
        2: TASK_SPEC,
        3: EXPONENTS,
        4: WEIGHTS,
        5: Optional(Flag(), absent=False),
        6: Optional(Flag(), absent=False),
    },
    _VERSION,
)
CHANGE = Record(
    Change, {1: U32, 2: EXPONENTS, 3: WEIGHTS, 4: Optional(Flag(), absent=False)}, _VERSION
)
CHUNK = Record(
    Chunk,
    {2: HASH, 3: MODEL_SIZE, 4: Bytes(1, limit.MAX_LARGE)},
    _VERSION | {CHOICE_KEY: "chunk"},
)
JOIN = Record(Join, {1: PLAN_ID, 2: NONCE, 3: Optional(HASH), 4: Optional(KEY)}, _VERSION)
TICKET = Record(
    Ticket,
    {
        1: PLAN_ID,
        2: NONCE,
        3: Word(Answer),
        4: U32,
        5: REASON,
        6: COUNTED,
        7: Optional(Bytes(1, limit.MAX_HERE), absent=b""),
    },
    _VERSION,
)
UPDATE = Record(
    Update,
    {
        1: PLAN_ID,
        2: U32,
        3: HASH,
        4: Integer(1, limit.MAX_WEIGHT),
        5: CODEC,
        6: Bytes(0, limit.MAX_WEIGHTS),
        7: U32,
        8: Integer(1, 1),
        9: Optional(Array(HITS, 1, limit.MAX_LABELS)),
    },
    _VERSION,
)
RECEIPT = Record(
    Receipt,
    {
        1: PLAN_ID,
        2: Nullable(HASH),
        3: Word(Verdict),
        4: REASON,
        5: Optional(Word(Verdict)),
        6: COUNTED,
    },
    _VERSION,
)
STATE = Record(State, {1: Word(StateCode), 2: U32, 3: Optional(CODE_WORD, absent="")}, _VERSION)
ENROL = Record(
    Enrol,
    {
        1: KEY,
        2: ENROL_NONCE,
        3: TLS_KEY,
        4: Optional(NAME, absent=""),
        5: Optional(TOKEN_ID),
        6: Optional(MAC),
        7: Optional(KEY),
    },
    _VERSION,
)
GRANT = Record(
    Grant,
    {
        1: KEY,
        2: SMALL,
        3: SMALL,
        4: SMALL,
        5: HOST,
        6: Integer(1, 65_535),
        7: Optional(Bytes(1, limit.MAX_ROOTS)),
        8: Optional(DER),
        9: Optional(DER),
    },
    {},
)
ENROLLED = Record(
    Enrolled, {1: ENROL_NONCE, 2: REASON, 3: Optional(GRANT), 4: Optional(MAC)}, _VERSION
)
