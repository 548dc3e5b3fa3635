"""Whether there is a network: a default route, of either family, by an interface that is up."""

from fedling_agent.conditions import files
from fedling_agent.conditions.condition import Roots, Signal, unreadable
from fedling_agent.conditions.files import Unreadable

ROUTE_UP, ROUTE_REJECT = 0x1, 0x200  # linux/route.h


def network(roots: Roots) -> Signal:
    """True if a default route leads out."""
    tables = ((f"{roots.proc}/net/route", _routes4), (f"{roots.proc}/net/ipv6_route", _routes6))
    problems = []
    for source, routes in tables:
        try:
            interfaces = routes(files.content(source, files.LONGEST_TABLE))
        except Unreadable as error:
            problems.append(str(error))
            continue
        if any(_is_up(roots, interface) for interface in interfaces):
            return Signal(True, source)
    if len(problems) == len(tables):
        return unreadable(tables[0][0], problems[0])
    return Signal(False, tables[0][0])


def _routes4(table: str) -> list[str]:
    """List the interfaces of IPv4 default routes: destination and mask are zero."""
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) >= 8 and words[1] == words[7] == "0" * 8 and _leads_out(words[3]):
            found.append(words[0])
    return found


def _routes6(table: str) -> list[str]:
    """List the interfaces of IPv6 default routes: destination and prefix length are zero."""
    found = []
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 10 and words[0] == "0" * 32 and words[1] == "00" and _leads_out(words[8]):
            found.append(words[9])
    return found


def _leads_out(flags: str) -> bool:
    try:
        value = int(flags, 16)
    except ValueError:
        return False
    return bool(value & ROUTE_UP) and not value & ROUTE_REJECT


def _is_up(roots: Roots, interface: str) -> bool:
    """Whether it carries traffic; point-to-point ones (LTE, VPN) never tell more than "unknown"."""
    if interface in ("lo", ".", "..") or "/" in interface:
        return False
    try:
        return files.text(f"{roots.sys}/class/net/{interface}/operstate") in ("up", "unknown")
    except Unreadable:
        return False
