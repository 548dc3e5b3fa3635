"""The command `fedling-broker`: its verbs and their options."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fedling_protocol.command.main import run_verb
from fedling_protocol.command.parser import Verbs, add_limit, host, new_parser, whole
from fedling_protocol.common_settings import check_root_key

NAME = "fedling-broker"
SECONDS = {"m": 60, "h": 3600, "d": 86_400}
LONGEST_S = 365 * 86_400


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    args = build_parser().parse_args(arguments)
    return run_verb(NAME, "fedling_broker.commands", args)


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; documents and tests read it too."""
    parser, verbs = new_parser(
        NAME,
        "The aggregator of a fleet: opens rounds, adds up updates, publishes models.",
        "serve",
        _add_common,
    )
    _add_server(verbs)
    _add_service(verbs)
    _add_backup(verbs)
    _add_tasks(verbs.group("task", "add, list, change and remove what the fleet learns", "list"))
    _add_devices(verbs.group("device", "invite, list and revoke who belongs to the fleet", "list"))
    _add_authority(verbs.group("authority", "keep the keys that vouch for others", "show"))
    _add_rounds(verbs.group("round", "show what happened, and verify that it adds up", "list"))
    _add_models(verbs.group("model", "list the versions of a model, go back to one", "list watch"))
    _add_export(verbs)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help="the aggregator's configuration (default: ./broker.toml, then"
        " /etc/fedling/broker.toml)",
    )  # fmt: skip


def _add_server(verbs: Verbs) -> None:
    up = verbs.add(
        "up",
        "be a whole server: MQTT broker, authority and aggregator, made from nothing, until Ctrl-C",
        "--fleet home --task watch.toml",
    )
    up.add_argument(
        "--directory", type=Path, default=Path(), metavar="DIR",
        help="where all of it is kept (default: the current directory)",
    )  # fmt: skip
    up.add_argument(
        "--task", type=Path, action="append", default=[], metavar="FILE",
        help="add this task, if there is none of its name; may be given several times",
    )  # fmt: skip
    setup = verbs.add(
        "setup",
        "make the same server of the mosquitto and the services that systemd runs, as root",
        "--fleet home --dry-run",
    )
    setup.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    setup.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR",
        help="write below this directory and start nothing, for a trial (default: %(default)s)",
    )  # fmt: skip
    for parser in (up, setup):
        parser.add_argument("--fleet", help="the name of the fleet (default: home)")
        parser.add_argument(
            "--host",
            type=host,
            help="the name or address at which devices find this machine (default: its own)",
        )
        parser.add_argument("--port", type=whole(1, 65535), help="of MQTT over TLS (default: 8883)")
        parser.add_argument(
            "--enrolment-port",
            type=whole(1, 65535),
            help="where devices with a token enrol (default: 8884)",
        )


def _add_service(verbs: Verbs) -> None:
    init = verbs.add(
        "init",
        "make keys, secret, database and broker.toml; what is there stays",
        "--fleet home --host 127.0.0.1",
        json=True,
    )
    init.add_argument(
        "--fleet", default="home", help="the name of the fleet (default: %(default)s)"
    )
    init.add_argument(
        "--host", default="127.0.0.1", help="the address of the MQTT broker (default: %(default)s)"
    )
    init.add_argument(
        "--port",
        type=whole(1, 65535),
        help="the port of the MQTT broker (default: 1883, with --tls 8883)",
    )
    _add_security(init)
    _add_place(init)
    init.add_argument(
        "--topic-root",
        default="fedling",
        help="the words that every topic begins with (default: %(default)s)",
    )
    init.add_argument(
        "--state",
        help="the directory of database, models and keys (default: broker-state beside broker.toml;"
        " of /etc/fedling/broker.toml /var/lib/fedling-broker)",
    )
    whose = init.add_mutually_exclusive_group()
    _add_root_key(whose)
    whose.add_argument(
        "--trust",
        type=root_key,
        metavar="KEY",
        help="the public half of a root key whose authority is on another machine, 64 hexadecimal"
        " digits: no authority is made here",
    )
    serve = verbs.add("serve", "be the aggregator: open rounds, publish models, until SIGTERM")
    serve.add_argument(
        "--log", default="info", choices=["debug", "info", "warning", "error"],
        help="the least level that is logged on standard error (default: %(default)s)",
    )  # fmt: skip
    status = verbs.add(
        "status",
        "one screen: what the fleet does, what hinders it, what is soon due",
        json=True,
    )
    add_limit(status, "devices")
    verbs.add(
        "check",
        "check configuration, keys, tasks and the MQTT broker, and tell what was counted",
        json=True,
    )


def _add_security(init: argparse.ArgumentParser) -> None:
    how = init.add_mutually_exclusive_group()
    how.add_argument("--tls", action="store_true", help="speak TLS with the MQTT broker")
    how.add_argument(
        "--allow-plaintext",
        action="store_true",
        help="send everything unencrypted to an MQTT broker on another machine",
    )
    for option, what in (
        ("--ca-file", "the certificate of the authority that signed the MQTT broker's"),
        ("--certificate-file", "the aggregator's own certificate"),
        ("--key-file", "the private key of the aggregator's own certificate"),
    ):
        init.add_argument(option, type=Path, metavar="FILE", help=f"with --tls: {what}")


def _add_place(init: argparse.ArgumentParser) -> None:
    init.add_argument(
        "--server-name", default="", metavar="NAME",
        help="with --tls: what the MQTT broker's certificate must prove (default: its address)",
    )  # fmt: skip
    init.add_argument(
        "--mosquitto", default="", metavar="DIR",
        help="the directory where a mosquitto of ours reads whom to let in",
    )  # fmt: skip
    init.add_argument(
        "--enrolment-host", default="", metavar="HOST",
        help="the address at which devices find the MQTT broker (default: that of --host)",
    )  # fmt: skip
    init.add_argument(
        "--enrolment-port", type=whole(1, 65535), metavar="PORT",
        help="the port where devices with a token enrol (default: 8884)",
    )  # fmt: skip


def _add_backup(verbs: Verbs) -> None:
    backup = verbs.add(
        "backup",
        "write the whole state into one file, also while `serve` runs, and check it",
        "/media/stick/home.fedling",
        run="backup.make",
        json=True,
    )
    backup.add_argument("file", type=Path, help="the file to write; one that is there is replaced")
    restore = verbs.add(
        "restore",
        "verify a backup and put it back; devices follow the restored state by themselves",
        "/media/stick/home.fedling",
        run="backup.restore",
        json=True,
    )
    restore.add_argument("file", type=Path, help="the backup")
    restore.add_argument(
        "--replace", action="store_true", help="move a state that is there aside, within its folder"
    )


def _add_root_key(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--root-key", type=Path, metavar="FILE",
        help="the file of the fleet's root key (default: the one in the authority's directory)",
    )  # fmt: skip


def root_key(text: str) -> str:
    """Read the public half of a root key: the type of an argument."""
    why = check_root_key(text)
    if why is None:
        return text
    raise argparse.ArgumentTypeError(f"{text[:32]}: allowed: {why}")


def span(text: str) -> int:
    """Read a time as 30m, 1h or 2d, in seconds: the type of an argument."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    seconds = int(found[1]) * SECONDS[found[2]] if found else 0
    if 0 < seconds <= LONGEST_S:
        return seconds
    raise argparse.ArgumentTypeError(f"{text[:32]}: allowed: 1m to 365d, as 30m, 1h, 2d")


def _add_tasks(verbs: Verbs) -> None:
    for verb, does, example in (
        ("add", "add a task and make its first model", "watch.toml"),
        ("check", "check a task file without adding it", "watch.toml --start model.onnx"),
    ):
        parser = verbs.add(verb, does, example, json=True)
        parser.add_argument("file", type=Path, help="the task file")
        parser.add_argument(
            "--start", type=Path, metavar="MODEL",
            help="begin with this float model, an ONNX file with the task's layers (default: draw"
            " random weights)",
        )  # fmt: skip
        parser.add_argument(
            "--input-order", choices=("channels-first", "channels-last"),
            help="how the ONNX file lays out an example: all samples of a channel together, as"
            " PyTorch does, or all channels of a sample (default: what its shapes tell)",
        )  # fmt: skip
    update = verbs.add(
        "update",
        "change what of a task needs no new model: rounds, cohort, training, conditions",
        "watch watch.toml",
        json=True,
    )
    update.add_argument("task", help="the name of the task")
    update.add_argument("file", type=Path, help="the task file as it is to be")
    verbs.add("list", "list all tasks", "--json", run="task.list_", json=True)
    for verb, does in (
        ("show", "print the file of a task"),
        ("remove", "remove a task with its rounds, verdicts and models"),
    ):
        verbs.add(verb, does, "watch", json=True).add_argument("task", help="the name of the task")
    for verb, does in (
        ("pause", "let a task end the round in work and open no other"),
        ("resume", "let a paused task open rounds again"),
    ):
        parser = verbs.add(verb, does, "--all", json=True)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("task", nargs="?", help="the name of the task")
        which.add_argument("--all", action="store_true", help=f"{verb} all tasks")


def _add_devices(verbs: Verbs) -> None:
    _add_invite(verbs)
    _add_by_hand(verbs)
    _add_lists(verbs)
    revoke = verbs.add(
        "revoke",
        "end a device's certificates, for good: it belongs to the fleet no longer",
        "kitchen",
        json=True,
    )
    revoke.add_argument("device", help="the device's name or id")
    revoke.set_defaults(directory=None)


def _add_invite(verbs: Verbs) -> None:
    invite = verbs.add(
        "invite",
        "make a token by which devices enrol by themselves, and print the command to type there",
        "--name kitchen --expires 1h",
        run="invite.run",
        json=True,
    )
    invite.add_argument(
        "--count", type=whole(1, 10_000), default=1, metavar="N",
        help="how many devices may use it (default: %(default)s)",
    )  # fmt: skip
    invite.add_argument(
        "--expires", type=span, default=span("1h"), metavar="TIME",
        help="for how long it is valid, as 30m, 1h, 2d (default: 1h)",
    )  # fmt: skip
    _add_name(invite)
    invite.add_argument(
        "--host",
        type=host,
        help="the MQTT broker's address for devices (default: enrolment.host)",
    )
    invite.add_argument(
        "--port",
        type=whole(1, 65535),
        help="the port of its listener for enrolment (default: enrolment.port)",
    )


def _add_by_hand(verbs: Verbs) -> None:
    add = verbs.add(
        "add",
        "certify a device by hand, or take in certificates from another machine",
        f"{'a' * 16} {'0' * 64} --name kitchen",
        json=True,
    )
    add.add_argument("device", nargs="?", help="the device's id, as `fedling-agent init` prints it")
    add.add_argument("key", nargs="?", help="the device's public key, 64 hexadecimal digits")
    _add_name(add)
    add.add_argument(
        "--certificate", type=Path, metavar="FILE",
        help="take in what `authority certify` wrote: certificates, successors, tombstones",
    )  # fmt: skip
    add.set_defaults(directory=None)


def _add_lists(verbs: Verbs) -> None:
    listing = verbs.add(
        "list",
        "list all devices of the fleet, and what each did for which task",
        "--live",
        run="device.list_",
        json=True,
    )
    listing.add_argument(
        "--live",
        action="store_true",
        help="ask the MQTT broker what each says now: training, idle, offline, and of which model",
    )
    add_limit(listing, "devices, and each with each task")
    pending = verbs.add(
        "pending", "list devices that asked and are not enrolled", "--json", json=True
    )
    add_limit(pending, "devices")


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="", help="what the device is called, as kitchen")


def _add_authority(verbs: Verbs) -> None:
    init = verbs.add(
        "init",
        "make an authority: beside the aggregator of a fleet that has none, or on a machine alone",
        "--directory authority --fleet home",
        json=True,
    )
    init.add_argument(
        "--fleet",
        default="home",
        help="with --directory: the name of the fleet (default: %(default)s)",
    )
    show = verbs.add(
        "show", "show its certificates, their ends, and where the root key is", "--json", json=True
    )
    certify = verbs.add(
        "certify",
        "certify a key of another machine, and write all certificates into a file",
        f"aggregator {'0' * 64} --directory authority --to aggregator.certificates",
        json=True,
    )
    certify.add_argument("owner", help="whose key it is: a device's id, or aggregator")
    certify.add_argument("key", help="the public key, 64 hexadecimal digits")
    _add_name(certify)
    certify.add_argument(
        "--to", type=Path, required=True, metavar="FILE",
        help="the file to write; one that is there is not replaced",
    )  # fmt: skip
    rotate = verbs.add(
        "rotate",
        "put another key in the place of one, and certify again what hangs on it",
        "authority --root-key /media/stick/root.key",
        json=True,
    )
    rotate.add_argument(
        "which", choices=("aggregator", "authority", "root"), help="whose key is replaced"
    )
    take = verbs.add(
        "take-root",
        "move the root key into a file, on a stick that you take away",
        "/media/stick/root.key",
        run="authority.take_root",
        json=True,
    )
    take.add_argument("file", type=Path, help="the file to write")
    for parser in (init, certify, rotate):
        _add_root_key(parser)
    for parser in (init, show, certify, rotate, take):
        parser.add_argument(
            "--directory", type=Path, metavar="DIR",
            help="the authority's directory, on a machine without aggregator (default: that of"
            " broker.toml)",
        )  # fmt: skip


def _add_rounds(verbs: Verbs) -> None:
    listing = verbs.add("list", "list rounds, the oldest first", run="round.list_", json=True)
    listing.add_argument("task", nargs="?", help="list rounds of this task only")
    add_limit(listing, "rounds of each task")
    show = verbs.add("show", "show one round: verdicts, bytes, hashes", "watch 3 --json", json=True)
    show.add_argument("task", help="the name of the task")
    show.add_argument("round", type=whole(0), help="the number of the round")
    add_limit(show, "verdicts")
    verify = verbs.add(
        "verify",
        "recompute every model from the journal's sums, and sums from updates where they are kept",
        "--all",
        json=True,
    )
    which = verify.add_mutually_exclusive_group(required=True)
    which.add_argument("task", nargs="?", help="verify models of this task only")
    which.add_argument("--all", action="store_true", help="verify models of all tasks")


def _add_models(verbs: Verbs) -> None:
    listing = verbs.add(
        "list", "list versions of a model, the oldest first", "watch", run="model.list_", json=True
    )
    listing.add_argument("task", help="the name of the task")
    add_limit(listing, "versions")
    rollback = verbs.add(
        "rollback",
        "make the weights of an old version the newest model, as a new version",
        "watch 39",
        json=True,
    )
    rollback.add_argument("task", help="the name of the task")
    rollback.add_argument("version", type=whole(1), help="the version to go back to")
    weights = verbs.add(
        "weights",
        "write the weights of a version into a file",
        "watch model.bin --version 12",
        json=True,
    )
    weights.add_argument("task", help="the name of the task")
    weights.add_argument("file", type=Path, help="the file to write")
    weights.add_argument("--version", type=whole(1), help="the version (default: the newest)")


def _add_export(verbs: Verbs) -> None:
    export = verbs.add(
        "export",
        "write a model as an ONNX file: the kernel's integers bit for bit, or with --float float32",
        "watch --onnx watch.onnx --check 10000",
        json=True,
    )
    export.add_argument("task", help="the name of the task")
    export.add_argument(
        "--onnx", type=Path, required=True, metavar="FILE", help="the file to write"
    )
    export.add_argument(
        "--float", action="store_true", help="write float32, for tools that want floats"
    )
    export.add_argument("--version", type=whole(1), help="the version (default: the newest)")
    export.add_argument(
        "--check", type=whole(0), default=0, metavar="N",
        help="run N random examples in onnxruntime and in the kernel first; without --float all"
        " numbers must be the same (default: %(default)s)",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
