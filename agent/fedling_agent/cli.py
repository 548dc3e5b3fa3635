"""The command `fedling-agent`: its verbs and their options."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from fedling_agent.conditions.owner import LONGEST_S
from fedling_protocol.command.main import run_verb
from fedling_protocol.command.parser import Verbs, add_limit, new_parser, seconds, whole

NAME = "fedling-agent"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    args = _parse(arguments)
    logging.basicConfig(format=f"{NAME}: %(message)s", level=logging.WARNING)
    return run_verb(NAME, "fedling_agent.commands", args)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse as argparse does, but let FILE and `--` options come in any order.

    argparse takes an optional positional for absent as soon as an option stands between it and
    what is before it, so that `ingest wrist --format csv FILE` would leave FILE over.
    """
    parser = build_parser()
    args, rest = parser.parse_known_args(arguments)
    are_names = bool(rest) and not any(word.startswith("-") for word in rest)
    if are_names and hasattr(args, "files"):
        args.files += rest
    elif are_names and len(rest) == 1 and getattr(args, "file", None) in ("-", ""):
        args.file = rest[0]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; documents and tests read it too."""
    parser, verbs = new_parser(
        NAME,
        "One device of a fleet: it learns from its own examples, when it is allowed.",
        "status",
        _add_common,
    )
    _add_service(verbs)
    _add_data(verbs)
    _add_history(verbs)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the device's configuration (default /etc/fedling/agent.toml, where there is none"
        " ~/.config/fedling/agent.toml)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="the folder of what the device keeps (default: state_dir of the configuration, "
        "else $STATE_DIRECTORY, /var/lib/fedling-agent, ~/.local/state/fedling)",
    )


def _add_service(verbs: Verbs) -> None:
    verbs.add(
        "init",
        "make the device's key and secret, unless they are there, and print who it is",
        json=True,
    )
    _add_enroll(verbs)
    run = verbs.add(
        "run",
        "be the device: connect, take part in rounds, answer predictions, until SIGTERM",
        "--config agent.toml --state ./state",
    )
    _add_log(run)
    status = verbs.add("status", "tell what the device does and, if it is nothing, why", json=True)
    status.add_argument(
        "--watch",
        action="store_true",
        help="tell again every 5 s, until Ctrl-C; with --json a line each time",
    )
    _add_conditions(verbs)
    verbs.add(
        "check",
        "check configuration, identity, store, streams, the MQTT broker and the service",
        json=True,
    )
    diag = verbs.add(
        "diag",
        "write one file for a report of a fault: versions, machine, configuration, checks, status,"
        " conditions, store and log, without examples, labels, keys, passwords and names of hosts",
        "diag.json",
        json=True,
    )
    diag.add_argument(
        "file",
        nargs="?",
        default="",
        metavar="FILE",
        help="the file to write, which must not be there yet; -: standard output (default"
        " fedling-diag-DATE-TIME.json in this folder)",
    )


def _add_conditions(verbs: Verbs) -> None:
    conditions = verbs.add(
        "conditions",
        "read power, heat and network now, and say what they allow; or when and why it did not"
        " train",
        "--explain 24h",
        json=True,
    )
    how = conditions.add_mutually_exclusive_group()
    how.add_argument(
        "--watch",
        action="store_true",
        help="read again every policy.check_s, until Ctrl-C; with --json a line each time",
    )
    how.add_argument(
        "--explain",
        type=seconds(1, LONGEST_S),
        metavar="TIME",
        help="list what was done about training in the last TIME of running (90s, 30m, 24h, 7d),"
        " and why nothing was",
    )
    pause = verbs.add(
        "pause",
        "take part in no round: train and send nothing until `resume`, or for a time; models still"
        " come, and predictions and ingest go on",
        '2h --reason "guests are here"',
        json=True,
    )
    pause.add_argument(
        "lasts",
        nargs="?",
        type=seconds(1, LONGEST_S),
        metavar="TIME",
        help="how long, of the time that the device runs: 90s, 30m, 2h, 7d (default: until"
        " `fedling-agent resume`)",
    )
    pause.add_argument(
        "--reason",
        default="",
        metavar="TEXT",
        help="words that `status` shows; they stay on this device",
    )
    verbs.add("resume", "take part again, as conditions allow", run="pause.resume", json=True)


def _add_enroll(verbs: Verbs) -> None:
    enroll = verbs.add(
        "enroll",
        "come into a fleet with a token: make the keys, get certificates, write agent.toml",
        "K7QF-2M9D-XXXX --name kitchen",
        json=True,
    )
    enroll.add_argument(
        "token",
        metavar="TOKEN",
        help="what `fedling-broker device invite` printed; -: read it from standard input (a"
        " terminal asks for a line), so that no list of processes and no history of a shell has it",
    )
    enroll.add_argument(
        "--name", default="", metavar="NAME", help="what people call this device in the fleet"
    )
    enroll.add_argument(
        "--again",
        action="store_true",
        help="get new certificates for a device that is enrolled; one that was revoked comes in"
        " as a new device",
    )
    enroll.add_argument(
        "--run", action="store_true", dest="stay", help="then be the device, as `run` does"
    )
    _add_log(enroll)


def _add_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="the least level that is logged on standard error while it runs (default info)",
    )


def _add_data(verbs: Verbs) -> None:
    _add_ingest(verbs)
    _add_label(verbs)
    _add_streams(verbs)
    _add_recordings(verbs)
    _add_predict(verbs)


def _add_ingest(verbs: Verbs) -> None:
    ingest = verbs.add(
        "ingest",
        "store examples: rows with a recording, a value for each channel, and a label if known",
        "wrist --format ndjson",
        pipe="read-sensor | ",
        json=True,
    )
    ingest.add_argument("stream", metavar="STREAM", help="a stream that agent.toml names")
    known = ingest.add_mutually_exclusive_group()
    known.add_argument(
        "--append",
        action="store_true",
        help="rows of a recording that is here already go on at its end, behind a hole; without "
        "this a file that comes again stores nothing twice, while a pipe always goes on",
    )
    known.add_argument(
        "--replace",
        action="store_true",
        help="of a file: recordings that are here already are removed before their rows are stored",
    )
    ingest.add_argument(
        "--recording",
        default="",
        metavar="NAME",
        help="the recording of all rows, for an input without a column of it (default: a file's"
        " name without its ending)",
    )
    label = ingest.add_mutually_exclusive_group()
    label.add_argument(
        "--label",
        default="",
        metavar="NAME",
        help="the label of all rows, for an input without a column of it",
    )
    label.add_argument(
        "--label-from-name",
        action="store_true",
        help="each file's name is the label of its rows, without its ending and a number behind it:"
        " walk-3.csv is a walk",
    )
    _add_sources(ingest)
    _add_format(ingest)


def _add_sources(ingest: argparse.ArgumentParser) -> None:
    """Add where rows come from: files and pipes, a folder, a topic."""
    ingest.add_argument(
        "--watch",
        action="store_true",
        help="FILE is a folder: bring each file in it as soon as nobody has written to it for 2 s,"
        " and those that come later, until Ctrl-C",
    )
    ingest.add_argument(
        "--mqtt",
        default="",
        metavar="URL",
        help="store what is published on a topic of an MQTT broker on this device,"
        " mqtt://127.0.0.1/TOPIC, until Ctrl-C: rows of NDJSON or, with --format csv, the channels'"
        " values in their order",
    )
    ingest.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="with --mqtt mqtt://USER@127.0.0.1/TOPIC: the file of the user's password, which"
        " nobody else may read",
    )
    ingest.add_argument(
        "--examples-leave-the-device",
        action="store_true",
        help="with --mqtt: take an MQTT broker on another machine, though everybody on the way"
        " there reads the samples",
    )
    ingest.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="a file to read, or several (default -, standard input): rows of text or, if it is"
        " called .npz or .npy, arrays of numpy",
    )


def _add_predict(verbs: Verbs) -> None:
    predict = verbs.add(
        "predict",
        "say what the newest model makes of a window of samples, or of one window after another; "
        "where the rows have labels, how many are right",
        "--task watch window.csv",
        json=True,
    )
    predict.add_argument(
        "--task",
        default="",
        metavar="TASK",
        help="the task to answer for; needed if there are models of several",
    )
    predict.add_argument(
        "--label",
        default="",
        metavar="NAME",
        help="what all windows are, for an input without a column of it: tells how many are right",
    )
    predict.add_argument(
        "file",
        nargs="?",
        default="-",
        metavar="FILE",
        help="the file to read (default -, standard input)",
    )
    _add_format(predict)


def _add_label(verbs: Verbs) -> None:
    label = verbs.add(
        "label",
        "say what samples are that were stored without a label or with a wrong one: those of a"
        " time, as the last minute, or of a recording",
        "wrist wave --past 60s",
        json=True,
    )
    _add_stream(label)
    label.add_argument("label", metavar="LABEL", help="the label; an empty one ('') for none")
    for name, which in (
        ("past", "last; rows that wait to be stored are meant, too"),
        ("coming", "next"),
    ):
        label.add_argument(
            f"--{name}", type=seconds(1, LONGEST_S), metavar="TIME",
            help=f"samples of the {which} (90s, 30m, 2h)",
        )  # fmt: skip
    for name, target, default in (("from", "begin", ""), ("to", "end", " (default: now)")):
        label.add_argument(
            f"--{name}", dest=target, metavar="MOMENT",
            help=f"samples {name} this moment: 14:05:09, or 2026-03-01T14:05:09{default}",
        )  # fmt: skip
    label.add_argument("--recording", metavar="NAME", help="samples of this recording only")
    for name, end in (("first", "oldest"), ("last", "newest")):
        label.add_argument(
            f"--{name}", type=whole(0), metavar="N",
            help=f"of a recording: the {name} sample (default: {end})",
        )  # fmt: skip


def _add_streams(verbs: Verbs) -> None:
    streams = verbs.group("stream", "define what a sensor delivers", "add walk.csv --name wrist")
    add = streams.add(
        "add",
        "give the device a stream: write its file beside agent.toml, and name it there",
        "walk.csv --name wrist",
        json=True,
    )
    add.add_argument(
        "file", metavar="FILE",
        help="a CSV file of the sensor, of which the definition is made, as `new` does; or a"
        " definition, FILE.toml",
    )  # fmt: skip
    new = streams.add(
        "new",
        "propose a stream's file from a CSV file: its columns, units and resolutions",
        "walk.csv --name wrist",
        json=True,
    )
    new.add_argument(
        "file", nargs="?", default="-", metavar="FILE",
        help="the CSV file to look at (default -, standard input)",
    )  # fmt: skip
    for parser in (add, new):
        parser.add_argument(
            "--name", default="", metavar="NAME", help="the stream's name (default: the file's)"
        )


def _add_recordings(verbs: Verbs) -> None:
    recordings = verbs.group("recordings", "list and forget what is stored", "list")
    listing = recordings.add(
        "list", "list recordings, the newest first", "wrist", json=True, run="recordings.show"
    )
    listing.add_argument(
        "stream", nargs="?", metavar="STREAM", help="the stream to list (default: all)"
    )
    add_limit(listing, "recordings")
    forget = recordings.add(
        "forget",
        "remove recordings for good, and give up rounds that were trained on them",
        "wrist walk-3",
        json=True,
    )
    _add_stream(forget)
    forget.add_argument("recordings", nargs="*", metavar="RECORDING", help="a recording's id")
    forget.add_argument("--all", action="store_true", help="forget every recording of the stream")


def _add_stream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM", help="the stream of the recordings")


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=("csv", "ndjson"),
        help="how rows are written: CSV with a header, or a JSON object a line (default: by the"
        " file's ending, else csv)",
    )


def _add_history(verbs: Verbs) -> None:
    sent = verbs.add(
        "sent", "list every message that left the device, newest first", "--limit 5", json=True
    )
    add_limit(sent, "messages")
    replay = verbs.add(
        "replay",
        "compute a past update again and compare; without PLAN list the last 100 plans",
        "3f2a",
        json=True,
    )
    replay.add_argument(
        "plan", nargs="?", metavar="PLAN", help="the id of a plan, or as much of it as is unique"
    )
    replay.add_argument(
        "--order", action="store_true", help="print which examples were in which batch instead"
    )


if __name__ == "__main__":
    sys.exit(main())
