"""Arguments that several groups of verbs have, and their types."""

import argparse
import re
from pathlib import Path

from fedling_protocol.common_settings import check_root_key

SECONDS = {"m": 60, "h": 3600, "d": 86_400}
LONGEST_S = 365 * 86_400


def add_root_key(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--root-key", type=Path, metavar="FILE",
        help="the file of the fleet's root key (default: the one in the authority's directory)",
    )  # fmt: skip


def add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="", help="what the device is called, as kitchen")


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
