"""mosquitto's access lists, from the table of kinds: what devices send, and what they read.

A list acts as soon as it is read again, on living connections, too. So whom the fleet has revoked
is named in it: from then on such a connection carries nothing, however long it lives.
"""

from collections.abc import Iterable, Iterator
from string import Formatter

from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.topics import Topics

AGGREGATOR = "fedling-aggregator-{fleet}"  # its client id, too


def aggregator(fleet: str) -> str:
    """The aggregator's name at the MQTT broker, in its certificate too."""
    return AGGREGATOR.format(fleet=fleet)


def of_devices(topics: Topics, revoked: Iterable[str]) -> str:
    """Write the list of the listener for certificates. revoked: names in them, device ids"""
    return "\n".join(_of_devices(topics, revoked)) + "\n"


def of_enrolment(topics: Topics) -> str:
    """Write the list of the listener for tokens: a question for any device, and its answer."""
    (ask,), (answer,) = map(topics.subscriptions, (Kind.ENROL, Kind.ENROLLED))
    return f"pattern write {ask}\npattern read {answer}\n"


def _of_devices(topics: Topics, revoked: Iterable[str]) -> Iterator[str]:
    yield f"user {aggregator(topics.fleet)}"
    yield f"topic readwrite {topics.prefix}#"
    for device in sorted(revoked):
        yield f"user {device}"
        yield "topic deny #"
    for kind in Kind:
        yield f"pattern {_right(kind)} {topics.prefix}{_pattern(kind)}"


def _right(kind: Kind) -> str:
    """A device may read what it writes: so `check` sees whether a broker drops it."""
    return "readwrite" if kind.from_device else "read"


def _pattern(kind: Kind) -> str:
    """The kind's topics that concern one device: %u is its name."""
    words = []
    for literal, name, _, _ in Formatter().parse(kind.topic):
        words += [literal, {"device": "%u", None: ""}.get(name, "+")]
    return "".join(words)
