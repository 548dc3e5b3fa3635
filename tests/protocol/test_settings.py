"""Settings: what a file may say, and what its reader is told if it says something else."""

import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedling_protocol.settings import (
    Setting,
    SettingsError,
    describe,
    load,
    parse,
    quoted,
    read,
    setting,
    tables,
)


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


def even(value: int) -> str | None:
    return None if value % 2 == 0 else "an even number"


@dataclass(frozen=True, slots=True)
class Battery:
    minimum: int = setting(40, low=0, high=100, unit="%", help="train above this charge")
    dwell_s: float = setting(60.0, low=0, unit="s", help="how long before it counts")


@dataclass(frozen=True, slots=True)
class Channel:
    name: str = setting(low=1, high=8, help="what it measures")
    resolution: float = setting(1.0, help="of one count")


@dataclass(frozen=True, slots=True)
class Example:
    fleet: str = setting(help="which fleet", low=1)
    count: int = setting(2, help="how many", check=even)
    mains: bool = setting(False, help="only on mains")
    colour: Colour = setting(Colour.RED, help="of the lamp")
    place: Path = setting(Path("/var/lib"), help="where")
    names: tuple[str, ...] = setting((), high=2, help="who")
    limit: int | None = setting(None, high=9, help="how much; without it, no limit")
    in_: int = setting(0, help="a key that is a word of Python")
    seeds: dict[str, int] = field(default_factory=dict)
    battery: Battery = field(default_factory=Battery)
    channel: tuple[Channel, ...] = ()

    def __post_init__(self) -> None:
        if self.count > 10 and self.mains:
            raise ValueError("count above 10 needs mains = false")


FULL = """
fleet = "demo"
count = 4
mains = true
colour = "green"
place = "/tmp"
names = ["a", "b"]
limit = 9
in = 3
seeds = { a = 1, b = 2 }
battery = { minimum = 50, dwell_s = 1 }
[[channel]]
name = "x"
[[channel]]
name = "y"
resolution = 0.5
"""


def error(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(text, "agent.toml", Example)
    return str(caught.value)


@dataclass(frozen=True, slots=True)
class Mixed:
    item: tuple[int | Colour | Battery, ...] = setting(help="what comes in turn", high=4)
    size: int | tuple[int, ...] | None = setting(None, help="one, or several", check=even)


def test_a_key_may_be_of_several_types() -> None:
    mixed = parse('item = [3, "green", { minimum = 7 }]\nsize = [2, 4]', "m.toml", Mixed)
    assert mixed == Mixed((3, Colour.GREEN, Battery(7)), (2, 4))
    assert parse("item = []\nsize = 2", "m.toml", Mixed) == Mixed((), 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("item = [1.5]", "item[0] = 1.5: allowed: an integer or a word or a table"),
        ("item = [true]", "item[0] = true: allowed: an integer or a word or a table"),
        ('item = ["blue"]', 'item[0] = "blue": allowed: "red", "green"'),
        ("item = [{ minimum = 101 }]", "item[0].minimum = 101: allowed: 0 to 100 %"),
        ("item = []\nsize = [2, 3]", "size[1] = 3: allowed: an even number"),
        ('item = []\nsize = "2"', 'size = "2": allowed: an integer or an array'),
        ("size = 2", "item is missing: what comes in turn, an array, at most 4"),
    ],
)
def test_a_key_of_several_types_says_which(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, "m.toml", Mixed)
    assert str(caught.value) == f"m.toml: {words}"


def test_describe_a_key_of_several_types() -> None:
    found = [(s.key, s.type) for s in describe(Mixed)]
    assert found == [
        ("item", "an array"),
        ("item[].minimum", "an integer"),
        ("item[].dwell_s", "a number"),
        ("size", "an integer or an array"),
    ]


def test_parse_defaults() -> None:
    assert parse('fleet = "demo"', "agent.toml", Example) == Example("demo")


def test_parse_everything() -> None:
    channels = (Channel("x"), Channel("y", 0.5))
    expected = Example(
        "demo", 4, True, Colour.GREEN, Path("/tmp"), ("a", "b"), 9, 3, {"a": 1, "b": 2},
        Battery(50, 1.0), channels,
    )  # fmt: skip
    found = parse(FULL, "agent.toml", Example)
    assert found == expected
    assert isinstance(found.battery.dwell_s, float)
    assert isinstance(found.colour, Colour)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "agent.toml: fleet is missing: which fleet, a text, at least 1"),
        ('fleet = ""', 'agent.toml: fleet = "": allowed: at least 1 characters'),
        ("fleet = 3", "agent.toml: fleet = 3: allowed: a text"),
        ('fleet = "a"\ncount = 3', "agent.toml: count = 3: allowed: an even number"),
        ('fleet = "a"\ncount = 2.0', "agent.toml: count = 2.0: allowed: an integer"),
        ('fleet = "a"\ncount = true', "agent.toml: count = true: allowed: an integer"),
        ('fleet = "a"\nmains = 1', "agent.toml: mains = 1: allowed: true or false"),
        (
            'fleet = "a"\ncolour = "blue"',
            'agent.toml: colour = "blue": allowed: "red", "green"',
        ),
        ('fleet = "a"\ncolour = [1]', 'agent.toml: colour = [1]: allowed: "red", "green"'),
        ('fleet = "a"\nplace = 1', "agent.toml: place = 1: allowed: a path"),
        ('fleet = "a"\nnames = "b"', 'agent.toml: names = "b": allowed: an array, [...]'),
        ('fleet = "a"\nnames = ["b", 1]', "agent.toml: names[1] = 1: allowed: a text"),
        (
            'fleet = "a"\nnames = ["b", "c", "d"]',
            'agent.toml: names = ["b", "c", "d"]: allowed: at most 2 entries',
        ),
        ('fleet = "a"\nlimit = 10', "agent.toml: limit = 10: allowed: at most 9"),
        ('fleet = "a"\nseeds = { a = "x" }', 'agent.toml: seeds.a = "x": allowed: an integer'),
        ('fleet = "a"\nseeds = 1', "agent.toml: seeds = 1: allowed: a table"),
        ('fleet = "a"\nbattery = 1', "agent.toml: battery = 1: allowed: a table"),
        (
            'fleet = "a"\n[battery]\nminimum = 101',
            "agent.toml: battery.minimum = 101: allowed: 0 to 100 %",
        ),
        (
            'fleet = "a"\n[battery]\ndwell_s = nan',
            "agent.toml: battery.dwell_s = nan: allowed: at least 0 s",
        ),
        (
            f'fleet = "a"\n[battery]\ndwell_s = 1{"0" * 400}',
            f"agent.toml: battery.dwell_s = 1{'0' * 400}: allowed: a number",
        ),
        (
            'fleet = "a"\n[battery]\nminimun = 1',
            "agent.toml: battery.minimun: unknown key; did you mean minimum?",
        ),
        (
            'fleet = "a"\n[battery]\nzzz = 1',
            "agent.toml: battery.zzz: unknown key; allowed: minimum, dwell_s",
        ),
        (
            'fleet = "a"\n[[channel]]\nname = "x"\n[[channel]]\nname = "far too long"',
            'agent.toml: channel[1].name = "far too long": allowed: 1 to 8 characters',
        ),
        (
            'fleet = "a"\n[[channel]]',
            "agent.toml: channel[0].name is missing: what it measures, a text, 1 to 8",
        ),
        (
            'fleet = "a"\ncount = 12\nmains = true',
            "agent.toml: count above 10 needs mains = false",
        ),
        ('fleet = "a\\nb"\nplace = 2000-01-01', "agent.toml: place = 2000-01-01: allowed: a path"),
        ('fleet = "a"\ncount = "x\\ny"', 'agent.toml: count = "x\\ny": allowed: an integer'),
    ],
)
def test_parse_says_file_key_value_and_what_is_allowed(text: str, message: str) -> None:
    assert error(text) == message


@pytest.mark.parametrize(
    "text", ["fleet =", "a = 1\na = 2", f"a = {'9' * 5000}", "a = " + "[" * 9999]
)
def test_parse_says_what_is_no_toml(text: str) -> None:
    assert error(text).startswith("agent.toml: not TOML: ")


def test_parse_reads_a_file_that_notepad_wrote() -> None:
    assert tables('\ufefffleet = "home"', "agent.toml") == {"fleet": "home"}


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    with pytest.raises(SettingsError, match=r"agent.toml: cannot be read: No such file"):
        load(path, Example)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load(tmp_path, Example)
    path.write_bytes(b'fleet = "\xff"')
    with pytest.raises(SettingsError, match=r"agent.toml: not UTF-8"):
        load(path, Example)
    path.write_text('fleet = "größer"', encoding="utf-8")
    assert load(path, Example).fleet == "größer"
    path.write_text('fleet = "größer"', encoding="utf-8-sig")  # with a byte order mark
    assert load(path, Example).fleet == "größer"


def test_read_takes_a_table() -> None:
    assert read({"minimum": 1}, "task.toml", Battery) == Battery(1)
    with pytest.raises(SettingsError, match="a table"):
        read([], "task.toml", Battery)


def test_describe_lists_every_key() -> None:
    rows = {row.key: row for row in describe(Example)}
    assert list(rows) == [
        "fleet", "count", "mains", "colour", "place", "names", "limit", "in", "seeds",
        "battery.minimum", "battery.dwell_s", "channel[].name", "channel[].resolution",
    ]  # fmt: skip
    assert rows["battery.minimum"] == Setting(
        "battery.minimum", "an integer", "40", False, "%", "0 to 100", "train above this charge"
    )
    assert rows["fleet"].required
    assert rows["fleet"].default == ""
    assert not rows["limit"].required
    assert rows["colour"].allowed == '"red", "green"'
    assert rows["place"].default == '"/var/lib"'
    assert rows["names"].default == "[]"


# --- keys of an older version --------------------------------------------------------------------

RENAMED = {"lamp": "colour", "battery.lowest": "battery.minimum", "battery.wait": "x"}


def test_load_names_all_keys_that_are_called_otherwise_now(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('fleet = "demo"\nlamp = "red"\n[battery]\nlowest = 3\n')
    with pytest.raises(SettingsError) as error:
        load(path, Example, RENAMED)
    assert str(error.value) == (
        f"{path}: lamp: is now called colour; battery.lowest: is now called battery.minimum"
    )


def test_load_of_a_file_without_old_keys(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('fleet = "demo"\n[battery]\nminimum = 3\n')
    assert load(path, Example, RENAMED).battery.minimum == 3
    path.write_text('fleet = "demo"\nbattery = 5\n')  # no table at all
    with pytest.raises(SettingsError, match="battery = 5: allowed: a table"):
        load(path, Example, RENAMED)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example('\U0001f600 \x7f \x00 " \\ \n')
def test_what_is_quoted_is_read_by_toml(text: str) -> None:
    assert tomllib.loads(f"key = {quoted(text)}") == {"key": text}
