"""The last fifth of each recording is never ingested, and no window crosses the cut."""

from pathlib import Path

import pytest

from fedling_protocol.settings import SettingsError
from fedling_sim import dataset
from fedling_sim.dataset import split
from fedling_sim.simulation import load
from tests.support import small_task


def test_split_cuts_each_recording_at_four_fifths(tmp_path: Path) -> None:
    spec = load(small_task.write(tmp_path)).task.spec  # windows of 10, stride 5
    rows = [f"a,wave,{i}.0,0.0" for i in range(63)] + [f"b,rest,{i}.0,1.0" for i in range(20)]
    data = split("watch", ["recording,label,x,y", *rows], spec)
    assert [len(recording) for recording in data.training] == [50, 16]
    assert data.windows == 9 + 2
    assert [test.label for test in data.tests] == ["wave"]  # of b only 4 samples are left
    assert data.tests[0].lines[:2] == ["x,y", "50.0,0.0"]
    assert data.tests[0].lines[-1] == "59.0,0.0"


def test_load_takes_the_first_devices(tmp_path: Path) -> None:
    scenario = load(small_task.write(tmp_path))
    data = dataset.load(scenario.simulation.data, scenario.task.spec, 2)
    assert [device.name for device in data] == ["watch-0", "watch-1"]
    with pytest.raises(SettingsError, match="has 5 devices, not 9"):
        dataset.load(scenario.simulation.data, scenario.task.spec, 9)


def test_load_without_data_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"devices\.json: is missing"):
        dataset.names(tmp_path)
