"""`fedling-agent stream`: the definition of a sensor."""

import argparse
import re
import shlex
import sys
from itertools import islice
from pathlib import Path

from fedling_agent.commands import source
from fedling_agent.data.proposal import MOST_ROWS, propose
from fedling_protocol.command import output
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.exits import Exit
from fedling_protocol.wire.names import is_name


def new(args: argparse.Namespace) -> Exit:
    """Print a stream's file; what to do with it goes to standard error."""
    name = args.name or _name_of(args.file)
    if not is_name(name):
        raise BadInput(f"--name {name}: allowed: [a-z0-9][a-z0-9-]{{0,31}}")
    with source.opened(args.file) as given:
        lines = list(islice(given.all(), MOST_ROWS + 1))
    found = propose(lines, name)
    text = found.toml(given.name)
    options = [f"--{word} NAME" for word in found.lacks]
    ingest = " ".join(["fedling-agent ingest", name, shlex.quote(args.file), *options])
    if args.json:
        output.print_json({"name": name, "toml": text, "ingest": ingest})
        return Exit.OK
    print(text, end="")
    print(
        f'put it into a file beside agent.toml, name that in streams = ["{name}.toml"], then:'
        f"\n  {ingest}",
        file=sys.stderr,
    )
    return Exit.OK


def _name_of(file: str) -> str:
    """Make a stream's name of a file's."""
    stem = "" if file == "-" else Path(file).stem
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:32].strip("-") or "stream"
