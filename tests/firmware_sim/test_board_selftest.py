"""`fedling-sim board`: the self-test tells right bits from wrong ones, and why it did not run."""

import json
import shutil
from pathlib import Path

import pytest

from fedling_protocol.exits import Exit
from fedling_sim import cli
from fedling_sim.board import boards, selftest, toolchain
from fedling_sim.board.boards import BOARDS
from fedling_sim.board.toolchain import Build
from tests.native import vectors
from tests.support.tools import need


@pytest.fixture
def _tools() -> None:
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    need("qemu-system-arm")


def copy_of_sources(root: Path) -> Path:
    for folder in ("native/include", "native/src", "firmware_sim/firmware"):
        shutil.copytree(toolchain.ROOT / folder, root / folder)
    return root


@pytest.mark.usefixtures("_tools")
def test_selftest_command_gives_the_golden_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["board", "selftest", "--board", "cortex-m0", "--json"]) == Exit.OK
    [record] = json.loads(capsys.readouterr().out)
    assert record["board"] == "microbit"
    golden = {case.name: case.value for case in vectors.small_cases()}
    assert {case["name"]: case["value"] for case in record["cases"]} == golden
    assert 0 < record["stack"] <= selftest.STACK


@pytest.mark.usefixtures("_tools")
def test_selftest_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["board", "selftest", "--board", "mps2-an386", "-O1"]) == Exit.OK
    table = capsys.readouterr().out.split()
    count = len(vectors.small_cases())
    assert table[table.index("mps2-an386") + 1] == "cortex-m4"
    assert f"{count}/{count}" in table


@pytest.mark.usefixtures("_tools")
def test_selftest_names_the_case_that_is_wrong(tmp_path: Path) -> None:
    root = copy_of_sources(tmp_path)
    cases = vectors.small_cases()
    wrong = vectors.Case(cases[5].name, cases[5].kind, cases[5].body, b"others", small=True)
    data = vectors.vectors([*cases[:5], wrong, *cases[6:]])
    (root / "firmware_sim/firmware/selftest/vectors.bin").write_bytes(data)
    report = selftest.run(boards.find("cortex-m3"), Build(root=root))
    assert report.wrong == [cases[5].name]


def test_selftest_has_the_golden_vectors_of_today() -> None:
    current = vectors.vectors(vectors.small_cases())
    assert current == vectors.SMALL.read_bytes(), "python -m tests.native.vectors writes them"


REPORT = ["isa plain", "0000000a 0000000a 17 one, 200 steps", "stack 100", "right 1 of 1"]


def test_parse_reads_a_report() -> None:
    report = selftest.parse(REPORT, 0)
    assert report == selftest.Report(
        "plain", (selftest.Case("one, 200 steps", 10, 10, 17),), stack=100
    )


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], 0),
        (REPORT[:3], 0),
        (REPORT, 1),
        ([*REPORT[:2], "fault: exception 3 at 00000000, called from 00000000"], 1),
        (["isa plain", "stack 100", "right 1 of 1"], 0),
    ],
)
def test_parse_refuses_a_report_that_is_not_whole(lines: list[str], status: int) -> None:
    with pytest.raises(selftest.BadReport, match=f"status {status}"):
        selftest.parse(lines, status)


def test_missing_compiler_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["board", "selftest"]) == Exit.UNAVAILABLE
    assert "sudo apt-get install gcc-arm-none-eabi" in capsys.readouterr().err


def test_unknown_board_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["board", "selftest", "--board", "cortex-m1"])
    assert stopped.value.code == Exit.USAGE
    assert "microbit (cortex-m0)" in capsys.readouterr().err


def test_list_shows_every_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["board", "list"]) == Exit.OK
    shown = capsys.readouterr().out
    assert all(board.name in shown and board.core in shown for board in BOARDS)
    assert cli.main(["board", "list", "--json"]) == Exit.OK
    assert [x["name"] for x in json.loads(capsys.readouterr().out)] == [x.name for x in BOARDS]
