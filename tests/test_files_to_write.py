"""Every file that a command line names to be written: only a file is ever replaced."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.tables import commands
from fedling_broker import cli as broker
from fedling_protocol.exits import Exit
from fedling_protocol.wire.identity import SigningKey
from tests.broker.conftest import Here, here

__all__ = ["here"]

KEY = SigningKey(b"k" * 32).public.hex()
ONCE = {  # keys, and what vouches for them
    "fedling-broker authority certify to",
    "fedling-broker authority take-root file",
}

# Each with its words before the file.
LINES = {
    "fedling-broker authority certify to": ["authority", "certify", "aggregator", KEY, "--to"],
    "fedling-broker authority take-root file": ["authority", "take-root"],
    "fedling-broker backup file": ["backup"],
    "fedling-broker export onnx": ["export", "tiny", "--onnx"],
    "fedling-broker model weights file": ["model", "weights", "tiny"],
}


def written() -> Iterator[str]:
    for parser in commands(broker.build_parser()):
        for action in parser._actions:
            if (action.help or "").startswith("the file to write"):
                yield f"{parser.prog} {action.dest}"


def test_no_command_is_missing() -> None:
    assert {*written()} == {*LINES}


@pytest.mark.parametrize("command", sorted(LINES))
def test_what_is_no_file_is_left_as_it_is(here: Here, command: str) -> None:
    here.add_task()
    folder, pipe = Path("folder"), Path("pipe")
    folder.mkdir()
    (folder / "kept").touch()
    os.mkfifo(pipe)
    before = {*Path().iterdir()}
    for target in ("folder", "folder/", "", "."):
        said = here(*LINES[command], target, code=Exit.FAILED)
        assert "is a folder: name a file in it" in said
    assert "is not replaced" in here(*LINES[command], "pipe", code=Exit.FAILED)
    assert "no such folder" in here(*LINES[command], "absent/x", code=Exit.CANNOT_WRITE)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [*folder.iterdir()] == [folder / "kept"]
    assert {*Path().iterdir()} == before


@pytest.mark.parametrize("command", sorted({*LINES} - ONCE))
def test_a_file_is_replaced(here: Here, command: str) -> None:
    here.add_task()
    file = Path("mit leer ü.x")
    file.write_bytes(b"old")
    here(*LINES[command], str(file))
    assert file.read_bytes() != b"old"


@pytest.mark.parametrize("command", sorted(ONCE))
def test_a_file_beside_keys_is_never_replaced(here: Here, command: str) -> None:
    here.add_task()
    file = Path("root.key")
    file.write_bytes(b"the last of its kind")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert "root.key: is there already" in here(*LINES[command], str(file), code=Exit.FAILED)
    assert {path: path.read_bytes() for path in before} == before
