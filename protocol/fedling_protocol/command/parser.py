"""Command lines that look alike: a verb, what it does, an example, --json if it prints data."""

import argparse
import re
from collections.abc import Callable
from typing import TypeAlias

from fedling_protocol.classes import dataclass
from fedling_protocol.command import output
from fedling_protocol.common_settings import HOSTS, check_host_for_devices

SHOWN = 32  # characters of a wrong number

LARGEST = 2**63 - 1  # that a database holds

_Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIME = re.compile(r"([0-9]{1,9}) ?([smhd])").fullmatch
_WHOLE = re.compile(r"[-+]?[0-9]{1,40}").fullmatch


def whole(low: int, high: int = LARGEST) -> Callable[[str], int]:
    """Make the type of an argument that is a whole number; others are told what is allowed."""

    def read(text: str) -> int:
        number = int(text) if _WHOLE(text) else low - 1
        if low <= number <= high:
            return number
        allowed = f"{low} or more" if high == LARGEST else f"{low} to {high}"
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]}: allowed: a whole number, {allowed}")

    return read


def seconds(low: int, high: int) -> Callable[[str], int]:
    """Make the type of an argument that is a time: 90s, 30m, 2h, 7d. It gives seconds."""

    def read(text: str) -> int:
        found = _TIME(text)
        number = int(found[1]) * UNITS_S[found[2]] if found else low - 1
        if low <= number <= high:
            return number
        allowed = f"a time as 90s, 30m, 2h or 7d, at most {high // UNITS_S['d']}d"
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]}: allowed: {allowed}")

    return read


def host(text: str) -> str:
    """Be the type of an argument that says where devices find a machine."""
    told = check_host_for_devices(text) if text else HOSTS
    if told is None:
        return text
    raise argparse.ArgumentTypeError(f"{text[:SHOWN]}: allowed: {told}")


def fraction(low: float, high: float) -> Callable[[str], float]:
    """Make the type of an argument that may have a decimal point."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = low - 1
        if low <= number <= high:  # what is no number at all is not between them
            return number
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]}: allowed: {low:g} to {high:g}")

    return read


@dataclass(frozen=True, slots=True)
class Verbs:
    """The verbs of a program or of one of its nouns."""

    program: str
    subparsers: _Subparsers
    common: Callable[[argparse.ArgumentParser], None]  # adds what every verb takes, as --config
    noun: str = ""

    def add(
        self,
        verb: str,
        does: str,
        example: str = "",
        *,
        json: bool = False,
        run: str = "",
        pipe: str = "",
    ) -> argparse.ArgumentParser:
        """example: the arguments of a command that one could type, what stands before it in `pipe`.

        json: it prints data, so that --json makes sense. run: "module.function", by default
        "noun.verb", or "verb.run" without a noun.
        """
        default = f"{self.noun}.{verb}" if self.noun else f"{verb}.run"
        words = f"{self.noun} {verb}".strip()
        parser = _parser(self.subparsers, verb, does, f"{pipe}{self.program} {words} {example}")
        parser.set_defaults(run=run or default)
        self.common(parser)
        if json:
            parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        return parser

    def group(self, noun: str, about: str, example: str) -> "Verbs":
        """Add a noun whose verbs follow. about: what the noun is for a person."""
        parser = _parser(self.subparsers, noun, about, f"{self.program} {noun} {example}")
        verbs = parser.add_subparsers(metavar="VERB", required=True)
        return Verbs(self.program, verbs, self.common, noun)


def add_limit(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --limit, for a list that may grow for years; output.most() reads it."""
    parser.add_argument(
        "--limit",
        type=whole(1),
        metavar="N",
        help=f"list at most N {what} (default {output.ROWS}; with --json: all)",
    )


def new_parser(
    program: str,
    description: str,
    example: str,
    common: Callable[[argparse.ArgumentParser], None],
) -> tuple[argparse.ArgumentParser, Verbs]:
    """Make the parser of a whole program, and where its verbs go."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"example:\n  {program} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    return parser, Verbs(program, parser.add_subparsers(metavar="COMMAND", required=True), common)


def _parser(subparsers: _Subparsers, word: str, does: str, example: str) -> argparse.ArgumentParser:
    return subparsers.add_parser(
        word,
        help=does,
        description=does[0].upper() + does[1:] + ".",
        epilog=f"example:\n  {example}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"{parser.prog} {version('fedling')}")
        parser.exit()
