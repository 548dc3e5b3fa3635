"""Every command, configuration key and exit code is documented, and nothing that is not there."""

import argparse
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from docs import tables
from fedling_agent.conditions.condition import Code
from fedling_agent.conditions.table import TABLE
from fedling_agent.config import AgentConfig
from fedling_agent.data.streams import Stream
from fedling_agent.service.diary import MEANINGS
from fedling_broker.config import BrokerFile
from fedling_broker.mosquitto import access
from fedling_broker.tasks.task_file import TaskFile
from fedling_protocol import settings
from fedling_protocol.exits import Exit
from fedling_protocol.wire.messages import EnrolReason, StateReason, WaitReason
from fedling_protocol.wire.topics import Topics
from tests.support.attacks.every import ATTACKS
from tests.support.distributions import FOLDERS, project

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
    return [*ROOT.glob("*.md"), *ROOT.glob("[!.]*/*.md"), *ROOT.glob("examples/*/*.md")]


def test_documents_name_only_commands_that_exist(program: str) -> None:
    known = commands_of(program)
    groups = {x.rsplit(" ", 1)[0] for x in known if " " in x}
    typed = re.compile(rf"(?:^    |^\$ |`){program} ([a-z-]+)(?: ([a-z][a-z-]*))?", re.MULTILINE)
    wrong = []
    for path in documents():
        for verb, noun in typed.findall(path.read_text()):
            name = f"{program} {verb}"
            if name in groups and noun:
                name = f"{name} {noun}"
            if name not in known:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert wrong == []


class Wrong(Exception):
    """What a parser says of a command line."""


class Answered(Exception):
    """The parser has done what was asked: --help, --version."""


UNFINISHED = ("arguments are required", "expected one argument")


def parse(line: str) -> str:
    """What is wrong with a command as one types it, by the program's own parser; empty: nothing."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    words = words[1:] if words[0] == "sudo" else words
    parser = tables.parser_of(CLI_MODULES[words[0]])
    try:
        parser.parse_args(words[1:])
    except Wrong as error:
        return f"{line}: {error}"
    except Answered:
        pass
    return ""


@pytest.fixture
def strict_parsers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No parser ends the process."""

    def error(_parser: argparse.ArgumentParser, message: str) -> NoReturn:
        raise Wrong(message)

    def done(*_: object) -> NoReturn:
        raise Answered

    monkeypatch.setattr(argparse.ArgumentParser, "error", error)
    monkeypatch.setattr(argparse.ArgumentParser, "exit", done)


BLOCK = re.compile(r"^```\w*\n(.*?)^```$|((?:^    .*\n?)+)", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^(?:\$ )?(?:sudo )?(?:fedling-(?:agent|broker|sim)) ")


def typed(text: str) -> Iterator[str]:
    """Whole commands in blocks of code; what a pipe leads to, too."""
    for fenced, indented in BLOCK.findall(text):
        for line in (fenced or indented).splitlines():
            for part in line.split(" | "):
                if COMMAND.match(part.strip()):
                    yield part.strip()


def mentioned(text: str) -> Iterator[str]:
    """Commands in a sentence."""
    return (found for found in INLINE.findall(text) if COMMAND.match(found))


@pytest.mark.usefixtures("strict_parsers")
@pytest.mark.parametrize("document", documents(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_in_blocks_can_be_typed(document: Path) -> None:
    assert [wrong for line in typed(document.read_text()) if (wrong := parse(line))] == []


@pytest.mark.usefixtures("strict_parsers")
@pytest.mark.parametrize("document", documents(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_in_sentences_may_only_be_short_of_something(document: Path) -> None:
    wrong = [parse(line) for line in mentioned(document.read_text())]
    assert [why for why in wrong if why and not any(x in why for x in UNFINISHED)] == []


@pytest.mark.usefixtures("strict_parsers")
def test_a_wrong_command_is_found() -> None:
    text = "```\nfedling-agent status --jason\nread | fedling-agent ingest  # STREAM\n```\n"
    assert len([parse(line) for line in typed(text) if parse(line)]) == 2
    assert parse("$ sudo fedling-broker round show watch 3  # the third") == ""
    assert parse("fedling-broker round show watch three")


# --- words -----------------------------------------------------------------------------------


ENTRY = re.compile(r"^- \*\*(.+?)\*\*: (.+?)\. \[(.+)\]$")


@cache
def identifiers() -> frozenset[str]:
    """All words of the code, its own packages' names among them."""
    words = set()
    for folder in tables.FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            words |= {*re.findall(r"\w+", path.read_text()), path.parent.name}
    return frozenset(words)


def is_there(name: str) -> bool:
    return (ROOT / name).exists() if "/" in name else name in identifiers()


def test_glossary_has_one_sentence_a_word_in_order() -> None:
    lines = (DOCS / "glossary.md").read_text().splitlines()
    entries = [line for line in lines if line.startswith("- ")]
    assert [line for line in entries if not ENTRY.match(line)] == []
    words = [line.split("**")[1].casefold() for line in entries]
    assert words == sorted(set(words))


def test_glossary_names_what_is_in_the_code() -> None:
    places = [
        (found[1], name)
        for line in (DOCS / "glossary.md").read_text().splitlines()
        if (found := ENTRY.match(line))
        for name in INLINE.findall(found[3])
    ]
    assert places
    assert [f"{word}: {name}" for word, name in places if not is_there(name)] == []
    assert not is_there("NoSuchThing" + "Anywhere")
    assert not is_there("agent/absent.py")


LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", documents(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


ROOM = re.compile(r"^\| ((?:`[\w/.*]+` ?)+)\|", re.MULTILINE)


@pytest.mark.parametrize("folder", ["agent", "broker", "protocol", "firmware_sim", "tests"])
def test_a_component_names_all_its_rooms(folder: str) -> None:
    """Every folder of the component stands in its README, and what stands there is there."""
    marks = (ROOT / folder).glob("fedling_*/__init__.py")  # what is installed lies beside it
    package = next((mark.parent for mark in marks), ROOT / folder)
    named = {
        x
        for row in ROOM.findall((ROOT / folder / "README.md").read_text())
        for x in INLINE.findall(row)
    }
    bases = (package, package.parent)
    assert [x for x in named if not any((base / x).exists() for base in bases)] == []
    rooms = (
        {p.parent.name for p in package.glob("*/__init__.py")}
        if package.name != folder
        else {p.name for p in package.iterdir() if p.is_dir() and not p.name.startswith("__")}
    )
    assert rooms - {x.rstrip("/").rsplit("/", 1)[-1] for x in named} == set()


# --- decisions -------------------------------------------------------------------------------


def decisions() -> list[Path]:
    return sorted((DOCS / "decisions").glob("[0-9]*.md"))


def test_decisions_have_a_number_each_and_say_it() -> None:
    numbers = [int(path.name.split("-")[0]) for path in decisions()]
    assert numbers == sorted(set(numbers))
    titles = [path.read_text().splitlines()[0] for path in decisions()]
    wrong = [
        title
        for number, title in zip(numbers, titles, strict=True)
        if not title.startswith(f"# {number}. ")
    ]
    assert wrong == []


def test_the_list_of_decisions_has_all_of_them() -> None:
    listed = LINK.findall((DOCS / "decisions" / "README.md").read_text())
    assert listed == [path.name for path in decisions()]


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


# --- promises --------------------------------------------------------------------------------


PROMISE = re.compile(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
SHOWN = re.compile(r"`(?:attack: ([\w-]+)|(tests/[\w/]+\.py)(?:::(\w+))?)`")


def promises() -> list[tuple[str, str]]:
    """Who cannot do something, and what shows it, of each line of SECURITY.md's table."""
    text = (ROOT / "SECURITY.md").read_text()
    table = text.partition("\n## Attackers and promises\n")[2].partition("\n## ")[0]
    lines = [line for line in PROMISE.findall(table) if line[0] not in ("who", "---")]
    assert len(lines) > 20
    return lines


def is_a_test(file: str, name: str) -> bool:
    """Whether the file is there, and has the test if one is named."""
    path = ROOT / file
    return path.exists() and (not name or f"\ndef {name}(" in path.read_text())


def test_every_promise_names_tests_that_exist() -> None:
    played = {(attack.who, attack.name) for attack in ATTACKS}
    for who, shown in promises():
        found = SHOWN.findall(shown)
        assert len(found) == shown.count(",") + 1, shown
        for attack, file, name in found:
            assert (who, attack) in played if attack else is_a_test(file, name), shown


def test_every_attack_stands_against_a_promise() -> None:
    shown = " ".join(words for _, words in promises())
    assert [a.name for a in ATTACKS if f"`attack: {a.name}`" not in shown] == []


def test_nothing_is_promised_for_later_but_two_things() -> None:
    lines = (ROOT / "SECURITY.md").read_text().splitlines()
    off = re.compile(r"\b(not yet|no way yet|protected yet|to come|to do|planned|in future)\b")
    assert [line for line in lines if off.search(line)] == []


# --- who may do what at an MQTT broker ---------------------------------------------------------


def patterns(text: str) -> list[list[str]]:
    """The words of an access list's lines about devices."""
    return [line.split() for line in text.splitlines() if line.startswith("pattern ")]


def test_access_list_to_copy_is_the_one_that_we_write() -> None:
    """A topic that is not in it is silently not heard: that of a removed task, or of a new root."""
    copied = patterns((DOCS / "operations.md").read_text())
    assert copied == patterns(access.of_devices(Topics("fedling", "home"), ()))


# --- reasons ---------------------------------------------------------------------------------


def test_every_reason_is_documented() -> None:
    text = (DOCS / "reasons.md").read_text()
    documented = re.findall(r"^\| `([a-z -]+)` \|", text, re.MULTILINE)
    conditions = [*(row.code for row in TABLE), *Code]
    assert documented == [*conditions, *MEANINGS, *WaitReason, *EnrolReason, *StateReason]


def test_codes_of_what_was_done_mean_what_is_documented() -> None:
    text = (DOCS / "reasons.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]*) \|$", text, re.MULTILINE))
    assert {code: rows[code] for code in MEANINGS} == MEANINGS


# --- exit codes ------------------------------------------------------------------------------


def test_exit_codes_are_documented() -> None:
    text = (DOCS / "exit-codes.md").read_text()
    documented = re.findall(r"^\| (\d+) \| `([A-Z_]+)`", text, re.MULTILINE)
    assert documented == [(str(code.value), code.name) for code in Exit]


def test_units_do_not_restart_on_bad_configuration() -> None:
    units = list(ROOT.glob("*/systemd/*.service"))
    assert units
    for unit in units:
        assert (
            f"\nRestartPreventExitStatus={Exit.NOT_ALLOWED:d} {Exit.BAD_CONFIG:d}\n"
            in unit.read_text()
        )


# --- changelog -------------------------------------------------------------------------------


def test_changelog_names_the_version() -> None:
    assert f"## {project('fedling')['version']}" in (ROOT / "CHANGELOG.md").read_text()


# --- what one copies -------------------------------------------------------------------------


TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def readers(values: dict[str, object]) -> list[type]:
    """The settings that a TOML text may be of, by the keys that only they have."""
    if "root_key" in values:
        return [AgentConfig if "mqtt" in values and "streams" in values else BrokerFile]
    if "channel" in values:
        return [Stream]
    return [TaskFile]


def copied() -> Iterator[tuple[str, str]]:
    """Every whole file of TOML that a person is told to copy."""
    for path in sorted(ROOT.glob("examples/*/*.toml")):
        yield path.relative_to(ROOT).as_posix(), path.read_text()
    for document in documents():
        for number, text in enumerate(TOML.findall(document.read_text())):
            if not text.startswith("[model]"):  # a part, which docs/configuration.md explains
                yield f"{document.relative_to(ROOT)}[{number}]", text


@pytest.mark.parametrize(("place", "text"), [*copied()], ids=lambda value: value.partition("\n")[0])
def test_files_to_copy_are_read(place: str, text: str) -> None:
    values = tomllib.loads(text)
    values.pop("simulation", None)
    for reader in readers(values):
        settings.read(values, place, reader)


def test_there_are_files_to_copy() -> None:
    found = {reader for _, text in copied() for reader in readers(tomllib.loads(text))}
    assert found >= {AgentConfig, Stream, TaskFile}


# --- what it stands on -----------------------------------------------------------------------


def test_every_dependency_is_documented_with_its_bound() -> None:
    said = [project(name) for name in FOLDERS]
    extras = [said[0]["optional-dependencies"]["agent"], said[1]["optional-dependencies"]["onnx"]]
    asked = [need for needs in (*(x["dependencies"] for x in said), *extras) for need in needs]
    rows = (DOCS / "operations.md").read_text().splitlines()
    without = []
    for need in asked:
        name, bound = re.fullmatch(r"([\w-]+)(?:\[.*\])?(.*)", need).groups()  # type: ignore[union-attr]
        if name not in FOLDERS and not any(f"`{name}`" in x and f"`{bound}`" in x for x in rows):
            without.append(need)
    assert without == []
