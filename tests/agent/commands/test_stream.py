"""`fedling-agent stream`: from a file of another program to rows in the store."""

import json
import os
import shlex
from pathlib import Path

import pytest

from fedling_agent import cli
from fedling_protocol.exits import Exit

TABLE = "timestamp,accel_x,accel_y\n1772362800000,0.5,9.81\n1772362800020,0.25,9.8\n"
AGENT = f"""
fleet = "home"
root_key = "{"0" * 64}"
streams = []  # mine
[mqtt]
host = "localhost"
"""
WHERE = ["--config", "agent.toml", "--state", "state"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Walk 3.csv").write_text(TABLE)


def test_new_says_what_add_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stream", "new", "Walk 3.csv"]) == Exit.OK
    said = capsys.readouterr()
    Path("agent.toml").write_text(AGENT)
    typed = shlex.split(said.err.splitlines()[0].partition(": fedling-agent ")[2])
    assert cli.main([*typed, *WHERE]) == Exit.OK
    assert Path("walk-3.toml").read_text() == said.out


def test_add_is_all_that_ingest_needs(capsys: pytest.CaptureFixture[str]) -> None:
    Path("agent.toml").write_text(AGENT)
    assert cli.main(["init", *WHERE]) == Exit.OK
    assert cli.main(["ingest", "walk-3", "Walk 3.csv", *WHERE]) == Exit.NOT_FOUND
    said = capsys.readouterr().err
    assert "a new one: fedling-agent stream add FILE.csv --name walk-3" in said
    assert cli.main(["stream", "add", "Walk 3.csv", *WHERE]) == Exit.OK
    typed = shlex.split(capsys.readouterr().out.strip().splitlines()[-1])[2:]
    assert typed == [
        "ingest", "walk-3", "Walk 3.csv", "--recording", "NAME", "--label", "NAME",
    ]  # fmt: skip
    assert cli.main([*typed, *WHERE, "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["stored"] == 2
    assert "# mine" in Path("agent.toml").read_text()


def test_add_again_changes_nothing_and_goes_on_where_it_was_cut_short(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("agent.toml").write_text(AGENT)
    add(Exit.OK)
    whole = Path("agent.toml").read_text()
    Path("agent.toml").write_text(AGENT)
    add(Exit.OK)
    add(Exit.OK)
    assert "is there already, nothing was changed" in capsys.readouterr().out
    assert Path("agent.toml").read_text() == whole


def add(code: Exit, *words: str, file: str = "Walk 3.csv") -> None:
    assert cli.main(["stream", "add", file, *words, *WHERE]) == code


def test_add_replaces_nothing_of_the_owners(capsys: pytest.CaptureFixture[str]) -> None:
    Path("agent.toml").write_text(AGENT)
    Path("mine.toml").write_text("# mine\n")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    for name in ("mine", "agent", "broker"):
        add(Exit.FAILED, "--name", name)
        assert "choose another --name" in capsys.readouterr().err
    add(Exit.BAD_CONFIG, file="mine.toml")
    assert "mine.toml: name is missing" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
    add(Exit.OK, "--name", "wrist")
    Path("other.csv").write_text("left,right\n1,2\n")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    add(Exit.FAILED, "--name", "wrist", file="other.csv")
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_add_takes_a_definition_as_a_person_wrote_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("agent.toml").write_text(AGENT)
    text = '# of the left arm\nname = "arm"\nchannel = [{name="x", unit="V", resolution=1}]\n'
    Path("from-a-stick.toml").write_text(text)
    add(Exit.FAILED, "--name", "leg", file="from-a-stick.toml")
    add(Exit.OK, file="from-a-stick.toml")
    assert Path("arm.toml").read_text() == text
    assert "stream arm is new: x (V)" in capsys.readouterr().out


def test_added_files_can_be_read_whatever_the_umask() -> None:
    """The unit's user reads what root has written under `umask 077`."""
    Path("agent.toml").write_text(AGENT)
    Path("agent.toml").chmod(0o644)
    before = os.umask(0o077)
    try:
        add(Exit.OK)
    finally:
        os.umask(before)
    modes = [Path(name).stat().st_mode & 0o777 for name in ("agent.toml", "walk-3.toml")]
    assert modes == [0o644, 0o644]


def test_new_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stream", "new", "Walk 3.csv", "--name", "wrist", "--json"]) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    assert said["name"] == "wrist"
    assert 'name = "wrist"' in said["toml"]


@pytest.mark.parametrize("name", ["Wrist", "a b", "-"])
def test_name_that_no_stream_may_have(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stream", "new", "Walk 3.csv", f"--name={name}"]) == Exit.FAILED
    assert f"--name {name}: allowed" in capsys.readouterr().err
