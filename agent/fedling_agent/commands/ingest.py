"""`fedling-agent ingest`: rows into the store, by way of the service if it runs."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from functools import cache, partial
from pathlib import Path
from typing import Any

from fedling_agent.commands import arrays, installation, source, watching
from fedling_agent.commands.feeding import Feeder, pieces_of
from fedling_agent.commands.installation import Installation
from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.data.streams import Given, Stream
from fedling_agent.service import operations
from fedling_agent.service.control import Json, Unavailable
from fedling_agent.store.inputs import Mode
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output
from fedling_protocol.disk.errors import BadInput, Busy, CannotWrite, Missing, WrongTables
from fedling_protocol.disk.lock import Locked
from fedling_protocol.disk.ownership import NotOurs
from fedling_protocol.exits import Exit, Failure
from fedling_protocol.settings import SettingsError

SHOWN = 20  # row errors, and holes, on standard error
KEPT = 1000  # of either, for --json
NAMED = 5  # recordings that had to go


@dataclass(slots=True)
class Total:
    """What became of all rows up to now.

    place: says where a row is. name: of the file, if there are several
    """

    place: Callable[[int], str]
    name: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    holes: Counter[str] = field(default_factory=Counter)
    errors: list[list[object]] = field(default_factory=list)
    notes: list[list[object]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def add(self, answer: dict[str, Any]) -> None:
        """Add what became of a piece, and say on standard error what is wrong with its rows."""
        self._say_rows(self.errors, answer["errors"])
        self._say_rows(self.notes, answer["notes"])
        self.gone += answer["gone"][: max(0, NAMED - len(self.gone))]
        self.holes.update(answer["holes"])
        for name in COUNTS:
            self.counts[name] += answer[name]

    def json(self) -> Json:
        """Tell it to a program."""
        counts = {name: self.counts[name] for name in COUNTS}
        return counts | {"holes": dict(self.holes), "errors": self.errors, "notes": self.notes}

    def _say_rows(self, told: list[list[object]], new: list[Any]) -> None:
        for row, words in new[: max(0, SHOWN - len(told))]:
            print(f"{self._begins}{self.place(row)}: {words}", file=sys.stderr)
        told += new[: max(0, KEPT - len(told))]

    @property
    def _begins(self) -> str:
        return f"{self.name}: " if self.name else ""

    @property
    def has_news(self) -> bool:
        """Whether a row of it was new, or wrong."""
        return any(self.counts[name] for name in ("stored", "refused"))

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
        return self._begins + "; ".join(parts)

    def _evicted(self) -> str:
        counts = self.counts
        words = f"{counts['evicted_samples']} older samples had to go"
        if not counts["evicted"]:
            return words
        more = ", ..." if counts["evicted"] > len(self.gone) else ""
        return f"{words}, {counts['evicted']} recordings with them ({', '.join(self.gone)}{more})"


WRONG = (BadInput, Missing, Failure)
PASSING = (Busy, CannotWrite, Locked, NotOurs, SettingsError, Unavailable, WrongTables)
COUNTS = ("stored", "refused", "seen", "evicted", "evicted_samples", "replaced")


def run(args: argparse.Namespace) -> Exit:
    _check_mqtt(args)
    names = [args.mqtt] if args.mqtt else args.files or ["-"]
    if args.watch:
        _check_watch(args)
        operations.find_stream(installation.find(args).streams(), args.stream)
    elif len(names) > 1 and args.recording:
        raise BadInput("--recording: of one file; several have a column of it, or their names")
    elif args.append or args.replace:
        _check_names(names)
    with Interrupts() as interrupts:
        if args.watch:
            return watching.watch(list(map(Path, args.files)), partial(_watched, args), interrupts)
        if len(names) == 1:
            return bring(args, names[0], interrupts)
        codes = [_one_of_several(args, name, interrupts) for name in names]
    return max(codes, key=_severity)


def _check_names(names: Sequence[str]) -> None:
    """Raise BadInput if two files may be one recording: one would take the other's place."""
    stems = [Path(name).stem for name in names]
    twice = [name for name, stem in zip(names, stems, strict=True) if stems.count(stem) > 1]
    if twice:
        raise BadInput(f"{', '.join(twice)}: are called alike: bring them one after the other")


def _check_mqtt(args: argparse.Namespace) -> None:
    """Raise BadInput if there is another input too, or an option of --mqtt without it."""
    if args.mqtt and (args.files or args.watch):
        raise BadInput("--mqtt: samples come by MQTT, or from files: one command for each")
    if not args.mqtt and (args.password_file or args.examples_leave_the_device):
        raise BadInput("--password-file, --examples-leave-the-device: go with --mqtt only")


def _check_watch(args: argparse.Namespace) -> None:
    """Raise BadInput unless these are folders whose files can be brought one after the other."""
    if not args.files:
        raise BadInput("--watch: which folder?")
    if args.recording or args.format or args.append or args.replace:
        words = "--recording, --format, --append and --replace are for files that one names"
        raise BadInput(f"--watch: {words}")
    for name in args.files:
        if not Path(name).is_dir():
            raise BadInput(f"--watch: {name} is no folder")


def _one_of_several(args: argparse.Namespace, name: str, interrupts: Interrupts) -> Exit:
    """Bring a file among others; what is wrong with it is told, and the next one comes."""
    if interrupts.came:
        print(f"{name}: not read", file=sys.stderr)
        return Exit.INTERRUPTED
    try:
        return bring(args, name, interrupts)
    except WRONG as error:
        if not _is_of_the_file(error):
            raise
        print(_about(name, error), file=sys.stderr)
        return Exit.FAILED


def _watched(args: argparse.Namespace, path: Path, size: int, interrupts: Interrupts) -> str:
    """Bring a file of a folder; why it is to be tried again, or nothing."""
    try:
        bring(args, str(path), interrupts, watched=size)
    except (*WRONG, *PASSING) as error:
        if not _is_of_the_file(error):
            return _about(str(path), error)
        print(_about(str(path), error), file=sys.stderr)
    return ""


def _is_of_the_file(error: Exception) -> bool:
    """Whether the file is wrong, and not the place where its rows belong."""
    if isinstance(error, Failure):  # the service has said it
        return error.code in (Exit.FAILED, Exit.NOT_FOUND)
    return isinstance(error, BadInput | Missing)


def _about(name: str, error: Exception) -> str:
    return str(error) if name in str(error) else f"{name}: {error}"


def _severity(code: Exit) -> int:
    """What a command ends with that had several files: the worst of what became of them."""
    return (Exit.OK, Exit.SOME_REFUSED, Exit.FAILED, Exit.INTERRUPTED).index(code)


def bring(
    args: argparse.Namespace, name: str, interrupts: Interrupts, *, watched: int | None = None
) -> Exit:
    """Bring one input, and tell what became of it.

    watched: of a folder: so many bytes, and nothing is told if nothing of them is new
    """
    several = args.watch or len(args.files) > 1
    find = cache(partial(installation.find, args))  # a file that root alone can read is open then
    with _opened(args, name, find, watched) as given:
        where = find()
        total = Total(given.place, name if several else "")
        request = _request(args, name, given)
        with Feeder(where, given, request, interrupts) as feeder:
            try:
                _feed(feeder, pieces_of(given, interrupts), total)
            except (Locked, NotOurs, Unavailable) as error:
                if not interrupts.came:
                    raise
                print(f"rows behind row {feeder.row} are not stored: {error}", file=sys.stderr)
            if given.is_empty and not interrupts.came:
                raise BadInput(f"{given.name} is empty: not even a header has come")
            if watched is None or total.has_news:
                _say(args, name, total, feeder, interrupts.came)
    if interrupts.came:
        return Exit.INTERRUPTED
    return Exit.SOME_REFUSED if total.counts["refused"] else Exit.OK


def _opened(
    args: argparse.Namespace, name: str, find: Callable[[], Installation], watched: int | None
) -> AbstractContextManager[source.Input]:
    """Open an input by what its name says. Raises Missing, BadInput, IdentityError."""

    def stream() -> Stream:
        return operations.find_stream(find().streams(), args.stream)

    if args.mqtt:
        from fedling_agent.commands import subscription  # a device without it has no need of paho

        wanted = subscription.Wanted(name, args.password_file, args.examples_leave_the_device)
        return subscription.opened(wanted, stream(), args.format or "ndjson")
    if args.format or not arrays.is_called_so(name):
        return source.opened(name, watched)
    named = source.names(name, labels=False)["named"]
    return arrays.opened(name, stream, Given(args.recording, named=named))


def _request(args: argparse.Namespace, name: str, given: source.Input) -> Json:
    """Say what all rows of an input have. Raises BadInput."""
    form = args.format or "ndjson" if args.mqtt else source.form(args, name)
    request: Json = {"stream": args.stream, "form": form}
    request |= {"mode": str(_mode(args, given)), "label": args.label}
    if not isinstance(given, arrays.ArraySource):  # whose rows name it
        request["recording"] = args.recording
    if given.is_file:
        return request | source.names(name, labels=args.label_from_name)
    if args.label_from_name:
        raise BadInput(f"--label-from-name: {given.name} has no name that says it")
    return request | ({"named": given.name} if args.mqtt else {})


def _mode(args: argparse.Namespace, given: source.Input) -> Mode:
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


def _say(
    args: argparse.Namespace, name: str, total: Total, feeder: Feeder, interrupted: bool
) -> None:
    if args.json:
        facts = {"file": name, "row": feeder.row, "interrupted": interrupted, "by": feeder.by}
        output.print_json(total.json() | facts)
    else:
        by = f" (by the {feeder.by})" if feeder.row else ""  # else nobody was asked to take one
        print(f"{total.sentence(feeder.row, interrupted)}{by}", flush=True)
