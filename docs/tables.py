"""Write the parts of the documents that the code knows best: commands, options, keys.

A document has them between two markers:

    <!-- commands: fedling_agent.cli -->      from build_parser() of that module
    <!-- keys: fedling_agent.config:AgentConfig -->      from the settings' dataclass
    <!-- end -->

    python -m docs.tables           write them (make format does)
    python -m docs.tables --check   exit 1 and name the documents that are behind
"""

import argparse
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from fedling_protocol import settings

DOCS = Path(__file__).parent
PART = re.compile(r"(<!-- (commands|keys): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and every parser of a verb below it. Their `prog` is what one types."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in dict.fromkeys(action.choices.values()):
                yield from commands(child)


def is_group(parser: argparse.ArgumentParser) -> bool:
    """Whether a verb must follow."""
    return any(isinstance(x, argparse._SubParsersAction) for x in parser._actions)


def parser_of(module: str) -> argparse.ArgumentParser:
    """What build_parser() of a command line's module returns."""
    parser: argparse.ArgumentParser = importlib.import_module(module).build_parser()
    return parser


def commands_part(module: str) -> str:
    """Every command of one program."""
    leaves = [x for x in commands(parser_of(module)) if not is_group(x)]
    return "\n".join(command_text(leaf) for leaf in leaves)


def command_text(parser: argparse.ArgumentParser) -> str:
    """One command: what it does, its arguments, its example."""
    text = f"### {parser.prog}\n"
    if parser.description:
        text += f"{squeeze(parser.description)}\n\n"
    arguments = [x for x in parser._actions if not isinstance(x, argparse._HelpAction)]
    if arguments:
        text += "| argument | means |\n|---|---|\n"
        text += "".join(argument_row(parser, argument) for argument in arguments) + "\n"
    if parser.epilog:
        text += "".join(f"    {line}".rstrip() + "\n" for line in dedented(parser.epilog))
    return text


def argument_row(parser: argparse.ArgumentParser, argument: argparse.Action) -> str:
    """One option or positional argument."""
    value = "" if argument.nargs == 0 else shown_value(argument)
    names = " ".join(filter(None, [", ".join(argument.option_strings), value]))
    words = (argument.help or "") % {"prog": parser.prog, **vars(argument)}
    return f"| `{cell(names)}` | {cell(squeeze(words))} |\n"


def shown_value(argument: argparse.Action) -> str:
    """What stands for the value of an argument, as FILE or csv|ndjson."""
    if isinstance(argument.metavar, str):
        return argument.metavar
    if argument.choices is not None:
        return "|".join(str(choice) for choice in argument.choices)
    return argument.dest.upper()


def keys_part(place: str) -> str:
    """The keys of one configuration file."""
    module, name = place.split(":")
    rows = ["| key | value | default | means |\n|---|---|---|---|\n"]
    for key in settings.describe(getattr(importlib.import_module(module), name)):
        value = ", ".join(filter(None, [key.type, f"{key.allowed} {key.unit}".strip()]))
        default = "required" if key.required else f"`{key.default}`" if key.default else ""
        rows.append(f"| `{key.key}` | {cell(value)} | {cell(default)} | {cell(key.help)} |\n")
    return "".join(rows)


def squeeze(text: str) -> str:
    return " ".join(text.split())


def dedented(text: str) -> list[str]:
    """The lines of an epilog without the indent that they share."""
    lines = text.strip("\n").splitlines()
    indent = min((len(x) - len(x.lstrip()) for x in lines if x.strip()), default=0)
    return [line[indent:] for line in lines]


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def renewed(text: str) -> str:
    """A document with its parts written anew."""
    write = {"commands": commands_part, "keys": keys_part}
    return PART.sub(lambda found: found[1] + write[found[2]](found[3]) + found[4], text)


def documents() -> list[Path]:
    return sorted(path for path in DOCS.glob("*.md") if PART.search(path.read_text()))


def main() -> int:
    """Write or check. Returns the exit code."""
    behind = [path for path in documents() if renewed(path.read_text()) != path.read_text()]
    if "--check" in sys.argv[1:]:
        for path in behind:
            print(f"docs/{path.name} is behind the code: run make format", file=sys.stderr)
        return int(bool(behind))
    for path in behind:
        path.write_text(renewed(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
