"""What devices say of themselves: the word that the MQTT broker retains of each, or its last will.

The service does not listen to it: with ten thousand devices that would cost more than their rounds.
"""

from collections.abc import Sequence

from fedling_broker.config import Config
from fedling_broker.service.service import CLIENT_ID
from fedling_broker.store.devices import Certified
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit, Failure
from fedling_protocol.net import probe as probing
from fedling_protocol.net.probe import OWN, Probe
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import State
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.trust import Trust

SILENCE_S = 2.0  # what is retained comes at once; then who says nothing has said nothing


def listen(found: Config, devices: Sequence[Certified]) -> dict[str, State]:
    """Hear the state of each device that has told one, by its id.

    What is not signed by the device on its own topic is passed over. Raises Failure: the MQTT
    broker cannot be reached, or may not be asked.
    """
    try:
        return _listen(found, devices)
    except Missing as missing:
        raise Failure(f"the MQTT broker does not tell: {missing}", Exit.UNAVAILABLE) from missing


def _listen(found: Config, devices: Sequence[Certified]) -> dict[str, State]:
    trust = Trust(found.topics, found.root_key)
    for device in devices:
        trust.know(device.id, device.key, device.serial)
    mqtt, client_id = found.file.mqtt, f"{CLIENT_ID.format(fleet=found.file.fleet)}-{OWN}"
    topics = found.topics.subscriptions(Kind.STATE)

    def listened(probe: Probe) -> tuple[dict[str, State], str]:
        refused = probe.listen(topics)
        if refused:
            raise Missing("; ".join(map(probing.unheard, refused)))
        return _heard(probe, trust, len(devices)), probe.lost

    states, lost = probing.tried(mqtt, client_id, listened)
    if lost and len(states) < len(devices):
        raise Missing(f"the connection to {mqtt.address} was lost: {lost}")
    return states


def _heard(probe: Probe, trust: Trust, most: int) -> dict[str, State]:
    """Hear until all have told, or until nobody tells anything for a while."""
    states: dict[str, State] = {}
    while len(states) < most and probe.until(lambda: bool(probe.heard), SILENCE_S):
        _take(trust, *probe.heard.pop(), states)
    return states


def _take(trust: Trust, topic: str, payload: bytes, states: dict[str, State]) -> None:
    try:
        received = trust.open(topic, payload)
    except Refused:
        return
    if isinstance(received.message, State) and received.address.device:
        states[received.address.device] = received.message
