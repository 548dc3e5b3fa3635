"""Write the parts of the documents that the tree knows best: commands, keys, reasons, decisions.

A document has them between two markers:

    <!-- commands: fedling_agent.cli -->      from build_parser() of that module
    <!-- keys: fedling_agent.config:AgentConfig -->      from the settings' dataclass
    <!-- reasons: fedling_agent.conditions.table:TABLE -->      from the rows of conditions
    <!-- costs: fedling_protocol.wire.costs -->      what fields of messages cost, and their bounds
    <!-- decisions: docs/decisions -->      from the titles of the files there
    <!-- end -->

    python -m docs.tables           write them (make format does)
    python -m docs.tables --check   exit 1 and name the documents that are behind
"""

import argparse
import importlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fedling_agent.conditions import words
from fedling_agent.conditions.condition import Condition
from fedling_protocol import settings

DOCS = Path(__file__).parent
FOLDERS = ("native", "protocol", "agent", "broker", "firmware_sim")  # with code of ours
HEADING = "| argument | means |\n|---|---|\n"
PART = re.compile(r"(<!-- ([a-z]+): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


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
    """Every command of one program. Arguments that most commands have are explained once."""
    leaves = [x for x in commands(parser_of(module)) if not is_group(x)]
    count = Counter(row for leaf in leaves for row in argument_rows(leaf).values())
    common = {row for row, n in count.items() if 2 * n > len(leaves)}
    shared = "".join(row for row in count if row in common)
    text = f"Most commands have these:\n\n{HEADING}{shared}\n" if shared else ""
    return text + "\n".join(command_text(leaf, common) for leaf in leaves)


def command_text(parser: argparse.ArgumentParser, common: set[str]) -> str:
    """One command: what it does, its arguments, its example."""
    text = f"### {parser.prog}\n{squeeze(parser.description or '')}\n\n"
    rows = argument_rows(parser)
    own = "".join(row for row in rows.values() if row not in common)
    if own:
        text += f"{HEADING}{own}\n"
    if also := [f"`{name}`" for name, row in rows.items() if row in common]:
        text += f"{'Also' if own else 'Takes'} {', '.join(also)}.\n\n"
    return text + "".join(f"    {line}\n" for line in example_of(parser))


def argument_rows(parser: argparse.ArgumentParser) -> dict[str, str]:
    """A row of a table for each argument but --help, positional ones first."""
    arguments = [x for x in parser._actions if not isinstance(x, argparse._HelpAction)]
    arguments.sort(key=lambda argument: bool(argument.option_strings))
    return {shown_name(x): argument_row(parser, x) for x in arguments}


def argument_row(parser: argparse.ArgumentParser, argument: argparse.Action) -> str:
    words = (argument.help or "") % {"prog": parser.prog, **vars(argument)}
    return f"| `{cell(shown_name(argument))}` | {cell(squeeze(words))} |\n"


def shown_name(argument: argparse.Action) -> str:
    """What one types, as --limit N or FILE."""
    value = "" if argument.nargs == 0 else shown_value(argument)
    return " ".join(filter(None, [", ".join(argument.option_strings), value]))


def example_of(parser: argparse.ArgumentParser) -> list[str]:
    """The lines that one can type, of the epilog "example: ..."."""
    epilog = re.sub(r"^\s*examples?:\s*\n", "", parser.epilog or "")
    return [line.strip() for line in epilog.splitlines() if line.strip()]


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


def reasons_part(place: str) -> str:
    """The codes of reasons: a row's own, then those that any condition may give."""
    module, name = place.split(":")
    rows: tuple[Condition, ...] = getattr(importlib.import_module(module), name)
    text = "| code | condition | stops | means |\n|---|---|---|---|\n"
    for row in rows:
        gates = (
            ("training", row.trains), ("transfers", row.transfers), ("taking part", row.sends),
        )  # fmt: skip
        stops = [what for what, stopped in gates if stopped]
        text += f"| `{row.code}` | {row.name} | {', '.join(stops)} | {cell(row.meaning)} |\n"
    for code, meaning in words.MEANINGS.items():
        text += f"| `{code}` | any | what the condition stops | {cell(meaning)} |\n"
    return text


def costs_part(module: str) -> str:
    """What each thing costs that a message asks for; then the fields that cost nothing."""
    costs = importlib.import_module(module)
    text = heading("what is paid", "in", "at most", "says", "checked", "asked for by")
    for cost in costs.COSTS:
        fields = ", ".join(f"`{field}`" for field in cost.fields)
        cells = (cost.what, cost.unit, cost.bound, cost.whose, cost.checked, fields)
        text += f"| {' | '.join(map(cell, cells))} |\n"
    text += "\nFields that cost no more than their own bytes:\n\n"
    text += heading("field", "what is done with it")
    return text + "".join(f"| `{field}` | {cell(why)} |\n" for field, why in costs.FREE.items())


def heading(*words: str) -> str:
    """The first two lines of a table."""
    return f"| {' | '.join(words)} |\n|{'---|' * len(words)}\n"


def decisions_part(folder: str) -> str:
    """A line for each decision, by number: "# 7. Title" is its first line."""
    text = ""
    for path in sorted((DOCS.parent / folder).glob("[0-9]*.md")):
        number, title = path.read_text().split("\n", 1)[0].removeprefix("# ").split(". ", 1)
        text += f"- {number}. [{title}]({path.name})\n"
    return text


def squeeze(text: str) -> str:
    return " ".join(text.split())


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def renewed(text: str) -> str:
    """A document with its parts written anew."""
    write = {
        "commands": commands_part,
        "keys": keys_part,
        "reasons": reasons_part,
        "costs": costs_part,
        "decisions": decisions_part,
    }
    return PART.sub(lambda found: found[1] + write[found[2]](found[3]) + found[4], text)


def documents() -> list[Path]:
    return sorted(path for path in DOCS.rglob("*.md") if PART.search(path.read_text()))


def main() -> int:
    """Write or check. Returns the exit code."""
    behind = [path for path in documents() if renewed(path.read_text()) != path.read_text()]
    if "--check" in sys.argv[1:]:
        for path in behind:
            name = path.relative_to(DOCS.parent)
            print(f"{name} is behind the code: run make format", file=sys.stderr)
        return int(bool(behind))
    for path in behind:
        path.write_text(renewed(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
