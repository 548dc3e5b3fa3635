"""`authority`: the keys that vouch for others."""

from pathlib import Path

from fedling_broker.verbs.arguments import add_name, add_root_key
from fedling_protocol.command.parser import Verbs


def add(program: Verbs) -> None:
    verbs = program.group("authority", "keep the keys that vouch for others", "show")
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
    add_name(certify)
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
        add_root_key(parser)
    for parser in (init, show, certify, rotate, take):
        parser.add_argument(
            "--directory", type=Path, metavar="DIR",
            help="the authority's directory, on a machine without aggregator (default: that of"
            " broker.toml)",
        )  # fmt: skip
