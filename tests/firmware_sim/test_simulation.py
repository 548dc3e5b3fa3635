"""A scenario is the task file, what the command line says instead, and what follows from a seed."""

from pathlib import Path

import pytest

from fedling_protocol.settings import SettingsError
from fedling_sim.simulation import check_able, for_devices, load
from tests.support import small_task


def test_load_takes_what_the_command_line_says(tmp_path: Path) -> None:
    path = small_task.write(tmp_path, rounds=3)
    scenario = load(path, seed=5, rounds=9)
    assert (scenario.seed, scenario.task.rules.rounds) == (5, 9)
    assert scenario.simulation.data == tmp_path / "data"
    assert "simulation" not in scenario.task_text


def test_secret_follows_from_the_seed_and_the_name(tmp_path: Path) -> None:
    path = small_task.write(tmp_path)
    one, same, other = load(path, seed=1), load(path, seed=1), load(path, seed=2)
    assert one.secret("a", 1) == same.secret("a", 1)
    assert len({one.secret("a", 1), one.secret("a", 2), other.secret("a", 1)}) == 3


def test_for_devices_shrinks_the_cohort(tmp_path: Path) -> None:
    scenario = load(small_task.write(tmp_path, goal=4))
    assert for_devices(scenario, 3, 5).task.rules.policy.goal == 2
    assert for_devices(scenario, 5, 5) is scenario


def test_check_able_refuses_rounds_that_would_never_end(tmp_path: Path) -> None:
    path = small_task.write(tmp_path, goal=4)  # min_examples is 1
    check_able(load(path), [9, 9, 9, 9, 0])
    with pytest.raises(SettingsError, match=r"3 devices have .* and cohort\.goal = 4: no round"):
        check_able(load(path), [9, 9, 9, 0, 0])
    path.write_text(path.read_text().replace("goal = 4", "goal = 4\nminimum = 3\ndeadline_s = 5"))
    check_able(load(path), [9, 9, 9, 0, 0])
    with pytest.raises(SettingsError, match=r"cohort\.minimum = 3"):
        check_able(load(path), [9, 9, 0])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[simulation]", "[similation]", r"task\.toml: similation: unknown key"),
        ("cut_s = [0.5, 1.5]", "cut_s = [3, 2]", r"\[simulation\.climate\]: cut_s: allowed"),
        ("training_s = 1.0", "training_s = -1", r"simulation\.training_s = -1: allowed"),
        ("channels = 2", "channels = 1", r"task\.channels = 1: .*stream\.toml has 2"),
        ('stream = "wrist"', 'stream = "ankle"', r"task\.stream = ankle: .*stream\.toml has wrist"),
        ("[training]", "[training]\nnew_examples = 1", r"training\.new_examples: allowed .*: 0"),
        ("rounds = 3", "rounds = 0", r"task\.rounds: a simulation has an end: say --rounds"),
    ],
)
def test_load_of_a_wrong_table_says_where(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = small_task.write(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SettingsError, match=said):
        load(path)


def test_load_refuses_what_it_cannot_test(tmp_path: Path) -> None:
    path = small_task.write(tmp_path, layers='[4, 20]\nloss = "reconstruction"')
    with pytest.raises(SettingsError, match=r"model\.loss: allowed in a simulation"):
        load(path)
