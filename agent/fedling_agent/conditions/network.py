"""Whether there is a network: the connection to the MQTT broker, else the kernel's way there; and
whether that way costs something for each byte."""

from contextlib import suppress
from fnmatch import fnmatchcase

from fedling_agent.conditions.condition import Roots, Signal, absent, untold
from fedling_agent.conditions.network_manager import meters
from fedling_protocol.net import interface
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


def unmetered(roots: Roots) -> Signal:
    """False while a way to the MQTT broker leaves by an interface that is metered.

    That the owner calls so, or else NetworkManager; the detail names it and says whose word it is.
    Of several addresses any may be the one that is connected.
    """
    way = roots.way
    if way is None:
        return absent("agent.toml", "no MQTT broker is configured")
    names: dict[str, None] = {}
    for found in way.addresses:
        with suppress(OSError):
            names[interface.of_route(found)] = None
    for name in names:
        if any(fnmatchcase(name, pattern) for pattern in roots.metered):
            return Signal(False, way.words, detail=f"{name}, one of policy.metered")
    for name in names:
        if meters(roots.bus, name):
            return Signal(False, way.words, detail=f"{name}, metered for NetworkManager")
    if names:
        return Signal(True, way.words, detail=next(iter(names)))
    return absent(way.words, "no way there is known")
