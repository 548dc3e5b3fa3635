"""Whatever stands in the kernel's files, reading them neither blocks nor raises."""

import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.conditions import files, watcher
from fedling_agent.conditions.condition import Lack
from fedling_agent.conditions.table import TABLE
from tests.support.conditions import Machine


@pytest.mark.parametrize(
    ("text", "says"),
    [("warm", "'warm' is not a number"), ("101", "101 is not 0 to 100"), ("", "'' is not a numb")],
)
def test_integer_says_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(files.Unreadable, match=says):
        files.integer(f"{tmp_path}/file", 0, 100)
    with pytest.raises(files.Unreadable, match="No such file"):
        files.integer(f"{tmp_path}/absent", 0, 100)
    with pytest.raises(files.Unreadable, match="cannot be read"):
        files.integer("a\0b", 0, 100)


def test_what_would_block_or_exhaust_does_not(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.supply("BAT0", type="Battery", status="Discharging")
    os.mkfifo(machine.power / "BAT0/capacity")
    machine.thermal.mkdir(parents=True)
    (machine.thermal / "thermal_zone0").symlink_to("thermal_zone0")
    machine.supply("BAT1", type="Battery")
    (machine.power / "BAT1/capacity").symlink_to("/dev/zero")
    signals = watcher.read(TABLE, machine.roots)
    assert signals["battery"].lack is signals["temperature"].lack is Lack.UNREADABLE
    assert signals["mains"].value is False


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.binary(max_size=80))
def test_no_bytes_raise(seed: int, junk: bytes) -> None:
    rng = random.Random(seed)
    with TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        machine.supply("AC", type="Mains", online="1")
        machine.supply("BAT0", type="Battery", capacity="50", status="Full", scope="System")
        machine.zone(0, "40000")
        found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        for path in rng.sample(found, 3):
            path.write_bytes(junk)
        signals = watcher.read(TABLE, machine.roots)
    for row in TABLE:
        signal = signals[row.name]
        assert (signal.value is None) == (signal.lack is not None)
        assert signal.value is not None or signal.detail
        assert signal.lack is not Lack.SILENT, signal.detail  # it raised
