"""The device to copy works as its README says."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from fedling_agent import cli, config
from fedling_agent.commands.subscription import Wanted
from fedling_protocol.exits import Exit

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "device"


def test_commands_of_the_readme_store_what_the_phone_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "device"
    shutil.copytree(EXAMPLE, here)
    monkeypatch.chdir(here)
    typed = re.findall(r"^fedling-agent (.*)$", Path("README.md").read_text(), re.MULTILINE)
    assert [words.split()[0] for words in typed] == ["init", "ingest", "recordings"]
    for words in typed:
        capsys.readouterr()
        assert cli.main([*words.split(), "--json"]) == Exit.OK
    (stored,) = json.loads(capsys.readouterr().out)
    assert (stored["recording"], stored["samples"], stored["holes"]) == ("walk-1", 100, 0)
    assert stored["labels"] == {"walk": 100}


def test_every_key_of_the_stream_is_known_by_one_reader() -> None:
    loaded = config.load_streams(config.load(EXAMPLE / "agent.toml"))
    assert {*tomllib.loads((EXAMPLE / "phone.toml").read_text())} >= {"time_column", "ignore"}
    assert [channel.name for channel in loaded["phone"].channels] == ["x", "y", "z"]


def test_the_unit_takes_samples_of_this_device() -> None:
    """`make check-units` holds it to systemd."""
    unit = (EXAMPLE / "fedling-wrist.service").read_text()
    (words,) = re.findall(r"^ExecStart=fedling-agent (.*)$", unit, re.MULTILINE)
    args = cli.build_parser().parse_args(words.split())
    mqtt, topic = Wanted(args.mqtt, None, args.examples_leave_the_device).read()
    assert (args.stream, mqtt.address, topic) == ("wrist", "127.0.0.1:1883", "sensors/wrist")
    assert f"SuccessExitStatus={int(Exit.INTERRUPTED)}\n" in unit
