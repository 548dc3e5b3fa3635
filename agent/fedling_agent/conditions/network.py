"""Whether there is a network: the connection to the MQTT broker, else the kernel's way there."""

from fedling_agent.conditions.condition import Roots, Signal, absent, untold
from fedling_protocol.net.way import Way, source_of_route


def network(roots: Roots) -> Signal:
    """True while the MQTT broker is connected, or if the kernel has a route to its address."""
    way = roots.way
    if way is None:
        return absent("agent.toml", "no MQTT broker is configured")
    if way.connected:
        return Signal(True, way.words, detail="connected")
    if way.addresses:
        return _route(way)
    if way.failure:
        return Signal(False, way.words, detail=way.failure)
    return untold(way.words, "its name has not been looked up yet")


def _route(way: Way) -> Signal:
    """One of the addresses is enough; a name may stand for one of each family."""
    failures: list[str] = []
    for found in way.addresses:
        try:
            return Signal(True, way.words, detail=f"a route from {source_of_route(found)}")
        except OSError as error:
            failures.append(error.strerror or str(error))
    return Signal(False, way.words, detail=failures[0])
