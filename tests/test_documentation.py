"""Every command, configuration key and exit code is documented, and nothing that is not there."""

import re
from pathlib import Path

import pytest

from docs import tables
from fedling_agent.conditions.condition import Code
from fedling_agent.conditions.table import TABLE
from fedling_protocol.exits import Exit
from fedling_protocol.wire.messages import WaitReason

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

CLI_MODULES = {
    "fedling-agent": "fedling_agent.cli",
    "fedling-broker": "fedling_broker.cli",
    "fedling-sim": "fedling_sim.cli",
}


def commands_of(program: str) -> dict[str, str]:
    """Commands of one program and their help."""
    parsers = tables.commands(tables.parser_of(CLI_MODULES[program]))
    return {parser.prog: parser.format_help() for parser in parsers}


@pytest.fixture(params=CLI_MODULES)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_commands_are_documented(program: str) -> None:
    text = (DOCS / "commands.md").read_text()
    assert [x for x in commands_of(program) if f"`{x}" not in text and f"# {x}" not in text] == []


def test_help_shows_an_example(program: str) -> None:
    without = [
        name
        for name, text in commands_of(program).items()
        if not re.search(rf"^\s+(\$ |.*\| )?{program}\b", text.split("\n", 1)[1], re.MULTILINE)
    ]
    assert without == []


def documents() -> list[Path]:
    """What is written for people about this version."""
    return [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("examples/*/*.md")]


def test_documents_name_only_commands_that_exist(program: str) -> None:
    known = commands_of(program)
    groups = {x.rsplit(" ", 1)[0] for x in known if " " in x}
    typed = re.compile(rf"(?:^    |^\$ |`){program} ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)
    wrong = []
    for path in documents():
        for verb, noun in typed.findall(path.read_text()):
            name = f"{program} {verb}"
            if name in groups and noun:
                name = f"{name} {noun}"
            if name not in known:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert wrong == []


# --- what the code knows best ----------------------------------------------------------------


CONFIGURATION = {
    "fedling_agent.config:AgentConfig",
    "fedling_agent.data.streams:Stream",
    "fedling_broker.config:BrokerFile",
    "fedling_broker.tasks.task_file:TaskFile",
    "fedling_sim.simulation:SimulationTable",
}


def test_every_configuration_file_has_its_table() -> None:
    text = (DOCS / "configuration.md").read_text()
    assert set(re.findall(r"<!-- keys: (\S+) -->", text)) == CONFIGURATION


@pytest.mark.parametrize("document", tables.documents(), ids=lambda path: path.name)
def test_tables_are_those_of_the_code(document: Path) -> None:
    text = document.read_text()
    assert tables.renewed(text) == text, "behind the code: make format writes it"


@pytest.mark.parametrize("document", tables.documents(), ids=lambda path: path.name)
def test_every_argument_and_key_has_a_meaning(document: Path) -> None:
    empty = re.findall(r"^\| `([^`]+)`.*\|\s*\|$", document.read_text(), re.MULTILINE)
    assert empty == []


# --- reasons ---------------------------------------------------------------------------------


def test_every_reason_is_documented() -> None:
    text = (DOCS / "reasons.md").read_text()
    documented = re.findall(r"^\| `([a-z -]+)` \|", text, re.MULTILINE)
    assert documented == [*(row.code for row in TABLE), *Code, *WaitReason]


# --- exit codes ------------------------------------------------------------------------------


def test_exit_codes_are_documented() -> None:
    text = (DOCS / "exit-codes.md").read_text()
    documented = re.findall(r"^\| (\d+) \| `([A-Z_]+)`", text, re.MULTILINE)
    assert documented == [(str(code.value), code.name) for code in Exit]


def test_units_do_not_restart_on_bad_configuration() -> None:
    for unit in (ROOT / "packaging" / "systemd").glob("*.service"):
        assert f"\nRestartPreventExitStatus={Exit.BAD_CONFIG:d}\n" in unit.read_text()


# --- changelog -------------------------------------------------------------------------------


def test_changelog_names_the_version() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text()
