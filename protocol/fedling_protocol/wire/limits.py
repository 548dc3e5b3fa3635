"""How large anything on the wire may be (SPEC.md sections 2 and 4)."""

from typing import Final

MAX_U32: Final = 2**32 - 1  # of every count, number and version on the wire

# Bytes of a whole message, envelope included.
MAX_SMALL: Final = 1024  # certificate, join, ticket, receipt, state, enrol
MAX_ROOTS: Final = 4096  # roots
MAX_ENROLLED: Final = 16_384  # enrolled
MAX_PLAN: Final = 131_072  # plan, rest
MAX_WEIGHTS: Final = 16 * 2**20  # the weights of a model as bytes, and so the vector of an update
MIN_TARGET: Final = 12  # bytes that a coded vector shall have, at least: its head and one more
MAX_LARGE: Final = MAX_WEIGHTS + 65_536  # model, change, chunk, update
MAX_PACKET: Final = MAX_LARGE + 1024  # the MQTT packet: a message, its topic, its packet id
MIN_CHUNK: Final = 256  # bytes of a large message in each chunk of it
MAX_CHUNKS: Final = 1100  # of one message
MAX_RECENT: Final = 8  # changes of a model that are retained at once
MAX_HERE: Final = -(-MAX_CHUNKS // 8)  # bytes that say which chunks are here
CHUNK_ROOM: Final = 512  # bytes of a packet that holds a chunk, beside what is cut
MIN_PACKET: Final = -(-MAX_LARGE // MAX_CHUNKS) + CHUNK_ROOM  # in which any message passes, cut

# CBOR, before anything is decoded.
MAX_DEPTH: Final = 6
MAX_ITEMS: Final = 4096

# What is learned.
MAX_LAYERS: Final = 16
MAX_SIDE: Final = 65_535  # height, width or channels of a layer
MAX_KERNEL: Final = 255  # in one direction, as stride and pad
MAX_LABELS: Final = 256
MAX_LABEL_BYTES: Final = 64
MAX_CHANNELS: Final = 64
MAX_VALUES: Final = 65_535  # window * channels
MIN_EXPONENT: Final = -24
MAX_EXPONENT: Final = 7
MAX_BATCH: Final = 256
MAX_STEP: Final = 2**24  # batch * values of all layers: what a device holds while it trains
MAX_WORK: Final = 2**33  # multiply-accumulates of a batch: 256 of the largest dense layers
MAX_EPOCHS: Final = 1000
MAX_RATE: Final = 2**28  # learning rate 16, in 2^-24
MAX_MOMENTUM: Final = 255  # in 1/256
PULL_ONE: Final = 2**40  # learning rate * mu of 1, in 2^-24 and 2^-16: a step's pull is less
MAX_WEIGHT: Final = 2**30 - 1  # of one update
MAX_HOLDOUT: Final = 900  # thousandths
MAX_HOLDOUT_BLOCK: Final = 2**20  # samples
MAX_TESTED: Final = 4096  # windows of one update's test
TESTED_SIZE: Final = 7  # bytes of what an update says of a class, at most
MAX_COHORT: Final = 3500  # named devices in one plan: with the labels they must fit in MAX_ITEMS
MAX_SPREAD: Final = 3600  # seconds over which the joins for one plan are spread
MAX_SUCCESSORS: Final = 32  # roots after the first one: so many signatures a device checks
MAX_DER: Final = 2048  # bytes of one X.509 certificate
MAX_REASON: Final = 64  # characters
MAX_WORDS: Final = 200  # bytes of what an operator says to people
MAX_TASKS: Final = 512  # of a fleet: with generations they must fit in MAX_ITEMS
