"""TOML files read into frozen dataclasses, with errors that say what is allowed.

A field's type is int, float, bool, str, Path, an Enum of strings, tuple[such, ...], another
dataclass (a table), tuple[dataclass, ...] (an array of tables), dict[str, such], one of these with
`| None`, or several with `|` that TOML can tell apart. Its range, unit and meaning are given by
`setting` (rule.py).
"""

import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar, Union, cast

from fedling_protocol.classes import dataclass
from fedling_protocol.rule import RULE, Rule
from fedling_protocol.rule import setting as setting

T = TypeVar("T")
NOTHING: Mapping[str, str] = types.MappingProxyType({})


class SettingsError(Exception):
    """A configuration file is wrong. Names file, key, value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a configuration file, for documentation."""

    key: str  # "conditions.battery.minimum"
    type: str  # "integer", "path", ...
    default: str  # as in TOML; empty: none, the key is required or its absence has a meaning
    required: bool
    unit: str
    allowed: str
    help: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands, for errors."""

    file: str
    key: str

    def below(self, name: str) -> "_Place":
        return _Place(self.file, f"{self.key}.{name}" if self.key else name)

    def refuse(self, value: object, allowed: str) -> NoReturn:
        raise SettingsError(f"{self.file}: {self.key} = {_toml(value)}: allowed: {allowed}")


def load(
    path: Path, settings: type[T], renamed: Mapping[str, str] = NOTHING, absent: str = ""
) -> T:
    """Read a file. SettingsError says what is wrong in it, or why it cannot be read.

    renamed: keys that the file had in an older version, "broker.host", and what they are called
    now, "mqtt.host". Such a file is refused by a sentence that has all of the new names.
    absent: how a file that is not there comes to be
    """
    try:
        text = path.read_bytes().decode()  # tables() forgives the mark that Windows writes first
    except OSError as error:
        if absent and isinstance(error, FileNotFoundError):
            raise SettingsError(f"{path}: there is no such file; {absent}") from error
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text: {error}") from error
    return parse(text, str(path), settings, renamed)


def parse(text: str, file: str, settings: type[T], renamed: Mapping[str, str] = NOTHING) -> T:
    """Read the text of a file; `file` is its name in errors."""
    values = tables(text, file)
    _refuse_renamed(values, file, renamed)
    return read(values, file, settings)


def tables(text: str, file: str) -> dict[str, Any]:
    """Read TOML that anybody may have written, with or without a byte order mark."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits, as many brackets
        raise SettingsError(f"{file}: not TOML: {error}") from error


def read(values: object, file: str, settings: type[T]) -> T:
    """Read what a TOML file holds, or one of its tables."""
    return cast(T, _read_table(settings, values, _Place(file, "")))


def describe(settings: type) -> Iterator[Setting]:
    """List every key that a file may have, in order."""
    yield from _describe(settings, "")


@cache
def _hints(settings: type) -> dict[str, Any]:
    return typing.get_type_hints(settings)


def _read_table(settings: type, values: object, place: _Place) -> object:
    if not isinstance(values, dict):
        place.refuse(values, "a table")
    known = fields(settings)
    names = [_name(f) for f in known]
    for name in values:
        if name not in names:
            _refuse_unknown(place, name, names)
    hints = _hints(settings)
    result = {}
    for f in known:
        below = place.below(_name(f))
        if _name(f) in values:
            result[f.name] = _read(hints[f.name], values[_name(f)], below, _rule(f))
        elif is_dataclass(hints[f.name]):  # a missing table is an empty one
            result[f.name] = _read_table(cast(type, hints[f.name]), {}, below)
        elif _is_required(f):
            raise SettingsError(f"{place.file}: {below.key} is missing: {_wanted(hints, f)}")
    try:
        return settings(**result)
    except ValueError as error:  # of __post_init__: keys that do not fit each other
        where = f"{place.file}: [{place.key}]" if place.key else place.file
        raise SettingsError(f"{where}: {error}") from error


def _read(hint: Any, value: object, place: _Place, rule: Rule) -> object:
    """Check one value and make it what the dataclass holds."""
    hint = _choose(hint, value, place)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    result: object
    if origin is tuple:
        if not isinstance(value, list):
            place.refuse(value, "an array, [...]")
        items = Rule(None, None, "", "", rule.check)
        result = tuple(
            _read(arguments[0], item, _Place(place.file, f"{place.key}[{i}]"), items)
            for i, item in enumerate(value)
        )
        _check_range(place, value, len(value), rule, "entries")
        return result
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            place.refuse(value, "a table")
        return {k: _read(arguments[1], v, place.below(k), rule) for k, v in value.items()}
    if is_dataclass(hint):
        return _read_table(cast(type, hint), value, place)
    result = _read_scalar(hint, value, place)
    if isinstance(value, str):
        _check_range(place, value, len(value), rule, "characters")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_range(place, value, value, rule, rule.unit)
    _check_rule(place, value, result, rule)
    return result


def _choose(hint: Any, value: object, place: _Place) -> Any:
    """Choose, of several types, the one that this value is written as."""
    hints = _alternatives(hint)
    fits = [one for one in hints if len(hints) == 1 or _is_written_as(one, value)]
    if not fits:
        place.refuse(value, _type_name(hint))
    return fits[0]


def _is_written_as(hint: Any, value: object) -> bool:
    """Whether TOML writes values of this type as one like `value`."""
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list)
    if is_dataclass(hint):
        return isinstance(value, dict)
    if isinstance(hint, type) and issubclass(hint, Enum | Path):
        return isinstance(value, str)
    return type(value) is hint


def _read_scalar(hint: Any, value: object, place: _Place) -> object:
    if isinstance(hint, type) and issubclass(hint, Enum):
        words = [member.value for member in hint]
        if value not in words or isinstance(value, bool):
            place.refuse(value, ", ".join(_toml(word) for word in words))
        return hint(value)
    if hint is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if type(value) is not hint:
        place.refuse(value, _type_name(hint))
    return value


def _check_range(place: _Place, value: object, size: float, rule: Rule, unit: str) -> None:
    too_low = rule.low is not None and not size >= rule.low  # "not >=": nan is too low
    too_high = rule.high is not None and not size <= rule.high
    if too_low or too_high:
        place.refuse(value, f"{_range(rule)} {unit}".rstrip())


def _check_rule(place: _Place, value: object, result: object, rule: Rule) -> None:
    allowed = rule.check(result) if rule.check else None
    if allowed is not None:
        place.refuse(value, allowed)


def _refuse_renamed(values: object, file: str, renamed: Mapping[str, str]) -> None:
    found = [f"{old}: is now called {new}" for old, new in renamed.items() if _has(values, old)]
    if found:
        raise SettingsError(f"{file}: {'; '.join(found)}")


def _has(values: object, key: str) -> bool:
    for name in key.split("."):
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


def _refuse_unknown(place: _Place, name: str, names: list[str]) -> NoReturn:
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(names)}"
    raise SettingsError(f"{place.file}: {place.below(name).key}: unknown key; {hint}")


def _describe(settings: type, prefix: str) -> Iterator[Setting]:
    hints = _hints(settings)
    for f in fields(settings):
        key, hint = prefix + _name(f), hints[f.name]
        inner = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
        tables = [one for one in _alternatives(inner) if is_dataclass(one)]
        below = f"{key}." if inner is hint else f"{key}[]."
        if len(tables) == len(_alternatives(inner)):
            yield from _describe(cast(type, tables[0]), below)
            continue
        rule = _rule(f)
        default = f.default if f.default is not MISSING else None
        yield Setting(
            key,
            _type_name(hint),
            "" if default is None else _toml(default),
            _is_required(f),
            rule.unit,
            _allowed(hint, rule),
            rule.help,
        )
        for table in tables:
            yield from _describe(cast(type, table), below)


def _allowed(hint: Any, rule: Rule) -> str:
    hint = _alternatives(hint)[0]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(_toml(member.value) for member in hint)
    return _range(rule) if (rule.low, rule.high) != (None, None) else ""


def _wanted(hints: dict[str, Any], f: "Field[Any]") -> str:
    rule, hint = _rule(f), hints[f.name]
    parts = [rule.help, _type_name(hint), _allowed(hint, rule), rule.unit]
    return ", ".join(part for part in parts if part)


def _range(rule: Rule) -> str:
    if rule.high is None:
        return f"at least {_plain(rule.low)}"
    if rule.low is None:
        return f"at most {_plain(rule.high)}"
    return f"{_plain(rule.low)} to {_plain(rule.high)}"


def _plain(number: float | None) -> str:
    return f"{number:.15g}"  # 16777216, not 1.67772e+07


def _type_name(hint: Any) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
    if len(_alternatives(hint)) > 1:
        return " or ".join(_type_name(one) for one in _alternatives(hint))
    (hint,) = _alternatives(hint)
    if typing.get_origin(hint) is tuple:
        return "an array"
    if typing.get_origin(hint) in (dict, Mapping) or is_dataclass(hint):
        return "a table"
    if hint is Path:
        return "a path"
    return names.get(hint, "a word")


def quoted(text: str) -> str:
    """Write a text as TOML does: as JSON, but for DEL and what JSON would write in two halves."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(value: object) -> str:
    """Write a value as it stands in TOML."""
    match value:
        case bool():
            return str(value).lower()
        case Enum():
            return _toml(value.value)
        case str() | Path():
            return quoted(str(value))
        case list() | tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case dict():
            return "{...}"
    return str(value)


def _alternatives(hint: Any) -> list[Any]:
    """List X, Y of `X | Y | None`; X of any other."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return [one for one in typing.get_args(hint) if one is not type(None)]
    return [hint]


def _name(f: "Field[Any]") -> str:
    """A key that is a Python word has an underscore behind it in the dataclass."""
    return f.name.removesuffix("_")


def _rule(f: "Field[Any]") -> Rule:
    rule: Rule = f.metadata.get(RULE, Rule(None, None, "", "", None))
    return rule


def _is_required(f: "Field[Any]") -> bool:
    return f.default is MISSING and f.default_factory is MISSING
