"""`fedling-agent ingest`: rows into the store, by way of the service if it runs."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fedling_agent.commands import installation, source
from fedling_agent.commands.feeding import Feeder, pieces_of
from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.service.control import Json, Unavailable
from fedling_agent.store.inputs import Mode
from fedling_protocol.command import output
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.disk.lock import Locked
from fedling_protocol.disk.ownership import NotOurs
from fedling_protocol.exits import Exit

SHOWN = 20  # row errors, and holes, on standard error
KEPT = 1000  # of either, for --json
NAMED = 5  # recordings that had to go


@dataclass(slots=True)
class Total:
    """What became of all rows up to now."""

    counts: Counter[str] = field(default_factory=Counter)
    holes: Counter[str] = field(default_factory=Counter)
    errors: list[list[object]] = field(default_factory=list)
    notes: list[list[object]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def add(self, answer: dict[str, Any]) -> None:
        """Add what became of a piece, and say on standard error what is wrong with its rows."""
        _say_rows(self.errors, answer["errors"])
        _say_rows(self.notes, answer["notes"])
        self.gone += answer["gone"][: max(0, NAMED - len(self.gone))]
        self.holes.update(answer["holes"])
        for name in COUNTS:
            self.counts[name] += answer[name]

    def json(self) -> Json:
        """Tell it to a program."""
        counts = {name: self.counts[name] for name in COUNTS}
        return counts | {"holes": dict(self.holes), "errors": self.errors, "notes": self.notes}

    def sentence(self, row: int, interrupted: bool) -> str:
        """Tell it to a person."""
        counts = self.counts
        parts = [f"stored {counts['stored']} rows, refused {counts['refused']}"]
        if row and not any(counts[name] for name in ("stored", "refused", "seen")):
            parts.append("no row has come")  # a header alone, or nothing but empty lines
        if interrupted:
            parts.append(f"interrupted after row {row}")
        if counts["seen"]:
            parts.append(f"{counts['seen']} were here already")
        if self.holes:
            words = ", ".join(f"{n} {kind}" for kind, n in self.holes.items())
            parts.append(f"holes that no window spans: {words}")
        if counts["replaced"]:
            parts.append(f"replaced {counts['replaced']} recordings")
        if counts["evicted_samples"]:
            parts.append(self._evicted())
        return "; ".join(parts)

    def _evicted(self) -> str:
        counts = self.counts
        words = f"{counts['evicted_samples']} older samples had to go"
        if not counts["evicted"]:
            return words
        more = ", ..." if counts["evicted"] > len(self.gone) else ""
        return f"{words}, {counts['evicted']} recordings with them ({', '.join(self.gone)}{more})"


def _say_rows(told: list[list[object]], new: list[list[object]]) -> None:
    for row, words in new[: max(0, SHOWN - len(told))]:
        print(f"row {row}: {words}", file=sys.stderr)
    told += new[: max(0, KEPT - len(told))]


COUNTS = ("stored", "refused", "seen", "evicted", "evicted_samples", "replaced")


def run(args: argparse.Namespace) -> Exit:
    total, form = Total(), source.form(args)
    with source.opened(args.file) as given, Interrupts() as interrupts:
        where = installation.find(args)
        request: Json = {"stream": args.stream, "form": form, "mode": str(_mode(args, given))}
        request |= {"recording": args.recording, "label": args.label}
        with Feeder(where, given, request, interrupts) as feeder:
            try:
                _feed(feeder, pieces_of(given, interrupts), total)
            except (Locked, NotOurs, Unavailable) as error:
                if not interrupts.came:
                    raise
                print(f"rows behind row {feeder.row} are not stored: {error}", file=sys.stderr)
            if given.lines.empty and not interrupts.came:
                raise BadInput(f"{given.name} is empty: not even a header has come")
            _say(args, total, feeder, interrupts.came)
            interrupted = interrupts.came
    if interrupted:
        return Exit.INTERRUPTED
    return Exit.SOME_REFUSED if total.counts["refused"] else Exit.OK


def _mode(args: argparse.Namespace, given: source.Source) -> Mode:
    """A file may have been given before; what comes live always goes on."""
    if args.append:
        return Mode.APPEND
    if args.replace:
        if not given.is_file:
            raise BadInput(f"--replace: {given.name} is no file: what is live always goes on")
        return Mode.REPLACE
    return Mode.NEW if given.is_file else Mode.APPEND


def _feed(feeder: Feeder, pieces: Iterator[list[str]], total: Total) -> None:
    try:
        for piece in pieces:
            total.add(feeder.feed(piece))
    except Exception:
        if feeder.row:
            words = f"{total.sentence(0, False)}; ended after row {feeder.row}"
            print(words, file=sys.stderr)
        raise


def _say(args: argparse.Namespace, total: Total, feeder: Feeder, interrupted: bool) -> None:
    if args.json:
        facts = {"row": feeder.row, "interrupted": interrupted, "by": feeder.by}
        output.print_json(total.json() | facts)
    else:
        print(f"{total.sentence(feeder.row, interrupted)} (by the {feeder.by})")
