"""`fedling-agent stream`: the definition of a sensor."""

import argparse
import os
import re
import shlex
import sys
from itertools import islice
from pathlib import Path

from fedling_agent import config as configuration
from fedling_agent import toml_text
from fedling_agent.commands import installation, source
from fedling_agent.config import AgentConfig
from fedling_agent.data.proposal import MOST_ROWS, propose
from fedling_agent.data.streams import Stream
from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output, systemd
from fedling_protocol.disk import durable, given
from fedling_protocol.disk.errors import BadInput, writing
from fedling_protocol.disk.ownership import NotOurs
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.names import is_name

READABLE = 0o644  # a definition is no secret, and root's is read by the service's user
Facts = dict[str, object]
OTHERS = ("agent", "broker")  # whose files may lie in the same folder


@dataclass(frozen=True, slots=True)
class _Definition:
    """A stream, and the text of its file."""

    stream: Stream
    text: str
    ingest: str  # what to type next
    proposed: bool = False  # of a table, so that a person should look at it


def new(args: argparse.Namespace) -> Exit:
    """Print a stream's file; what to do with it goes to standard error."""
    found = _propose(args.file, args.name)
    if args.json:
        name = found.stream.name
        output.print_json({"name": name, "toml": found.text, "ingest": found.ingest})
        return Exit.OK
    print(found.text, end="")
    words = ["fedling-agent stream add", shlex.quote(args.file)]
    if args.name:
        words += ["--name", args.name]
    print(
        f"to have it as it is: {' '.join(words)}\n"
        f"with changes: write it into a file, then: fedling-agent stream add FILE.toml",
        file=sys.stderr,
    )
    return Exit.OK


def add(args: argparse.Namespace) -> Exit:
    """Write a stream's file beside agent.toml, name it there, and have the service read both."""
    file: Path = (args.config or configuration.default_file()).absolute()
    config = configuration.load(file)
    defined = Path(args.file).suffix == ".toml"
    found = _read(Path(args.file), args.name) if defined else _propose(args.file, args.name)
    known = configuration.load_streams(config).get(found.stream.name)
    target = file.with_name(f"{found.stream.name}.toml")
    if known is not None and known != found.stream:
        raise BadInput(f"agent.toml names another stream {known.name}: choose a --name, or edit it")
    if known is None:
        _keep(file, target, found)
    facts: Facts = {"name": found.stream.name, "file": str(target), "config": str(file)}
    facts |= {"new": known is None, "service": known is None and _restart(args, file, config)}
    if args.json:
        output.print_json(facts | {"ingest": found.ingest})
        return Exit.OK
    _tell(facts, found)
    return Exit.OK


# --- what it is -----------------------------------------------------------------------------------


def _propose(file: str, name: str) -> _Definition:
    """Make a definition of a table with a header. Raises BadInput."""
    name = name or _name_of(file)
    if not is_name(name):
        raise BadInput(f"--name {name}: allowed: [a-z0-9][a-z0-9-]{{0,31}}")
    with source.opened(file) as table:
        lines = list(islice(table.all(), MOST_ROWS + 1))
    found = propose(lines, name)
    options = [f"--{word} NAME" for word in found.lacks]
    ingest = " ".join(["fedling-agent ingest", name, shlex.quote(file), *options])
    return _Definition(found.stream, found.toml(table.name), ingest, proposed=True)


def _read(file: Path, name: str) -> _Definition:
    """Read a definition that a person has written. Raises SettingsError, BadInput."""
    with given.opened(file) as opened:
        text = opened.read().decode(errors="replace")
    stream = settings.parse(text, str(file), Stream)
    if name not in ("", stream.name):
        raise BadInput(f"--name {name}: {file} says name = {settings.quoted(stream.name)}")
    return _Definition(stream, text, f"fedling-agent ingest {stream.name} FILE")


def _name_of(file: str) -> str:
    """Make a stream's name of a file's."""
    stem = "" if file == "-" else Path(file).stem
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:32].strip("-") or "stream"


# --- where it goes --------------------------------------------------------------------------------


def _keep(file: Path, target: Path, found: _Definition) -> None:
    """Write the definition, then its name; a run that was cut short between them goes on."""
    if not os.access(file.parent, os.W_OK, effective_ids=True):
        raise NotOurs(f"{file.parent}: this user may not write there: put sudo before it")
    text = _naming(file, target.name)
    data = found.text.encode()
    if target.stem in OTHERS:
        raise BadInput(f"{target}: is no name for a stream's file: choose another --name")
    if target.exists() and target.read_bytes() != data:
        raise BadInput(
            f"{target}: is there, and agent.toml does not name it: name it in streams = [...], or"
            " choose another --name"
        )
    with writing(str(target)):
        durable.write_file(target, data, READABLE, exact=True)
    with writing(str(file)):
        durable.write_file(file, text.encode(), file.stat().st_mode & 0o777, exact=True)


def _naming(file: Path, name: str) -> str:
    """Write agent.toml with one more entry of `streams`. Raises SettingsError: by hand then."""
    text = file.read_text(encoding="utf-8-sig")
    before = settings.tables(text, str(file))
    wanted = before | {"streams": [*before.get("streams", ()), name]}
    text = toml_text.extended(text, "streams", name)
    try:
        if settings.tables(text, str(file)) == wanted:
            return text
    except SettingsError:  # an owner may write TOML in ways that we do not
        pass
    raise SettingsError(f"{file}: put {settings.quoted(name)} into streams = [...] by hand")


def _restart(args: argparse.Namespace, file: Path, config: AgentConfig) -> bool:
    """Have the unit read its files, if it runs; whether it did. Raises Failure."""
    state = configuration.state_directory(args.state, config)
    if not installation.is_units(file, state) or not systemd.is_active(installation.SERVICE):
        return False
    systemd.call("systemctl", "restart", installation.SERVICE)
    return True


def _tell(facts: Facts, found: _Definition) -> None:
    stream = found.stream
    if not facts["new"]:
        print(f"stream {stream.name} is there already, nothing was changed")
        return
    channels = ", ".join(f"{c.name} ({c.unit or 'no unit'})" for c in stream.channels)
    print(f"stream {stream.name} is new: {channels}")
    print(f"wrote {facts['file']}, named in {facts['config']}")
    if found.proposed:
        print(
            "units and resolutions are guessed from the table: look at them; devices that learn"
            f" together need the same ones: fedling-agent stream add {stream.name}.toml"
        )
    if facts["service"]:
        print("the service was restarted, and knows it")
    else:
        print("a `fedling-agent run` that runs already knows it when it was started again")
    print(f"Next: {found.ingest}")
