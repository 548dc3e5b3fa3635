"""How hot this machine is (/sys/class/thermal)."""

from fedling_agent.conditions import files
from fedling_agent.conditions.condition import Roots, Signal, absent, unreadable
from fedling_agent.conditions.files import Unreadable

COLDEST, HOTTEST = -60, 200  # degrees Celsius that a sensor of a running board may tell


def temperature(roots: Roots) -> Signal:
    """Degrees Celsius of the hottest zone. One that cannot be read does not count: a radio that
    is off has one."""
    folder = f"{roots.sys}/class/thermal"
    hottest = absent(folder, "no thermal zone is listed")
    for name in files.names(folder):
        if not name.startswith("thermal_zone"):
            continue
        source = f"{folder}/{name}/temp"
        try:
            degrees = files.integer(source, COLDEST * 1000, HOTTEST * 1000) / 1000
        except Unreadable as error:
            if hottest.value is None:
                hottest = unreadable(source, str(error))
            continue
        if hottest.value is None or degrees > hottest.value:
            hottest = Signal(degrees, source)
    return hottest
