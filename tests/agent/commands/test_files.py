"""`fedling-agent ingest` of several files, and of a folder that is watched."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fedling_agent.commands import source
from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.commands.watching import OPEN_S, QUIET_S, Folder
from fedling_protocol.exits import Exit
from tests.agent.commands.conftest import NOWHERE
from tests.support.agent import Agent, rows
from tests.support.waiting import PATIENCE_S, until

BARE = "x,y\n"  # a table that names neither recording nor label


def put(agent: Agent, name: str, text: str) -> str:
    path = agent.directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def listed(agent: Agent) -> list[dict[str, Any]]:
    said = agent.run("recordings", "list", "--json", code=None)
    if said.returncode != Exit.OK:  # the store is not made yet, or is being made
        assert said.returncode in (Exit.NOT_FOUND, Exit.BAD_CONFIG), said.stderr
        return []
    found: list[dict[str, Any]] = json.loads(said.stdout)
    return found


def stored(agent: Agent) -> dict[str, dict[str, int]]:
    """Each recording's samples of each label."""
    return {one["recording"]: one["labels"] for one in listed(agent)}


def samples(agent: Agent) -> dict[str, int]:
    return {one["recording"]: one["samples"] for one in listed(agent)}


# --- several files ---------------------------------------------------------------------------


def test_three_gestures_are_three_files(agent: Agent) -> None:
    names = ("wave.csv", "circle-2.csv", "knock (3).csv", "wave_12.csv", "7.csv", "mp3.csv")
    files = [put(agent, name, BARE + "1,1\n" * 5) for name in names]
    said = agent.run("ingest", "wrist", *files, "--label-from-name").stdout.splitlines()
    assert [line.split(": stored 5 rows, refused 0")[0] for line in said] == files
    assert stored(agent) == {
        "wave": {"wave": 5}, "circle-2": {"circle": 5}, "knock (3)": {"knock": 5},
        "wave_12": {"wave": 5}, "7": {"7": 5},
        "mp3": {"mp3": 5},
    }  # fmt: skip
    again = agent.json("ingest", "wrist", files[0], "--label-from-name")
    assert (again["file"], again["stored"], again["seen"]) == (files[0], 0, 5)


def test_what_is_wrong_with_one_stops_no_other(agent: Agent) -> None:
    files = [
        put(agent, "a.csv", BARE + "1,1\n"),
        put(agent, "b.csv", "x,z\n1,1\n"),
        str(agent.directory / "none.csv"),
        put(agent, "c.csv", BARE + "1,1\n1,?\n"),
        put(agent, "d.ndjson", '{"x": 1, "y": 2}\n{"recording": "e", "x": 1, "y": 2}\n'),
    ]
    said = agent.run("ingest", "wrist", *files, code=Exit.FAILED)
    assert samples(agent) == {"a": 1, "c": 1, "d": 1, "e": 1}
    assert f"{files[1]}: header: column y is missing" in said.stderr
    assert f"{files[2]}: there is no such file" in said.stderr
    assert f"{files[3]}: stored 1 rows, refused 1" in said.stdout
    assert f"{files[3]}: row 3: y = ? is not a number" in said.stderr
    agent.run("ingest", "wrist", files[0], files[3], code=Exit.SOME_REFUSED)


def test_a_column_of_recordings_is_asked_before_the_name_of_a_file(agent: Agent) -> None:
    file = put(agent, "day.csv", "recording,x,y\na,1,1\n,1,1\n")
    said = agent.run("ingest", "wrist", file, code=Exit.SOME_REFUSED)
    assert "row 3: recording is missing" in said.stderr
    assert samples(agent) == {"a": 1}


def test_a_file_may_have_any_name_if_its_rows_say_what_they_are(agent: Agent) -> None:
    for number, name in enumerate(("n" * 65 + ".csv", os.fsdecode(b"caf\xe9.csv"), "a\u202e.csv")):
        file = put(agent, name, f"recording,x,y\nr{number},1,1\n")
        agent.run("ingest", "wrist", file)
    file = put(agent, "m" * 65 + ".csv", BARE + "1,1\n")
    agent.run("ingest", "wrist", file, "--recording", "given")
    assert samples(agent) == {"r0": 1, "r1": 1, "r2": 1, "given": 1}


def test_what_a_file_was_is_no_matter_of_the_last_minute(agent: Agent) -> None:
    """When its rows were taken nobody knows, unless they say it."""
    agent.json("label", "wrist", "knock", "--coming", "60s")
    file = put(agent, "old.csv", "recording,label,x,y\n" + "a,walk,1,1\n" * 5)
    agent.run("ingest", "wrist", file)
    file = put(agent, "more.csv", "recording,label,x,y\n" + "a,walk,1,1\n" * 5)
    agent.run("ingest", "wrist", file, "--append")
    assert agent.json("label", "wrist", "knock", "--past", "60s")["samples"] == 0
    assert stored(agent) == {"a": {"walk": 10}}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("a.csv", "b.csv", "--recording", "r"), Exit.FAILED, "--recording: of one file"),
        (("a.csv", "--label", "l", "--label-from-name"), Exit.USAGE, "not allowed with"),
        (("--watch",), Exit.FAILED, "--watch: which folder?"),
        (("a.csv", "--watch"), Exit.FAILED, "a.csv is no folder"),
        ((".", "--watch", "--append"), Exit.FAILED, "are for files that one names"),
        (("n" * 65 + ".csv",), Exit.FAILED, "column recording is missing: add it, or --recording"),
        (("a.csv", "a.ndjson", "--replace"), Exit.FAILED, "a.csv, a.ndjson: are called alike"),
        (("--label-from-name",), Exit.FAILED, "standard input has no name that says it"),
    ],
)
def test_what_cannot_be_meant_is_said(
    agent: Agent, words: tuple[str, ...], code: Exit, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(agent.directory)
    for word in words:
        if word.endswith(".csv"):
            put(agent, word, BARE + "1,1\n")
    assert says in agent.run("ingest", "wrist", *words, code=code).stderr
    assert stored(agent) == {}


# --- a folder --------------------------------------------------------------------------------


class Watch:
    """`ingest --watch` in a process of its own."""

    def __init__(self, agent: Agent, *words: str) -> None:
        self.folder = agent.directory / "inbox"
        self.folder.mkdir(exist_ok=True)
        self._errors = (agent.directory / "watch.err").open("w+")
        self.process = subprocess.Popen(
            agent.command("ingest", "wrist", str(self.folder), "--watch", "--json", *words),
            stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip

    def end(self) -> list[dict[str, object]]:
        """What it said of each file."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == Exit.INTERRUPTED
        return [json.loads(line) for line in out.splitlines()]

    @property
    def errors(self) -> str:
        return Path(self._errors.name).read_text()


def test_a_folder_is_watched(agent: Agent) -> None:
    put(agent, "inbox/early.csv", rows(1, 7))
    watch = Watch(agent)
    until(lambda: samples(agent) == {"r0": 7})
    put(agent, "inbox/bad.csv", "x,z\n1,1\n")
    put(agent, "inbox/.hidden.csv", BARE + "1,1\n")
    put(agent, "inbox/walk.csv.part", BARE + "1,1\n")
    put(agent, "inbox/zero.csv", "")  # somebody has begun it
    put(agent, "inbox/walk-3.csv", BARE + "1,1\n" * 4)
    until(lambda: samples(agent) == {"r0": 7, "walk-3": 4})
    until(lambda: "bad.csv: header: column y is missing" in watch.errors)
    put(agent, "inbox/walk-3.csv", BARE + "1,1\n" * 6)  # it has grown
    until(lambda: samples(agent) == {"r0": 7, "walk-3": 6})
    (watch.folder / "walk-3.csv").unlink()
    said = watch.end()
    assert "zero.csv" not in watch.errors
    assert [(Path(str(one["file"])).name, one["stored"]) for one in said] == [
        ("early.csv", 7), ("walk-3.csv", 4), ("walk-3.csv", 2),
    ]  # fmt: skip
    again = Watch(agent)
    put(agent, "inbox/more.csv", BARE + "1,1\n")
    until(lambda: samples(agent) == {"r0": 7, "walk-3": 6, "more": 1})
    assert [one["stored"] for one in again.end()] == [1]  # of the others nothing is new


def test_files_are_brought_when_the_service_is_back(tmp_path: Path) -> None:
    """A folder is no pipe: what could not be brought is there, and tried again."""
    agent = Agent(tmp_path / "device", NOWHERE)
    agent.run("init")
    agent.serve()
    watch = Watch(agent)
    put(agent, "inbox/a.csv", rows(1, 7))
    until(lambda: samples(agent) == {"r0": 7})
    agent.kill()
    put(agent, "inbox/b.csv", BARE + "1,1\n")
    until(lambda: samples(agent) == {"r0": 7, "b": 1})  # by the command itself
    agent.serve()
    put(agent, "inbox/c.csv", BARE + "1,1\n")
    until(lambda: samples(agent) == {"r0": 7, "b": 1, "c": 1})
    assert [one["by"] for one in watch.end()] == [
        "service", "command; the service does not run", "service",
    ]  # fmt: skip
    assert agent.stop() == Exit.OK


def test_a_stream_that_nobody_knows_is_told_at_once(agent: Agent) -> None:
    (agent.directory / "inbox").mkdir()
    folder = str(agent.directory / "inbox")
    said = agent.run("ingest", "ankle", folder, "--watch", code=Exit.NOT_FOUND)
    assert 'agent.toml names no stream "ankle"' in said.stderr


def test_a_file_is_due_when_it_was_quiet_and_is_another_one_than_before(tmp_path: Path) -> None:
    folder, file = Folder(tmp_path), tmp_path / "a.CSV"
    assert folder.due(0) == []
    file.write_text("1\n")
    assert folder.due(100) == []
    assert folder.waits
    assert folder.due(100 + QUIET_S - 0.1) == []
    file.write_text("12\n")
    assert folder.due(100 + QUIET_S) == []  # somebody writes
    assert folder.due(100 + 2 * QUIET_S) == [file]
    assert folder.due(200) == [file]  # it was not brought
    folder.brought(file)
    assert folder.due(300) == []
    assert not folder.waits
    os.utime(file, (5, 5))
    assert folder.due(400) == []
    assert folder.due(400 + QUIET_S) == [file]
    file.unlink()
    assert folder.due(500) == []
    file.mkdir()
    assert folder.due(600) == []
    assert folder.due(700) == []


def test_a_last_line_without_an_end_is_waited_for(tmp_path: Path) -> None:
    """A program that writes in blocks leaves half a number there."""
    folder, file = Folder(tmp_path), tmp_path / "a.csv"
    file.write_text("x,y\n1,1\n3,12.3")
    assert folder.due(0) == folder.due(30) == []
    file.write_text("x,y\n1,1\n3,12.34\n")
    assert folder.due(40) == []
    assert folder.due(40 + QUIET_S) == [file]
    folder.brought(file)
    file.write_text("x,y\n1,1\n3,12.34\n5,6")
    assert folder.due(100) == []
    assert folder.due(100 + OPEN_S) == [file]  # so it stays


def test_no_more_is_brought_than_was_there_when_it_was_due(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x,y\n1,1\n2,2\n3,3")
    with source.opened(str(file), 8) as given, Interrupts() as interrupts:
        assert list(given.pieces(interrupts)) == [["x,y\n", "1,1\n"]]


def test_what_leads_nowhere_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "a.csv").write_text("1\n")
    folder = Folder(tmp_path)
    folder.due(0)
    assert folder.due(9) == [tmp_path / "a.csv"]
    (tmp_path / "a.csv").chmod(0o600)  # it may be read now
    folder.brought(tmp_path / "a.csv")
    assert folder.due(10) == []
    assert folder.due(20) == [tmp_path / "a.csv"]


def test_what_is_written_while_it_is_brought_comes_again(tmp_path: Path) -> None:
    folder, file = Folder(tmp_path), tmp_path / "a.csv"
    file.write_text("1\n")
    folder.due(0)
    assert folder.due(10) == [file]
    file.write_text("12\n")
    folder.brought(file)
    assert folder.due(20) == []
    assert folder.due(30) == [file]


def test_a_folder_that_goes_and_comes_back(agent: Agent) -> None:
    watch = Watch(agent)
    put(agent, "inbox/a.csv", rows(1, 7))
    until(lambda: samples(agent) == {"r0": 7})
    away = watch.folder.rename(agent.directory / "away")
    until(lambda: "inbox: cannot be read: No such file or directory" in watch.errors)
    away.rename(watch.folder)
    put(agent, "inbox/b.csv", BARE + "1,1\n")
    until(lambda: samples(agent) == {"r0": 7, "b": 1})
    watch.end()
    assert watch.errors.count("cannot be read") == 1
