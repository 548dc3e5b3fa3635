"""`fedling-agent recordings ...`: what is stored, and forgetting it."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fedling_agent.commands import installation, stored
from fedling_agent.commands.installation import Installation
from fedling_agent.service import operations
from fedling_agent.service.control import Json
from fedling_agent.store.store import Store
from fedling_protocol.command import output
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.exits import Exit
from fedling_protocol.moments import moment

LABELS = 4  # shown of each recording

Page = Callable[[int | None], Json]
"""Gives the page of recordings with keys below one."""


def show(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    with _pages(where, args.stream) as page:
        limit = output.most(args)
        found = _read(page, None if limit is None else limit + 1)
    if not found:
        _check_stream(where, args.stream)
    rows = found[:limit]
    if args.json:
        output.print_json(rows)
        return Exit.OK
    output.print_rows([_row(one) for one in rows], empty="nothing is stored")
    output.print_more(args, "the newest", more=len(found) > len(rows))
    return Exit.OK


def forget(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    if bool(args.recordings) == args.all:
        raise BadInput("name the recordings to forget, or all of the stream with --all")
    names: list[str] | None = None if args.all else args.recordings
    service = where.service()
    if service is not None:
        with service:
            count: Any = service.ask({"do": "forget", "stream": args.stream, "recordings": names})[
                "forgotten"
            ]
    else:
        with stored.alone(where) as store:
            now_ms = int(time.time() * 1000)
            count = len(operations.forget(store, args.stream, names, now_ms).evicted)
    if not count:
        _check_stream(where, args.stream)
    _say(args, {"forgotten": count}, f"forgot {count} recordings, and what was trained on them")
    return Exit.OK


def _check_stream(where: Installation, name: str | None) -> None:
    """Where there is nothing, the name may be a slip. Raises Missing."""
    if name is not None and where.config is not None:
        operations.find_stream(where.streams(), name)


@contextmanager
def _pages(where: Installation, stream: str | None) -> Iterator[Page]:
    service = where.service()
    if service is not None:
        with service:
            request: Json = {"do": "recordings", "stream": stream}
            yield lambda below: service.ask(request | {"below": below})
        return
    store = Store(where.state, read_only=True)
    try:
        yield lambda below: operations.listing(store, stream, below)
    finally:
        store.close()


def _read(page: Page, most: int | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    below = None
    while most is None or len(found) < most:
        answer: dict[str, Any] = page(below)
        if not answer["recordings"]:
            break
        found += answer["recordings"]
        below = found[-1]["key"]
    return found[:most]


def _row(one: dict[str, Any]) -> dict[str, object]:
    labels = [f"{label} {samples}" for label, samples in one["labels"].items()]
    more = ", ..." if len(labels) > LABELS else ""
    return {
        "STREAM": one["stream"],
        "RECORDING": one["recording"],
        "BEGUN": moment(one["start_ms"] / 1000),
        "SAMPLES": one["samples"],
        "BYTES": one["bytes"],
        "HOLES": one["holes"],
        "LABELS": ", ".join(labels[:LABELS]) + more,
    }


def _say(args: argparse.Namespace, facts: Json, words: str) -> None:
    if args.json:
        output.print_json(facts)
    else:
        print(words)
