"""What is tested is never ingested, has one label and nothing refused in it, and has all labels."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedling_agent.data.streams import Channel, Stream
from fedling_agent.service.operations import Ingest
from fedling_agent.store.store import Store
from fedling_protocol.wire.messages import TaskSpec
from fedling_sim import sheet
from fedling_sim.simulation import load
from fedling_sim.splitting import DeviceData, split
from tests.support import small_task

STREAM = Stream("wrist", (Channel("x", "m/s2", 0.01), Channel("y", "m/s2", 0.01)))


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TaskSpec:
    """Windows of 10, stride 5, labels rest, wave, turn."""
    return load(small_task.write(tmp_path_factory.mktemp("task"))).task.spec


def parted(path: Path, rows: list[str], spec: TaskSpec) -> DeviceData:
    path.write_text("\n".join(["recording,label,x,y", *rows]) + "\n")
    return split("watch", sheet.read(sheet.whole(path), STREAM), spec, Counter())


def rows_of(recording: str, label: str, count: int) -> list[str]:
    return [f"{recording},{label},{i}.0,1.0" for i in range(count)]


def test_split_cuts_each_recording_at_four_fifths(tmp_path: Path, spec: TaskSpec) -> None:
    data = parted(tmp_path / "a.csv", rows_of("a", "wave", 63) + rows_of("b", "rest", 20), spec)
    assert [len(part.rows) for part in data.training] == [50, 20]  # a fifth of b has no window
    assert data.windows == 9 + 3
    assert [test.label for test in data.tests] == ["wave"]
    assert data.tests[0].lines == ["recording,label,x,y", *rows_of("a", "wave", 63)[50:60]]
    assert list(data.tests[0].counts[:4]) == [5000, 100, 5100, 100]


def test_split_of_rows_sorted_by_label_tests_each_label(tmp_path: Path, spec: TaskSpec) -> None:
    rows = [row for label in spec.labels for row in rows_of("a", label, 100)]
    data = parted(tmp_path / "a.csv", rows, spec)
    assert {test.label for test in data.tests} == set(spec.labels)
    assert [len(part.rows) for part in data.training] == [80, 80, 80]


def test_split_of_short_recordings_tests_every_fifth_of_a_label(
    tmp_path: Path, spec: TaskSpec
) -> None:
    rows = [
        row
        for number in range(11)
        for label in ("rest", "wave")
        for row in rows_of(f"{label}-{number}", label, 12)
    ]
    data = parted(tmp_path / "a.csv", rows, spec)
    assert Counter(test.label for test in data.tests) == {"rest": 2, "wave": 2}
    assert len(data.training) == 22 - 4


def test_split_of_a_table_with_a_recording_a_row(tmp_path: Path, spec: TaskSpec) -> None:
    rows = [f"r{i},{spec.labels[i % 3]},{i % 3}.0,1.0" for i in range(60)]
    data = parted(tmp_path / "a.csv", rows, replace(spec, window=1, stride=1))
    assert Counter(test.label for test in data.tests) == dict.fromkeys(spec.labels, 4)
    assert data.windows == 48


def test_split_never_takes_all_that_a_device_has(tmp_path: Path, spec: TaskSpec) -> None:
    (tmp_path / "a.csv").write_text("\n".join(["recording,label,x,y", *rows_of("a", "rest", 12)]))
    short = Counter({"rest": 4})
    data = split("watch", sheet.read(sheet.whole(tmp_path / "a.csv"), STREAM), spec, short)
    assert data.windows == 1
    assert data.tests == []


BAD = ["", "r0,rest,nan,1", "r0,rest,1"]  # a blank one is none at all


@st.composite
def tables(draw: st.DrawFn) -> list[str]:
    """Rows in stretches of recordings and labels, no two alike; blank and refused ones between."""
    labels = st.sampled_from(["rest", "wave", "turn", "", "other"])
    stretches = draw(st.lists(st.tuples(labels, st.integers(1, 80)), min_size=1, max_size=8))
    each = draw(st.integers(1, 3))
    rows: list[str] = []
    for number, (label, count) in enumerate(stretches):
        rows += [f"r{number // each},{label},{len(rows) + i / 100},1" for i in range(count)]
    for at in draw(st.lists(st.integers(0, len(rows)), max_size=4)):
        rows.insert(at, draw(st.sampled_from(BAD)))
    return rows


@settings(max_examples=60, deadline=None)
@given(rows=tables())
@example(
    [
        *rows_of("r0", "rest", 1),
        *rows_of("a", "rest", 56)[:46],
        BAD[1],
        *rows_of("a", "rest", 56)[46:],
    ]
)
def test_device_stores_what_is_not_tested_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, spec: TaskSpec, rows: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("device")
    data = parted(folder / "a.csv", rows, spec)
    ingested = [line for part in data.training for line in part.lines]
    for test in data.tests:
        own = test.lines[1:]
        recording = own[0].split(",")[0]
        kept = [row for row in rows if row.split(",")[0] == recording]
        assert not set(own) & set(ingested)
        assert {line.split(",")[1] for line in own} == {test.label} <= set(spec.labels)
        at = kept.index(own[0])
        assert kept[at : at + spec.window] == own
    store = Store(folder / "state")
    try:
        done = Ingest({"wrist": STREAM}, "wrist", "csv").feed(store, [data.header, *ingested], 0)
    finally:
        store.close()
    assert done.stored == sum(len(part.rows) for part in data.training)
