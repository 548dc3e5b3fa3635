"""Default routes, from fake procfs and sysfs."""

from pathlib import Path

import pytest

from fedling_agent.conditions.condition import Lack
from fedling_agent.conditions.network import network
from tests.support.conditions import Machine

ROUTE4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
DEFAULT4 = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
LOCAL4 = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
ZERO = "0" * 32
DEFAULT6 = f"{ZERO} 00 {ZERO} 00 fe80{'0' * 28} 00000400 00000001 00000000 00000003 eth0\n"
REJECT6 = f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200 lo\n"


@pytest.mark.parametrize(
    ("table4", "table6", "state", "up"),
    [
        (ROUTE4 + LOCAL4 + DEFAULT4, "", "up", True),
        (ROUTE4 + DEFAULT4, None, "unknown", True),
        (ROUTE4 + DEFAULT4, "", "down", False),
        (ROUTE4 + LOCAL4, "", "up", False),
        (ROUTE4 + DEFAULT4.replace("0003", "0002"), "", "up", False),
        (ROUTE4, DEFAULT6, "up", True),
        (None, DEFAULT6, "up", True),
        (ROUTE4, REJECT6, "up", False),
        (ROUTE4 + DEFAULT4.replace("eth0", "../../class/net/eth0"), "", "up", False),
        ("\0" * 5000, "\0\0\0", "up", False),
    ],
)
def test_network(
    tmp_path: Path, table4: str | None, table6: str | None, state: str, up: bool
) -> None:
    machine = Machine(tmp_path)
    machine.network(table4, table6, state)
    assert network(machine.roots).value is up


def test_no_table_at_all_is_broken(tmp_path: Path) -> None:
    assert network(Machine(tmp_path).roots).lack is Lack.UNREADABLE
