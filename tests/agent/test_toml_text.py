"""agent.toml as commands write it: what they set is set, all else is the owner's."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent import toml_text as toml

SET: dict[str, dict[str, toml.Value]] = {
    "": {"fleet": "home", "root_key": "ab" * 32},
    "mqtt": {"host": "pi-a.local", "port": 8883, "tls": True, "ca_file": "/a b/ca.crt"},
}

OWNERS = {
    "nothing": "",
    "comments only": "# mine\n\n# all mine\n",
    "other keys": 'fleet = "old"  # of before\nstreams = ["w.toml"]\n\n[policy]\ncheck_s = 5\n',
    "a table of its own": '[mqtt]\nhost = "x" # mine\nkeepalive_s = 60\n[policy]\nbattery = 40\n',
    "keys in a wild order": '[policy]\n[mqtt]\nport=1\n  host= "y"\n',
    "no line break at the end": 'streams = []\n[mqtt]\nallow_plaintext = true\nhost="z"',
    "carriage returns": 'streams = []\r\n[mqtt]\r\nhost = "z"\r\n',
    "spaces in a header": '[ mqtt ] # here\nhost = "z"\n',
}


def plain(text: str) -> dict[str, object]:
    return tomllib.loads(text)


def expected(text: str) -> dict[str, object]:
    found = plain(text)
    found.update(SET[""])
    mqtt = found.setdefault("mqtt", {})
    assert isinstance(mqtt, dict)
    mqtt.pop("allow_plaintext", None)
    mqtt.update(SET["mqtt"])
    return found


@pytest.mark.parametrize("text", OWNERS.values(), ids=OWNERS.keys())
def test_changed_sets_keys_and_keeps_the_rest(text: str) -> None:
    once = toml.changed(text, SET, {"mqtt": ("allow_plaintext",)})
    assert plain(once) == expected(text)
    for line in text.splitlines():
        if line.startswith("#") or "policy" in line or "streams" in line or "keepalive" in line:
            assert line in once.splitlines()
    assert toml.changed(once, SET, {"mqtt": ("allow_plaintext",)}) == once


def test_new_is_read_as_it_was_meant() -> None:
    assert plain(toml.new(SET)) == expected("")


WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@given(WORDS, st.integers(0, 2**40), st.booleans())
def test_whatever_the_values_toml_reads_them_back(text: str, number: int, flag: bool) -> None:
    tables: dict[str, dict[str, toml.Value]] = {"": {"a": text}, "t": {"b": number, "c": flag}}
    assert plain(toml.new(tables)) == {**tables[""], "t": tables["t"]}


ARRAYS = {
    "no array": "fleet = 'x'\n[mqtt]\nhost = 'x'\n",
    "nothing": "",
    "an empty one": "streams = []  # none yet\n[mqtt]\nstreams = []\n",
    "on one line": "  streams=[ 'a.toml' ]\n",
    "a comma at the end": "streams = ['a.toml',] # mine\n",
    "on lines of their own": "streams = [  # mine ]\n    'a.toml',  # one, [\n  'b.toml'\n]\nx=1\n",
    "texts that look like its end": 'streams = ["]", \'"],\', "\\"]", """a]""", "#"]\n',
}


@pytest.mark.parametrize("text", ARRAYS.values(), ids=ARRAYS.keys())
def test_extended_puts_an_entry_last_and_keeps_the_rest(text: str) -> None:
    once = toml.extended(text, "streams", "c.toml")
    before = plain(text).get("streams", [])
    assert isinstance(before, list)
    assert plain(once) == plain(text) | {"streams": [*before, "c.toml"]}
    if "streams" in text:
        assert once.replace('"c.toml"', "").replace(" ", "").replace(",", "") == text.replace(
            " ", ""
        ).replace(",", "")


@given(st.lists(WORDS), WORDS)
def test_whatever_the_entries_one_more_is_read_back(entries: list[str], entry: str) -> None:
    text = toml.new({"": {"streams": tuple(entries)}, "mqtt": {"host": "x"}})
    assert plain(toml.extended(text, "streams", entry))["streams"] == [*entries, entry]
