"""`fedling-agent ingest`: rows into the store, by way of the service if it runs."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fedling_agent.commands import installation, source
from fedling_agent.commands.installation import Installation
from fedling_agent.service.control import Json
from fedling_agent.service.operations import Ingest, told
from fedling_agent.store.database import PROGRAM
from fedling_agent.store.store import Store
from fedling_protocol.command import output
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit

ROWS = 500  # in one transaction: each costs an fsync
CHARACTERS = 256_000
FLUSH_S = 1.0  # rows that trickle in are stored at least so often
SHOWN = 20  # row errors on standard error; --json has them all

Feed = Callable[[list[str]], Json]


def run(args: argparse.Namespace) -> Exit:
    where, form = installation.find(args), source.form(args)
    total: dict[str, Any] = {"stored": 0, "refused": 0, "evicted": 0, "errors": []}
    with _feeder(where, args.stream, form) as (feed, by), source.lines(args) as lines:
        for chunk in chunks(lines):
            answer: dict[str, Any] = feed(chunk)
            _say_errors(answer["errors"], SHOWN - len(total["errors"]))
            for key in total:
                total[key] += answer[key]
    if args.json:
        output.print_json(total | {"by": by})
    else:
        print(f"stored {total['stored']} rows, refused {total['refused']} (by the {by})")
    return Exit.SOME_REFUSED if total["refused"] else Exit.OK


@contextmanager
def _feeder(where: Installation, stream: str, form: str) -> Iterator[tuple[Feed, str]]:
    """Find who stores the rows: the service, else this command under the store's lock."""
    service = where.service()
    if service is not None:
        with service:
            request: Json = {"do": "ingest", "stream": stream, "form": form}
            yield lambda lines: service.ask(request | {"lines": lines}), "service"
        return
    streams = where.streams()
    with lock.exclusive(where.state, PROGRAM):
        store = Store(where.state, where.needed_config().bounds)
        try:
            ingest = Ingest(store, streams, stream, form)
            yield (
                lambda lines: told(ingest.feed(lines, int(time.time() * 1000))),
                "command; the service does not run",
            )
        finally:
            store.close()


def chunks(lines: Iterator[str]) -> Iterator[list[str]]:
    """Pieces that one request can carry; at least one, so that a wrong stream is told."""
    chunk: list[str] = []
    size, since = 0, time.monotonic()
    for line in lines:
        chunk.append(line)
        size += len(line)
        if len(chunk) >= ROWS or size >= CHARACTERS or time.monotonic() - since >= FLUSH_S:
            yield chunk
            chunk, size, since = [], 0, time.monotonic()
    yield chunk


def _say_errors(errors: list[list[object]], room: int) -> None:
    for row, reason in errors[: max(0, room)]:
        print(f"row {row}: {reason}", file=sys.stderr)
