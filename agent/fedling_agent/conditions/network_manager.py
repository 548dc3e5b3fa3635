"""Whether NetworkManager calls an interface metered, where it runs."""

from fedling_agent.conditions.bus import Bus, Question, Unanswered, property_of

SERVICE = "org.freedesktop.NetworkManager"
PATH = "/org/freedesktop/NetworkManager"
# NMMetered: 0 unknown, 2 no, 4 perhaps not; 1 its owner or the network says so, 3 it looks so.
METERED = (1, 3)


def meters(bus: Bus, interface: str) -> bool:
    """Whether bytes by it cost something; False too where NetworkManager does not know or run."""
    find = Question(SERVICE, PATH, SERVICE, "GetDeviceByIpIface", (interface,), "o")
    try:
        device = str(bus.ask(find))
        return bus.ask(property_of(SERVICE, device, f"{SERVICE}.Device", "Metered", "u")) in METERED
    except Unanswered:
        return False
