"""Command lines that look alike."""

import argparse

import pytest

from fedling_protocol.command.parser import host, new_parser, seconds, whole


def common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config")


def make() -> argparse.ArgumentParser:
    parser, verbs = new_parser("fedling-x", "Does it.", "status", common)
    verbs.add("status", "tell", json=True)
    verbs.add("ingest", "store rows", "wrist", pipe="sensor | ")
    task = verbs.group("task", "what is learned", "list")
    task.add("add", "add one", "watch.toml")
    task.add("list", "all of them", run="task.list_")
    return parser


def help_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        make().parse_args([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["status"], "status.run"),
        (["task", "add"], "task.add"),
        (["task", "list"], "task.list_"),
    ],
)
def test_add_names_the_function_of_a_verb(words: list[str], run: str) -> None:
    args = make().parse_args([*words, "--config", "x"])
    assert (args.run, args.config) == (run, "x")


def test_json_is_only_where_it_makes_sense() -> None:
    assert make().parse_args(["status", "--json"]).json
    with pytest.raises(SystemExit):
        make().parse_args(["task", "add", "--json"])


def test_help_has_a_sentence_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\n\nTell.\n" in help_of("status", capsys=capsys)
    assert help_of("status", capsys=capsys).endswith("example:\n  fedling-x status\n")
    assert help_of("ingest", capsys=capsys).endswith("  sensor | fedling-x ingest wrist\n")
    assert help_of("task", capsys=capsys).endswith("example:\n  fedling-x task list\n")
    assert help_of("task", "add", capsys=capsys).endswith("  fedling-x task add watch.toml\n")


def test_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make().parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("fedling-x 0.")


def test_a_verb_must_follow(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["task"]):
        with pytest.raises(SystemExit) as ended:
            make().parse_args(words)
        assert ended.value.code == 2
    assert "VERB" in capsys.readouterr().err


def test_seconds_takes_a_number_and_one_unit() -> None:
    read = seconds(1, 7 * 86_400)
    assert [read(one) for one in ("90s", "30m", "2 h", "7d")] == [90, 1800, 7200, 604_800]
    for wrong in ("", "90", "s", "0s", "-1h", "8d", "1.5h", "2h30m", "1H", "9999999999s", "٣h"):
        with pytest.raises(argparse.ArgumentTypeError, match="90s, 30m, 2h or 7d, at most 7d"):
            read(wrong)


@pytest.mark.parametrize("text", ["1_000", "\u0663", " 1", "", "1.0", "0x1", "9" * 5000])
def test_whole_takes_plain_digits_only(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a whole number"):
        whole(0)(text)
    assert [whole(-9)(one) for one in ("+7", "-7", "07")] == [7, -7, 7]


@pytest.mark.parametrize("text", ["", "https://x", "[::1]", "x:8883", "a b", "küche.local"])
def test_host_refuses_what_no_device_could_be_told(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="allowed: a name or address, as broker"):
        host(text)


@pytest.mark.parametrize("text", ["::1", "192.168.1.9", "broker.local", "my_host"])
def test_host_takes_names_and_addresses(text: str) -> None:
    assert host(text) == text
