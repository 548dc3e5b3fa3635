"""Every file that a command line names to be read: one sentence and one exit code without it."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docs.tables import commands
from fedling_agent import cli as agent
from fedling_broker import cli as broker
from fedling_protocol.exits import Exit
from fedling_sim import cli as sim
from tests.support.device import FLEET

MAINS: dict[str, Callable[[list[str]], int]] = {
    agent.NAME: agent.main, broker.NAME: broker.main, sim.NAME: sim.main,
}  # fmt: skip
WRITTEN = {
    "fedling-agent diag file",
    "fedling-broker authority take-root file",
    "fedling-broker backup file",
    "fedling-broker model weights file",
}
FOLDERS = {"fedling-sim report directory"}  # its sentence is about the file in it
BEFORE = {"fedling-agent ingest": ["wrist"], "fedling-broker task update": ["tiny"]}
BEHIND = {"fedling-sim fits": ["--board", "cortex-m4", "--ram", "1k", "--flash", "1k"]}

AGENT = f"""
fleet = "{FLEET}"
root_key = "{"0" * 64}"
streams = ["wrist.toml"]
[mqtt]
host = "localhost"
"""
STREAM = """
name = "wrist"
channel = [{name = "x", unit = "g", resolution = 0.1}]
"""


def files() -> Iterator[str]:
    """Commands that take a file without an option, each with the argument's name."""
    for module in (agent, broker, sim):
        for parser in commands(module.build_parser()):
            for argument in parser._actions:
                if not argument.option_strings and is_file(argument):
                    yield f"{parser.prog} {argument.dest}"


def is_file(argument: argparse.Action) -> bool:
    return argument.type is Path or argument.dest == "file"


READ = sorted({*files()} - WRITTEN - FOLDERS)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device and an aggregator, configured where one is."""
    monkeypatch.chdir(tmp_path)
    Path("agent.toml").write_text(AGENT)
    Path("wrist.toml").write_text(STREAM)
    assert agent.main(["init", "--config", "agent.toml", "--state", "state"]) == Exit.OK
    assert broker.main(["init", "--fleet", FLEET]) == Exit.OK
    return tmp_path


def run(command: str, path: str) -> int:
    name, *verbs = command.split()[:-1]
    prog = " ".join([name, *verbs])
    words = [*verbs, *BEFORE.get(prog, []), path, *BEHIND.get(prog, [])]
    if name == agent.NAME:
        words += ["--config", "agent.toml", "--state", "state"]
    return MAINS[name](words)


def test_there_are_some() -> None:
    assert {*files()} >= WRITTEN | FOLDERS
    assert len(READ) >= 8


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", READ)
def test_a_file_that_is_not_there_is_named(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "absent") == Exit.NOT_FOUND
    assert capsys.readouterr().err.endswith(": absent: there is no such file\n")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", READ)
def test_a_file_that_is_a_folder_is_named(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    assert run(command, "folder") == Exit.FAILED
    assert capsys.readouterr().err.endswith(": folder: cannot be read: Is a directory\n")
