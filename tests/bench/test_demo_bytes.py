"""The bench of the demo's bytes tells of each kind what devices counted, and forgets none."""

from pathlib import Path

import pytest

from bench.demo_bytes import OF_NO_KIND, Moved, moved, play, tell
from bench.report import Report
from fedling_sim.record import DeviceBytes, Record, Round
from tests.support import small_task
from tests.support.tools import need

DEVICES, GOAL = 3, 2
COUNTS = [
    {"bytes sent: update": 400, "bytes received: change": 300, "bytes received: plan": 50},
    {"bytes sent: update": 100, "bytes sent: join": 20, "refused: role": 7},
]


def record(up: int, down: int) -> Record:
    found = Record(task="watch", seed=1, devices=["a", "b"], parameters=1000, test_windows=0)
    found.rounds = [Round(n, n + 1, 0, 1, 1, ["a"], []) for n in (1, 2)]
    found.bytes = [DeviceBytes("a", up, down, 0, 0), DeviceBytes("b", 60, 40, 0, 0)]
    return found


def test_moved_is_of_no_kind_where_no_message_was() -> None:
    found = moved(record(500, 400), COUNTS)
    assert +found.sent == {"update": 500, "join": 20, OF_NO_KIND: 40}
    assert +found.received == {"change": 300, "plan": 50, OF_NO_KIND: 90}


@pytest.mark.parametrize(("up", "down"), [(459, 400), (500, 309)])
def test_moved_refuses_more_than_has_passed_the_sockets(up: int, down: int) -> None:
    with pytest.raises(ValueError, match="1 bytes more"):
        moved(record(up, down), COUNTS)


def test_tell_shares_bytes_among_devices_and_rounds(tmp_path: Path) -> None:
    report, of = Report("demo_bytes", tmp_path), record(500, 400)
    tell(report, of, moved(of, COUNTS))
    assert report.figures == {
        "demo_bytes_round": 1000 / 4,
        "demo_bytes_ratio_float32": 8000 * 4 / 1000,
        "demo_bytes_ratio_updates": 8000 * 2 / 1000,  # of two updates, in two rounds
        "demo_fixed_bytes_round": (20 + 50 + 130) / 4,
        "demo_bytes_update": 125,
        "demo_bytes_change": 75,
        "demo_bytes_mqtt": 32.5,
        "demo_bytes_plan": 12.5,
        "demo_bytes_join": 5,
    }
    assert report.rows[2] == {"kind": "mqtt", "bytes": 32.5, "sent": 10, "received": 22.5}


def test_play_counts_the_messages_of_a_federation(tmp_path: Path) -> None:
    need("mosquitto")
    task = small_task.write(tmp_path, devices=DEVICES, goal=GOAL)
    found, of = play(task, DEVICES, 1)
    assert isinstance(of, Moved)
    updates = sum(device.update_bytes for device in found.bytes)
    assert updates < of.sent["update"] < updates + 200 * DEVICES  # the same, in packets
    assert min(of.sent[kind] for kind in ("join", "state", OF_NO_KIND)) > 0
    assert min(of.received[kind] for kind in ("plan", "ticket", "receipt", OF_NO_KIND)) > 0
    assert of.both.total() == sum(device.agent_up + device.agent_down for device in found.bytes)
