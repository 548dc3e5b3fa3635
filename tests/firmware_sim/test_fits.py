"""`fedling-sim fits`: the answer, what to shrink, the exit codes."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedling_broker.tasks import task_file
from fedling_native import Loss, average_pool, conv, dense
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_sim import cli
from fedling_sim.board.boards import BOARDS
from fedling_sim.sizing import costs, energy
from fedling_sim.sizing.advice import Limits, advice
from fedling_sim.sizing.estimate import Plan, Round, instructions, plan
from fedling_sim.sizing.memory import Ram, ram
from fedling_sim.sizing.workload import Feature, Job

WATCH = Path(__file__).parents[2] / "examples/watch/task.toml"  # 600-64-7, batches of 10
CORE = "cortex-m4"
STACK = 1000  # bytes, in jobs of these tests
JOB = Job(
    (
        conv((1, 50, 3), 8, (1, 5), (1, 2), relu=True),
        average_pool((1, 23, 8)),
        dense(8, 20, relu=True),
        dense(20, 4),
    ),
    Loss.SOFTMAX,
    batch=10,
)


def fits(*arguments: str, task: Path = WATCH) -> int:
    return cli.main(["fits", str(task), "--board", CORE, *arguments])


def fits_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    fits("--json", *arguments)
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def planned(job: Job, examples: int = 10) -> Plan:
    return plan(job, CORE, costs.load(), Round(1, examples))


def ram_of(job: Job) -> Ram:
    return ram(job, costs.load().structs.part, STACK)


def told(job: Job, limits: Limits) -> list[str]:
    found = replace(planned(job), ram=ram_of(job))
    return list(advice(job, found, limits, ram_of))


# --- the command ----------------------------------------------------------------------------------


def test_fits_says_yes(capsys: pytest.CaptureFixture[str]) -> None:
    assert fits("--ram", "256k", "--flash", "1M") == Exit.OK
    output = capsys.readouterr().out
    assert "yes: it fits" in output
    assert "3 epochs of 20 examples (training.min_examples of the task)" in output
    assert "an assumption" in output
    assert "nRF52840" in output


@pytest.mark.parametrize("document", ["README.md", "docs/commands.md"])
def test_first_example_of_a_document_fits(
    document: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    text = (root / document).read_text()
    typed = re.findall(r"^ *fedling-sim (fits examples/.*)$", text, re.MULTILINE)
    assert typed
    for words in typed:
        assert cli.main(words.split()) == Exit.OK, capsys.readouterr().out


def test_small_net_of_the_watch_fits_in_64_kb(capsys: pytest.CaptureFixture[str]) -> None:
    task = WATCH.with_name("cnn.toml")
    assert fits("--ram", "64k", "--flash", "64k", "--batch", "10", task=task) == Exit.OK
    assert "yes: it fits" in capsys.readouterr().out


def test_fits_says_no_and_what_to_shrink(capsys: pytest.CaptureFixture[str]) -> None:
    assert fits("--ram", "64k", "--flash", "64k") == Exit.FAILED
    output = capsys.readouterr().out
    assert "no: flash:" in output
    assert "no: RAM:" in output
    assert "number 0, dense 600 to 64, with 77,056 bytes" in output


def test_json_has_all_parts(capsys: pytest.CaptureFixture[str]) -> None:
    answer = fits_json(capsys, "--ram", "256k", "--flash", "1M", "--examples", "125")
    assert answer["fits"] is True
    flash, used = answer["flash"], answer["ram"]
    assert flash["total"] == flash["code"] + flash["layers"] + flash["weights"]
    training = used["velocity"] + used["arena"]["total"] + used["batch"]
    most = max(training, used["update"], used["prediction"])
    assert used["total"] == used["state"] + most + used["stack"]
    assert answer["round"] == {"epochs": 3, "examples": 125, "examples_from": "--examples"}
    assert "FDL_WITHOUT_CONV" in answer["left_out"]
    energy_told = answer["energy"]
    joules = answer["instructions"]["round"] * energy_told["instruction_picojoules"] * 1e-12
    assert energy_told["round_joules"] == pytest.approx(joules)


def test_batch_of_the_command_line_counts(capsys: pytest.CaptureFixture[str]) -> None:
    small = fits_json(capsys, "--ram", "256k", "--flash", "1M", "--batch", "1")
    large = fits_json(capsys, "--ram", "256k", "--flash", "1M", "--batch", "100")
    assert (small["batch"], large["batch"]) == (1, 100)
    assert small["ram"]["total"] < large["ram"]["total"]


def test_unknown_board_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["fits", str(WATCH), "--board", "z80", "--ram", "64k", "--flash", "256k"])
    assert ended.value.code == Exit.USAGE
    errors = capsys.readouterr().err
    assert all(board.name in errors and board.core in errors for board in BOARDS)


@pytest.mark.parametrize("size", ["0", "64kb", "-1", "1.5k", ""])
def test_size_that_is_none_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fits(f"--ram={size}", "--flash", "256k")
    assert ended.value.code == Exit.USAGE
    assert "as in 65536, 64k or 1M" in capsys.readouterr().err


def test_batch_that_the_kernel_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = tmp_path / "wide.toml"
    layers = "layers = [{ conv = 1, kernel = 2 }, 7]"
    text = WATCH.read_text().replace("layers = [64, 7]", layers)
    wide.write_text(text.replace("window = 100", "window = 2000"))
    assert fits("--ram", "64k", "--flash", "64k", "--batch", "256", task=wide) == Exit.USAGE
    assert "--batch 256: batch * positions" in capsys.readouterr().err


def test_task_file_errors_are_those_of_the_broker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(WATCH.read_text().replace("epochs = 3", "epochs = 0"))
    with pytest.raises(SettingsError) as refused:
        task_file.load_task(wrong)
    assert fits("--ram", "64k", "--flash", "64k", task=wrong) == Exit.BAD_CONFIG
    assert str(refused.value) in capsys.readouterr().err


# --- what to shrink -------------------------------------------------------------------------------


def test_nothing_is_told_where_all_fits() -> None:
    found = planned(JOB)
    assert told(JOB, Limits(found.flash.total, ram_of(JOB).total)) == []


def test_largest_batch_that_fits_is_told() -> None:
    limit = ram_of(replace(JOB, batch=6)).total
    (line,) = told(JOB, Limits(1 << 20, limit))
    over = ram_of(JOB).total - limit
    assert line == f"RAM: {over:,} bytes too many; a batch of 6 instead of 10 fits"


def test_largest_layer_is_told_where_no_batch_fits() -> None:
    limit = ram_of(replace(JOB, batch=1)).total - 1
    (line,) = told(JOB, Limits(1 << 20, limit))
    assert "1 with a batch of 1" in line
    assert "number 2, dense 8 to 20, with 400 bytes" in line


def test_velocity_is_told_where_it_is_what_does_not_fit() -> None:
    job = replace(JOB, batch=1, momentum=True)
    limit = ram_of(replace(job, momentum=False)).total
    (line,) = told(job, Limits(1 << 20, limit))
    assert line.endswith("without momentum it fits")


def test_code_is_told_where_it_is_largest() -> None:
    found = planned(JOB)
    (line,) = told(JOB, Limits(found.flash.total - 5, 1 << 20))
    assert line == f"flash: 5 bytes too many; the largest part is code, {found.flash.code:,} bytes"


# --- numbers --------------------------------------------------------------------------------------


def test_round_counts_the_smaller_last_batch() -> None:
    core = costs.load().cores[CORE]
    found = plan(JOB, CORE, costs.load(), Round(3, 25))
    rest = instructions(replace(JOB, batch=5), core)
    assert found.round_instructions == 3 * (2 * instructions(JOB, core) + rest)


def test_features_are_what_a_job_uses() -> None:
    assert JOB.features == {Feature.CONV, Feature.POOLS, Feature.BATCH, Feature.ODD_ROWS}
    assert "FDL_WITHOUT_CLIP" in JOB.left_out
    assert "FDL_WITHOUT_POOLS" not in JOB.left_out
    plain = Job((dense(4, 2),), Loss.SIGMOID)
    assert plain.features == {Feature.SIGMOID}


def test_costs_and_energy_are_of_known_cores() -> None:
    cores = {board.core for board in BOARDS}
    assert set(costs.load().cores) <= cores
    assert set(energy.ASSUMPTIONS) == cores


def test_core_without_costs_is_named() -> None:
    with pytest.raises(costs.CostsMissing, match="cortex-m9: no costs were measured"):
        plan(JOB, "cortex-m9", costs.load(), Round(1, 1))
