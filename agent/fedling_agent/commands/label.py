"""`fedling-agent label`: what samples are, said after they were taken, or just before."""

import argparse
import time

from fedling_agent.commands import installation, stored, uptime
from fedling_agent.data.times import Interval
from fedling_agent.service import operations
from fedling_agent.service.control import Json
from fedling_agent.service.operations import Which
from fedling_agent.store.awaited import WAIT_MS
from fedling_protocol import moments
from fedling_protocol.command import output
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.exits import Exit


def run(args: argparse.Namespace) -> Exit:
    interval = _interval(args, time.time())
    which = Which(args.stream, args.recording, args.first, args.last, interval)
    which.check()
    where = installation.find(args)
    service = where.service()
    if service is not None:
        with service:
            done = service.ask({"do": "label", "label": args.label} | _request(which))
    else:
        operations.find_stream(where.streams(), which.stream)
        with stored.alone(where) as store:
            now_ms, up_ms = int(time.time() * 1000), uptime.up_ms()
            labelled = operations.label(store, which, args.label, now_ms, up_ms)
            done = operations.told_of_labels(labelled)
    facts = {"label": args.label or None} | done
    output.print_answer(_words(args.label, interval, done), facts, as_json=args.json)
    return Exit.OK


def _interval(args: argparse.Namespace, now_s: float) -> Interval | None:
    """Tell the time that the command line means; None: it means none. Raises BadInput."""
    near = args.past is not None or args.coming is not None
    if near and (args.begin is not None or args.end is not None):
        raise BadInput("--from and --to name moments, --past and --coming are seen from now")
    if args.end is not None and args.begin is None:
        raise BadInput("--to: from when on? --from says it")
    if near:
        begin_s, end_s = now_s - (args.past or 0), now_s + (args.coming or 0)
    elif args.begin is not None:
        begin_s = _moment(args.begin, now_s)
        end_s = now_s if args.end is None else _moment(args.end, now_s, begin_s)
    else:
        return None
    return Interval(max(0, int(1000 * begin_s)), max(0, int(1000 * end_s)))


def _moment(text: str, now_s: float, after_s: float | None = None) -> float:
    try:
        return moments.read(text, now_s, after_s)
    except ValueError as error:
        allowed = "a time of day as 14:05 or 14:05:09, or 2026-03-01T14:05:09"
        raise BadInput(f"{text}: {error}; allowed: {allowed}") from error


def _request(which: Which) -> Json:
    request: Json = {
        "stream": which.stream,
        "recording": which.recording,
        "first": which.first,
        "last": which.last,
    }
    if which.interval is not None:
        request |= which.interval._asdict()
    return request


def _words(label: str, interval: Interval | None, done: Json) -> str:
    words = label or "no label"
    said = f"{words}: {done['samples']} samples of {done['recordings']} recordings"
    if interval is not None:
        begin, end = (moments.moment(at_ms / 1000) for at_ms in interval)
        said += f", taken from {begin} to {end}"
    newest_ms = done["newest_ms"]
    if isinstance(newest_ms, int):
        said += f"; the newest that is stored was taken {moments.moment(newest_ms / 1000)}"
    if done["to_come"]:
        said += f"; those of this time that come within {WAIT_MS // 60_000} min of it are, too"
    return said
