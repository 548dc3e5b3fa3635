"""The verbs of fedling-broker, run in this process."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedling_broker.cli import main
from fedling_broker.store.store import Store
from fedling_protocol.exits import Exit
from tests.support.rounds_on_disk import TEXT


class Here:
    """A directory that `init` was run in."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capture = capture

    def __call__(self, *words: str, code: Exit = Exit.OK) -> str:
        """Run a verb; what it said on both outputs."""
        self._capture.readouterr()
        found = main(words)
        said = self._capture.readouterr()
        assert found == code, said
        return said.out + said.err

    def json(self, *words: str, code: Exit = Exit.OK) -> Any:
        """What it said first: a log may follow."""
        found, _ = json.JSONDecoder().raw_decode(self(*words, "--json", code=code))
        return found

    def point(self, port: int, more: str = "") -> None:
        """Have broker.toml name an MQTT broker of this machine."""
        file = self.directory / "broker.toml"
        file.write_text(file.read_text().replace("port = 1883", f"port = {port}\n{more}"))

    def add_task(self) -> None:
        (self.directory / "tiny.toml").write_text(TEXT)
        self("task", "add", "tiny.toml")

    def store(self) -> Store:
        return Store(self.directory / "broker-state")


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    monkeypatch.chdir(tmp_path)
    here = Here(tmp_path, capsys)
    here("init", "--fleet", "test")
    return here
