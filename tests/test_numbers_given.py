"""Every number of every command line: what makes no sense is told before anything is done."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.tables import commands
from fedling_agent import cli as agent
from fedling_broker import cli as broker
from fedling_protocol.command.parser import host
from fedling_sim import cli as sim

WRONG = ("-1", "9" * 20, "9" * 5000, "1.5", "", "two", "nan")
MAY_BE_PARTS = ("delay", "jitter", "flap")  # of seconds
TEXTS = (None, str, Path, host)


def numbers() -> Iterator[tuple[str, argparse.Action]]:
    for module in (agent, broker, sim):
        for parser in commands(module.build_parser()):
            for action in parser._actions:
                if action.type not in TEXTS:
                    yield f"{parser.prog} {action.dest}", action


NUMBERS = dict(numbers())


def test_there_are_some() -> None:
    assert len(NUMBERS) >= 15


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        pytest.param(name, wrong, id=f"{name}-{wrong[:8]}")
        for name in sorted(NUMBERS)
        for wrong in WRONG
        if wrong != "1.5" or not name.endswith(MAY_BE_PARTS)
    ],
)
def test_a_number_that_makes_no_sense_is_refused(name: str, wrong: str) -> None:
    read = NUMBERS[name].type
    assert callable(read)
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        read(wrong)
    assert "allowed: " in str(refused.value)
    assert len(str(refused.value)) < 200


FEW = {"fedling-broker task list", "fedling-sim board list"}  # bounded by who writes them


def test_every_list_that_grows_has_a_bound() -> None:
    lists = {
        parser.prog: {action.dest for action in parser._actions}
        for module in (agent, broker, sim)
        for parser in commands(module.build_parser())
        if parser.prog.split()[-1] in ("list", "pending", "sent")
    }
    assert {name for name, options in lists.items() if "limit" not in options} == FEW
    assert len(lists) > len(FEW) + 4


def test_a_list_is_never_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    """None listed would read as: there is nothing."""
    for words in (["round", "list", "--limit", "0"], ["model", "list", "x", "--limit", "-5"]):
        with pytest.raises(SystemExit) as ended:
            broker.main(words)
        assert ended.value.code == 2
    assert "allowed: a whole number, 1 or more" in capsys.readouterr().err
