"""The verbs of fedling-sim, as far as they need no fleet: their words, JSON and exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedling_protocol.exits import Exit
from fedling_sim.cli import main
from tests.support import small_task


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == Exit.OK
    assert capsys.readouterr().out.startswith("fedling-sim ")


def test_board_list_and_errors_draw_nothing() -> None:
    """A list of six lines, or an error, waits for no plots."""
    code = (
        "import sys; from fedling_sim.cli import main; main(['board', 'list']);"
        "main('fits /nowhere --board cortex-m4 --ram 1k --flash 1k'.split());"
        "sys.exit(bool({'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_run_of_a_hostile_task_file_is_a_wrong_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "task.toml"
    for text in ("a = " + "9" * 5000, "a = " + "[" * 5000, "\xff"):
        path.write_bytes(text.encode("latin-1"))
        assert main(["run", str(path), "--json"]) == Exit.BAD_CONFIG
        assert json.loads(capsys.readouterr().err)["exit"] == Exit.BAD_CONFIG


def test_run_of_data_that_cannot_be_read_names_file_and_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = small_task.write(tmp_path, devices=1)
    (tmp_path / "data" / "watch-0.csv").write_bytes(b"\xff\xfe\x00" * 9)
    assert main(["run", str(task)]) == Exit.BAD_CONFIG
    assert "watch-0.csv: this is UTF-16 text" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_report_of_no_run_is_not_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == Exit.NOT_FOUND
    assert "run.json: there is no such file" in capsys.readouterr().err
    (tmp_path / "run.json").write_text("[" * 100_000)
    assert main(["report", str(tmp_path)]) == Exit.FAILED
    assert "is not a record of a run" in capsys.readouterr().err
