from pathlib import Path

import pytest

from fedling_broker.aggregation.optimisers import Setup, leaps_of
from fedling_broker.rounds.state import Rules
from fedling_broker.rounds.synchronous import Synchronous
from fedling_broker.tasks.cost import cost_of
from fedling_broker.tasks.task_file import load_task, parse_task
from fedling_native import Loss, dense, parameter_counts, weights_size
from fedling_protocol.disk.errors import Missing
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.messages import Conditions, Training

EXAMPLES = Path(__file__).parents[3] / "examples" / "watch"
SMALL = """
[task]
name = "tiny"
stream = "wrist"
window = 4
stride = 2
channels = 2
labels = ["up", "down"]
[model]
layers = [5, 2]
[training]
epochs = 3
batch = 16
learning_rate = 0.05
[cohort]
goal = 10
"""
A, B = "a" * 16, "b" * 16


def changed(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


def test_parse_task_gives_what_the_wire_wants() -> None:
    task = parse_task(SMALL, "tiny.toml")
    assert task.name == "tiny"
    assert task.spec.layers == (dense(8, 5, relu=True), dense(5, 2))
    assert task.spec.loss is Loss.SOFTMAX
    assert task.training == Training(3, 16, 838_861, 1, 1000, 0, 3000, 0, 0, 0, 0, 1)
    assert task.conditions == Conditions(mains=False, battery=40, temperature=75)
    assert (task.cohort, task.optimiser) == (None, Setup("fedavg", {}))
    assert task.rules == Rules(
        Synchronous(goal=10, minimum=1, over_selection=300), rounds=0, pause_s=3600
    )


@pytest.mark.parametrize(
    ("rounds", "given", "wanted"), [(0, None, 1), (40, None, 0), (0, 0, 0), (0, 9, 9), (40, 2, 2)]
)
def test_a_task_without_an_end_wants_new_examples_unless_it_says_otherwise(
    rounds: int, given: int | None, wanted: int
) -> None:
    text = SMALL.replace("[model]", f"rounds = {rounds}\n[model]")
    if given is not None:
        text = text.replace("[training]", f"[training]\nnew_examples = {given}")
    assert parse_task(text, "tiny.toml").training.new_examples == wanted


def test_parse_task_with_a_named_cohort() -> None:
    text = changed("goal = 10", f'goal = 2\ndevices = ["{A}", "{B}"]\ndeadline_s = 30')
    task = parse_task(text, "tiny.toml")
    assert task.cohort == (A, B)
    assert isinstance(task.rules.policy, Synchronous)
    assert task.rules.policy.members == frozenset({A, B})
    assert task.rules.policy.deadline_ms == 30_000


def test_parse_task_with_all_that_training_can() -> None:
    more = "momentum = 0.9\nclip_norm = 1.5\nfrozen_layers = 1\nproximal = 0.01"
    training = parse_task(changed("epochs = 3", f"epochs = 3\n{more}"), "tiny.toml").training
    assert (training.momentum, training.clip_q16) == (230, 3 << 15)
    assert (training.frozen, training.proximal_q16) == (1, 655)


@pytest.mark.parametrize(
    ("layers", "table", "target"),
    [
        ([5, 2], "", None),  # 57 parameters: 128 bytes
        ([100, 2], "", 256),  # 1,102
        ([1000, 2], "", 344),  # 11,002 / 4 / 8, rounded up
        ([1000, 2], "bits = 2", 2751),
        ([1000, 2], "bits = 0.02", 28),
        ([5, 2], "bits = 0.02", 12),
        ([1000, 2], "bits = 16", 22_004),
        ([1000, 2], "target_bytes = 24_007", 24_007),
        ([1000, 2], "target_bytes = 24_008", None),  # 10,000 * 2 + 1,002 * 4: as it is
        ([1000, 2], "off = true", None),
    ],
)
def test_how_small_an_update_is_made(layers: list[int], table: str, target: int | None) -> None:
    text = changed("layers = [5, 2]", f"layers = {layers}") + f"[compression]\n{table}\n"
    task = parse_task(text, "tiny.toml")
    assert task.target == target
    leaps = leaps_of(target, sum(parameter_counts(task.spec.layers)))
    assert task.optimiser.on_grid == (leaps is not None)
    assert leaps is None or task.optimiser.leaps == leaps
    assert cost_of(task).update == (weights_size(task.spec.layers) if target is None else target)


@pytest.mark.parametrize(
    "keys",
    ["bits = 1\ntarget_bytes = 300", "bits = 1\noff = true", "target_bytes = 30\noff = true"],
)
def test_an_update_is_made_small_in_one_way(keys: str) -> None:
    with pytest.raises(SettingsError, match="bits, target_bytes, off: allowed: one of them"):
        parse_task(SMALL + f"[compression]\n{keys}\n", "tiny.toml")


def test_labels_are_told_devices_in_the_form_in_which_they_store_them() -> None:
    task = parse_task(changed('["up", "down"]', '[" up", "cafe\u0301"]'), "t.toml")
    assert task.spec.labels == ("up", "caf\u00e9")


def test_parse_task_of_a_reconstruction_needs_no_labels() -> None:
    text = changed('labels = ["up", "down"]', "").replace(
        "[5, 2]", '[3, 8]\nloss = "reconstruction"'
    )
    spec = parse_task(text, "tiny.toml").spec
    assert (spec.labels, spec.loss) == ((), Loss.RECONSTRUCTION)
    assert spec.layers == (dense(8, 3, relu=True), dense(3, 8))


def test_parse_task_leaves_the_simulation_to_the_simulator() -> None:
    parse_task(SMALL + '[simulation]\nanything = "goes"\n', "tiny.toml")


def test_load_task_of_the_example() -> None:
    task, text = load_task(EXAMPLES / "task.toml")
    assert text == (EXAMPLES / "task.toml").read_text()
    assert task.spec.layers == (dense(600, 64, relu=True), dense(64, 7))
    assert 0 < task.optimiser.parameters["momentum_q8"] < 256


def test_load_task_of_the_convolutional_example() -> None:
    task, _ = load_task(EXAMPLES / "cnn.toml")
    assert [layer.out_shape for layer in task.spec.layers] == [
        *((1, 46, 16), (1, 21, 32), (1, 1, 32), (1, 1, 7))
    ]
    assert sum(parameter_counts(task.spec.layers)) == 3703


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"tiny"', '"state"', ["task.name", '"state"', "not"]),
        ('"tiny"', '"Tiny Task"', ["task.name", "a-z"]),
        ("window = 4", "window = 0", ["task.window = 0", "1 to 65535"]),
        ("window = 4", "window = 40000", ["[task]: window = 40000", "channels = 2: at most 32767"]),
        ("window = 4", "", ["task.window", "missing"]),
        ("[5, 2]", "[5, 3]", ["last layer gives 3", "loss softmax: 2, one for each label"]),
        ('["up", "down"]', '["up", "up"]', ["a label twice"]),
        ('["up", "down"]', '["up"]', ["task.labels", "2 to 256"]),
        ('["up", "down"]', '["up", "up "]', ["labels", "'up' and 'up '", "one label"]),
        ('["up", "down"]', '["caf\u00e9", "cafe\u0301"]', ["labels", "one label"]),
        ('["up", "down"]', '["up", " "]', ["labels", "printable texts of 1 to 64 bytes"]),
        ('["up", "down"]', '["up", "a\tb"]', ["labels", "printable texts of 1 to 64 bytes"]),
        ('["up", "down"]', f'["up", "{"x" * 65}"]', ["labels", "printable texts of 1 to 64"]),
        ("[5, 2]", "[]", ["model.layers", "1 to 16"]),
        ("[5, 2]", '[5, 2]\nloss = "hinge"', ["model.loss", '"hinge"', '"softmax"']),
        ("[5, 2]", '[5, 2]\nloss = "reconstruction"', ["last layer gives 2", "8, as many as"]),
        ("learning_rate = 0.05", "learning_rate = 0", ["training.learning_rate = 0"]),
        ("learning_rate = 0.05", "learning_rate = 17.0", ["17.0", "to 16"]),
        ("learning_rate = 0.05", 'learning_rate = "fast"', ['"fast"', "a number"]),
        ("batch = 16", "batch = 257", ["training.batch = 257", "1 to 256"]),
        ("epochs = 3", "epoch = 3", ["training.epoch", "did you mean epochs"]),
        ("epochs = 3", "epochs = 3\nmomentum = 1.0", ["training.momentum = 1.0", "0 to 0.996"]),
        ("epochs = 3", "epochs = 3\nclip_norm = 1e-6", ["training.clip_norm = 1e-06", "0, or"]),
        ("epochs = 3", "epochs = 3\nproximal = -1", ["training.proximal = -1", "0 to 65535"]),
        ("epochs = 3", "epochs = 3\nproximal = 20", ["learning rate * mu is 1 or more"]),
        ("epochs = 3", "epochs = 3\nfrozen_layers = 2", ["no layer is left to be trained"]),
        ("goal = 10", "goal = 0", ["cohort.goal = 0"]),
        ("goal = 10", "goal = 2\nminimum = 3", ["[cohort]", "minimum = 3", "at most goal = 2"]),
        ("goal = 10", f'goal = 2\ndevices = ["{A}"]', ["goal = 2", "1 named devices"]),
        ("goal = 10", 'goal = 1\ndevices = ["x"]', ["cohort.devices", "device ids"]),
        ("goal = 10", f'goal = 1\ndevices = ["{A}", "{A}"]', ["twice"]),
        ("goal = 10", "goal = 2000000", ["training.weight_cap = 1000", "at most 536"]),
        ("goal = 10", "goal = 10\n[conditions]\nbattery = 101", ["conditions.battery", "0 to 100"]),
        ("goal = 10", "goal = 10\n[server]\nmomentum = 1.0", ["server.momentum", "0 to 0.99"]),
        ("goal = 10", "goal = ", ["not TOML"]),
        ("goal = 10", f"goal = {'9' * 5000}", ["not TOML"]),
        ("goal = 10", "goal = " + "[" * 5000, ["not TOML"]),
    ],
)
def test_parse_task_names_file_key_value_and_what_is_allowed(
    old: str, new: str, words: list[str]
) -> None:
    with pytest.raises(SettingsError) as error:
        parse_task(changed(old, new), "tiny.toml")
    message = str(error.value)
    assert message.startswith("tiny.toml: ")
    assert [word for word in words if word not in message] == [], message


def test_the_weight_cap_is_checked_to_the_unit() -> None:
    parse_task(changed("epochs = 3", "epochs = 3\nweight_cap = 107374182"), "t")
    with pytest.raises(SettingsError, match="at most 107374182, so that a sum fits"):
        parse_task(changed("epochs = 3", "epochs = 3\nweight_cap = 107374183"), "t")


RECONSTRUCTION = """
[task]
name = "tiny"
stream = "wrist"
window = 4
stride = 4
channels = 2
[model]
layers = [5, 8]
loss = "reconstruction"
[training]
epochs = 1
batch = 4
learning_rate = 0.1
holdout = 0.2
[cohort]
goal = 3
"""


def test_a_file_may_hold_examples_out(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(changed("epochs = 3", "epochs = 3\nholdout = 0.2"))
    task, _ = load_task(file)
    assert (task.training.holdout, task.training.holdout_block) == (200, 3000)


def test_a_file_that_holds_out_what_tests_nothing_is_refused_and_a_stored_task_goes_on(
    tmp_path: Path,
) -> None:
    file = tmp_path / "tiny.toml"
    window = parse_task(changed("epochs = 3", "epochs = 3"), "t").spec.window
    short = changed("epochs = 3", f"epochs = 3\nholdout = 0.2\nholdout_block = {window - 1}")
    file.write_text(short)
    with pytest.raises(SettingsError, match=rf"holdout_block = {window - 1}: allowed: at least"):
        load_task(file)
    assert parse_task(short, "task tiny").training.holdout == 200
    file.write_text(RECONSTRUCTION)
    with pytest.raises(SettingsError, match=r"holdout = 0\.2: allowed with loss reconstruction: 0"):
        load_task(file)
    assert parse_task(RECONSTRUCTION, "task tiny").training.holdout == 200


def test_load_task_says_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"none\.toml: there is no such file"):
        load_task(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_task(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    ("goal", "spread", "found"),
    [
        (75, "", None),
        (77, "", 1),
        (1000, "", 13),
        (10_000, "", 60),
        (10_000, "spread_s = 0", None),
        (10, "spread_s = 5", 5),
    ],
)
def test_joins_are_spread_over_a_second_for_each_100_places(
    goal: int, spread: str, found: int | None
) -> None:
    text = changed("goal = 10", f"goal = {goal}\n{spread}")
    assert parse_task(text, "tiny.toml").spread_s == found
