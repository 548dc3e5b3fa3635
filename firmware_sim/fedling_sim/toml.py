"""Writes the configuration files of simulated devices and their aggregator."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedling_protocol.settings import quoted

Value = bool | int | float | str | Path | Sequence["Value | Table"]
Table = Mapping[str, "Value | Table"]


def text(table: Table, prefix: str = "") -> str:
    """Write a table as TOML: its values first, then the tables in it."""
    values = [f"{key} = {_value(v)}" for key, v in table.items() if not isinstance(v, Mapping)]
    parts = ["\n".join(values)] if values else []
    for key, inner in table.items():
        if isinstance(inner, Mapping):
            parts.append(f"[{prefix}{key}]\n{text(inner, f'{prefix}{key}.')}")
    return "\n".join(parts) + ("" if prefix else "\n")


def _value(value: "Value | Table") -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() | Path():
            return quoted(str(value))
        case list():
            return f"[{', '.join(_value(item) for item in value)}]"
        case Mapping():
            return f"{{ {', '.join(f'{key} = {_value(v)}' for key, v in value.items())} }}"
    return str(value)
