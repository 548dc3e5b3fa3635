"""agent.toml as commands write it: a new one, or the owner's own with other keys in it.

What the owner wrote stays, comments and order included: only lines of keys that are set here
change. Whether the result says what it should is for the caller to ask of who reads it.
"""

import re
from collections.abc import Mapping

from fedling_protocol.settings import quoted

Value = str | int | bool | tuple[str, ...]

NEW = """\
# Written by `fedling-agent enroll`. Every key and its default: docs/configuration.md
"""
_TABLE = re.compile(r"\s*\[\s*(?P<name>[^\[\]]*?)\s*\]\s*(#.*)?")
_ARRAY = re.compile(r"\s*\[\[.*\]\]\s*(#.*)?")
_KEY = re.compile(r"\s*(?P<name>[A-Za-z0-9_-]+)\s*=")
_TOKEN = re.compile(  # of an array of texts: comments and texts have brackets and commas too
    r"""\s+|\#[^\n]*|"{3}.*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|.""", re.DOTALL
)


def new(tables: Mapping[str, Mapping[str, Value]]) -> str:
    """Write a file of these keys. tables: the one named "" is that of no table"""
    return changed(NEW, tables, {})


def changed(
    text: str,
    tables: Mapping[str, Mapping[str, Value]],
    without: Mapping[str, tuple[str, ...]],
) -> str:
    """Set keys, and take others away; a table that is missing is put at the end."""
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n") if text]
    for name in tables.keys() | without.keys():
        lines = _drop(lines, name, (*without.get(name, ()), *tables.get(name, {})))
    for name, keys in tables.items():
        lines = _insert(lines, name, [f"{key} = {_written(value)}" for key, value in keys.items()])
    return "\n".join(lines) + "\n"


def extended(text: str, key: str, entry: str) -> str:
    """Put a text at the end of an array of texts that no table holds; the array may be missing."""
    array = re.search(rf"^[ \t]*{key}[ \t]*=[ \t]*\[", _top(text), re.MULTILINE)
    if array is None:
        return changed(text, {"": {key: (entry,)}}, {})
    at, comma = array.end(), True  # behind the last entry, or behind its comma
    for token in _TOKEN.finditer(text, at):
        if token[0] == "]":
            break
        if not token[0].isspace() and not token[0].startswith("#"):
            at, comma = token.end(), token[0] == ","
    space = "" if text[at - 1] == "[" else " "
    return f"{text[:at]}{'' if comma else ','}{space}{quoted(entry)}{text[at:]}"


def _top(text: str) -> str:
    """What of a text is in no table."""
    heads = (_TABLE.fullmatch(line) or _ARRAY.fullmatch(line) for line in text.splitlines())
    lines = text.splitlines(keepends=True)
    return "".join(lines[: next((n for n, head in enumerate(heads) if head), len(lines))])


def _drop(lines: list[str], table: str, keys: tuple[str, ...]) -> list[str]:
    kept, at = [], ""
    for line in lines:
        at = _table_of(line, at)
        key = _KEY.match(line)
        if not (at == table and key and key["name"] in keys):
            kept.append(line)
    return kept


def _insert(lines: list[str], table: str, new: list[str]) -> list[str]:
    """Put lines at the head of a table; those of no table go before the first one."""
    heads = [n for n, line in enumerate(lines) if _table_of(line, "")]
    if not table:
        place = heads[0] if heads else len(lines)
        while place and not lines[place - 1].strip():
            place -= 1
        gap = [""] if place < len(lines) and lines[place].strip() else []
        return [*lines[:place], *new, *gap, *lines[place:]]
    for place in heads:
        if _table_of(lines[place], "") == table:
            return [*lines[: place + 1], *new, *lines[place + 1 :]]
    return [*lines, *([""] if lines else []), f"[{table}]", *new]


def _table_of(line: str, before: str) -> str:
    """Which table a line is in, given that of the line before it."""
    found = _TABLE.fullmatch(line)
    if found:
        return found["name"]
    return "[[]]" if _ARRAY.fullmatch(line) else before


def plain(value: Value) -> object:
    """What TOML reads where this value is written."""
    return list(value) if isinstance(value, tuple) else value


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(quoted, value))}]"
    return quoted(value) if isinstance(value, str) else str(value)
