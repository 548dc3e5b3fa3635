"""Who plays: the keys of all, what they say, and what is made of what was heard."""

from array import array
from datetime import UTC, datetime

from fedling_native import parameter_counts
from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.messages import Message, Plan, Rest, Update
from fedling_protocol.wire.topics import Topics

FLEET, TASK = "home", "tiny"
TOPICS = Topics("fedling", FLEET)
ROOT, ONLINE, VICTIM, MALLORY = (SigningKey(word * 32) for word in (b"R", b"O", b"V", b"M"))
VICTIM_ID, MALLORY_ID = device_id(VICTIM.public), device_id(MALLORY.public)
SECRET = bytes(range(32))


def now_s() -> int:
    """Unix time: what the services themselves compare with."""
    return int(datetime.now(UTC).timestamp())


def sealed(topic: str, message: Message, key: SigningKey = ONLINE) -> bytes:
    """A message as who has this key would send it there."""
    return envelope.seal(message, TOPICS.bound(topic), key)


def contents(topic: str, data: bytes) -> Message:
    """What a whole message says."""
    kind = TOPICS.parse(topic).kind
    return payload.decode(kind, envelope.parse(data, kind).payload)


def named_by(message: Message) -> int:
    """The version of the model that a plan or a rest names; 0 of anything else."""
    return message.moment.version if isinstance(message, Plan | Rest) else 0


def update_for(plan: Plan, value: int = 1) -> Update:
    """An update as the plan asks for it, the same value everywhere."""
    weights, biases = parameter_counts(plan.spec.layers)
    vector = array("h", [value] * weights).tobytes() + array("i", [value] * biases).tobytes()
    return Update(plan.plan_id, plan.base_version, plan.base_hash, 7, plan.codec, vector, 0, 1)


def of_kind(heard: list[tuple[str, bytes]], part: str) -> list[tuple[str, bytes]]:
    """What was heard on topics with this part."""
    return [(topic, payload) for topic, payload in heard if part in topic and payload]
