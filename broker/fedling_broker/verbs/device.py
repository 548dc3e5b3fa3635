"""`device`: who belongs to the fleet, and who may come into it."""

from pathlib import Path

from fedling_broker.verbs.arguments import add_name, span
from fedling_protocol.command.parser import Verbs, add_limit, host, whole


def add(program: Verbs) -> None:
    verbs = program.group("device", "invite, list and revoke who belongs to the fleet", "list")
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
    add_name(invite)
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
    add_name(add)
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
