"""What the bench of an agent's costs reads, makes and calls its figures; no agent runs here."""

import json
import os
from array import array
from pathlib import Path

import pytest

from bench import agent
from bench.support import ordinary_agent, sensor
from bench.support.meters import Spent, descendants, number_of
from fedling_agent.data.streams import Channel, Parser, Row, Stream
from fedling_native.integers import read_change
from fedling_protocol.wire import envelope
from fedling_protocol.wire.kinds import Kind
from tests.support.aggregator import ONLINE, TOPICS

STREAM = Stream("wrist", tuple(Channel(name, "", sensor.RESOLUTION) for name in sensor.CHANNELS))
MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/vdb /tmp/card vfat rw 0 0
/dev/vdc /tmp/card ext4 rw 0 0
"""
SAID = """\
  NAME                      DESCRIPTION      EXPOSURE
✗ PrivateNetwork=           Service has access to the host's network      0.5

→ Overall exposure level for fedling-agent.service: 1.5 OK :-)
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/me", "ext4"), ("/tmp/x", "tmpfs"), ("/tmp/card/x", "ext4"), ("/tmpx", "ext4")],
)
def test_file_system_is_that_of_the_last_mount_that_holds_it(path: str, kind: str) -> None:
    assert ordinary_agent.file_system(Path(path), MOUNTS) == kind


def test_score_is_the_number_of_the_last_line() -> None:
    assert agent.score_of(SAID) == 1.5


def test_figures_of_another_time_have_another_name() -> None:
    assert agent.named("idle_cpu_s_per_day", agent.MINUTES) == "idle_cpu_s_per_day"
    assert agent.named("idle_cpu_s_per_day", 2.5) == "idle_cpu_s_per_day_of_2.5_min"


def test_a_day_is_as_many_times_what_was_counted() -> None:
    spent = Spent(700.0, 3.0, 40, 8192) - Spent(100.0, 1.0, 10, 4096)
    assert spent == Spent(600.0, 2.0, 30, 4096)
    assert agent.per_day(spent.cpu_s, spent) == 288


def test_spent_of_this_process_grows() -> None:
    before = Spent.by(os.getpid())
    assert all(getattr(Spent.by(os.getpid()) - before, name) >= 0 for name in Spent.__slots__)
    assert os.getpid() not in descendants(os.getpid())
    assert number_of("Pid:", "/proc/self/status") == os.getpid()


def test_rows_of_the_sensor_are_stored_as_they_are_written() -> None:
    (row,) = Parser(STREAM, "ndjson").feed([sensor.line(3)])
    assert isinstance(row, Row)
    assert row.counts == tuple(round(100 * float(sensor.value_of(3, c))) for c in range(6))
    assert json.loads(sensor.line(3))["recording"] == row.recording == "day"


def test_csv_has_each_sample_of_each_recording() -> None:
    lines = sensor.csv_of(["a", "b"], 2).splitlines()
    rows = [row for row in Parser(STREAM, "csv").feed(lines) if isinstance(row, Row)]
    assert [(r.recording, r.label) for r in rows] == [
        *[("a", "label 0")] * 2,
        *[("b", "label 1")] * 2,
    ]
    assert len({r.counts for r in rows}) == 4


def test_the_change_makes_the_next_model_of_the_one_before() -> None:
    model = agent.on_grid(1)
    later, change = agent.changed(model)
    shifts = [0] * len(model.exponents)
    assert read_change(agent.BIG, shifts, change.steps, model.weights) == later.weights
    assert array("h", later.weights) != array("h", model.weights)
    topic = TOPICS.of(Kind.CHANGE, "watch", later.version)
    assert len(envelope.seal(change, TOPICS.bound(topic), ONLINE)) < agent.PARAMETERS / 2
