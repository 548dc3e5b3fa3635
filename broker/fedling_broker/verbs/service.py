"""The aggregator itself: `init`, `serve`, what it tells, its backup."""

import argparse
from pathlib import Path

from fedling_broker.verbs.arguments import add_root_key, root_key
from fedling_protocol.command.parser import Verbs, add_limit, whole


def add(verbs: Verbs) -> None:
    _add_service(verbs)
    _add_backup(verbs)


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
    add_root_key(whose)
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
    status.add_argument(
        "--watch",
        action="store_true",
        help="show it again every 10 s, until Ctrl-C; with --json a line each time",
    )
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
