"""How both ends call the bytes of each kind of message in their counters: whole packets."""

from fedling_protocol.wire.kinds import Kind

SENT, RECEIVED = "bytes sent: ", "bytes received: "  # and the word of the kind


def sent(kind: Kind) -> str:
    """Name the counter of what was handed to the link."""
    return SENT + kind.word


def received(kind: Kind) -> str:
    """Name the counter of what came and was believed."""
    return RECEIVED + kind.word
