"""`fedling-agent stream new`: from a file of another program to rows in the store."""

import json
import shlex
from pathlib import Path

import pytest

from fedling_agent import cli
from fedling_protocol.exits import Exit

TABLE = "timestamp,accel_x,accel_y\n1772362800000,0.5,9.81\n1772362800020,0.25,9.8\n"
AGENT = f"""
fleet = "home"
root_key = "{"0" * 64}"
streams = ["walk-3.toml"]
[mqtt]
host = "localhost"
"""
WHERE = ["--config", "agent.toml", "--state", "state"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Walk 3.csv").write_text(TABLE)


def test_new_is_all_that_ingest_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stream", "new", "Walk 3.csv"]) == Exit.OK
    said = capsys.readouterr()
    Path("walk-3.toml").write_text(said.out)
    Path("agent.toml").write_text(AGENT)
    assert 'streams = ["walk-3.toml"]' in said.err
    assert cli.main(["init", *WHERE]) == Exit.OK
    capsys.readouterr()
    typed = shlex.split(said.err.strip().splitlines()[-1])[1:]
    assert typed == [
        "ingest", "walk-3", "Walk 3.csv", "--recording", "NAME", "--label", "NAME",
    ]  # fmt: skip
    assert cli.main([*typed, *WHERE, "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["stored"] == 2


def test_new_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stream", "new", "Walk 3.csv", "--name", "wrist", "--json"]) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    assert said["name"] == "wrist"
    assert 'name = "wrist"' in said["toml"]


@pytest.mark.parametrize("name", ["Wrist", "a b", "-"])
def test_name_that_no_stream_may_have(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stream", "new", "Walk 3.csv", f"--name={name}"]) == Exit.FAILED
    assert f"--name {name}: allowed" in capsys.readouterr().err
