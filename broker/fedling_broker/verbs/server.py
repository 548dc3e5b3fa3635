"""`up` and `setup`: a whole server made from nothing."""

from pathlib import Path

from fedling_protocol.command.parser import Verbs, host, whole


def add(verbs: Verbs) -> None:
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
