"""Where a run's files go: nothing is overwritten, nothing stays after a failure."""

from pathlib import Path

import pytest

from fedling_protocol.disk.errors import CannotWrite
from fedling_sim import places, record
from fedling_sim.simulation import Scenario, load
from tests.support import small_task


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.chdir(tmp_path)
    return load(small_task.write(tmp_path / "task"))


def test_place_of_two_runs_at_once_is_not_the_same(scenario: Scenario) -> None:
    with places.place(scenario, None) as one, places.place(scenario, None) as two:
        assert [one.name, two.name] == ["tiny-1", "tiny-1.2"]
        (one / record.FILE).touch()
        (two / record.FILE).touch()
    with places.place(scenario, None) as three:
        assert three.name == "tiny-1.3"


def test_place_without_a_report_goes_again(scenario: Scenario) -> None:
    with pytest.raises(ZeroDivisionError), places.place(scenario, None) as folder:
        raise ZeroDivisionError
    assert not folder.exists()


def test_place_refuses_a_folder_with_a_report(scenario: Scenario, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with places.place(scenario, out):
        (out / record.FILE).touch()
    with pytest.raises(places.OutTaken, match=r"run\.json: is there already"), \
         places.place(scenario, out):  # fmt: skip
        pass


def test_place_that_cannot_be_made_is_told_before_the_run(
    scenario: Scenario, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CannotWrite, match="file/out"), places.place(scenario, file / "out"):
        pass
    with pytest.raises(places.OutTaken, match="is a file"), places.place(scenario, file):
        pass


def fail_in(folder: Path) -> None:
    with places.workplace(folder, keep=True) as directory:
        (directory / "file").touch()
        raise ZeroDivisionError


def test_workplace_keeps_nothing_after_a_failure(tmp_path: Path) -> None:
    for _ in range(2):  # the second is not refused
        with pytest.raises(ZeroDivisionError):
            fail_in(tmp_path)
        assert list(tmp_path.iterdir()) == []
    with places.workplace(tmp_path, keep=True) as directory:
        (directory / "file").touch()
    assert (directory / "file").exists()
