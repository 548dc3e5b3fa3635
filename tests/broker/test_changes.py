"""What an operator may change while a task is at work: task update, model rollback; and why not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_broker import verify
from fedling_broker.rounds.events import Decision
from fedling_broker.rounds.hindrance import hindrance
from fedling_broker.rounds.synchronous import Synchronous
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_broker.tasks import changes
from fedling_broker.tasks.task_file import parse_task
from fedling_protocol.exits import Exit
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.messages import Verdict
from tests.broker.conftest import Here
from tests.support.hand_aggregator import HandAggregator, task_text
from tests.support.rounds_on_disk import KEYS, TEXT, TOPICS, accept, open_round, run_round

ROOT = SigningKey(b"R" * 32)
IDS = [device_id(key.public) for key in KEYS]


def write(text: str, *changed: tuple[str, str]) -> str:
    """A task file with these changes; its path."""
    for old, new in changed:
        assert old in text
        text = text.replace(old, new)
    Path("new.toml").write_text(text)
    return "new.toml"


# --- task update ---------------------------------------------------------------------------------


def test_update_changes_what_needs_no_model(here: Here) -> None:
    here.add_task()
    path = write(TEXT, ("goal = 3", "goal = 2\npause_s = 9"), ("momentum = 0.5", "momentum = 0.25"))
    said = here.json("task", "update", "tiny", path)
    changed = ["cohort.goal 3 -> 2", "cohort.pause_s default -> 9", "server.momentum 0.5 -> 0.25"]
    assert said == {"task": "tiny", "changed": changed, "from_round": 1}
    assert here("task", "show", "tiny") == Path("new.toml").read_text()
    assert "says what is so already" in here("task", "update", "tiny", path)
    here("round", "verify", "--all")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("layers = [5, 2]", "layers = [6, 2]", "model.layers [5, 2] -> [6, 2]"),
        (
            'labels = ["up", "down"]',
            'labels = ["down", "up"]',
            "task.labels ['up', 'down'] -> ['down', 'up']",
        ),
        ("stride = 4", "stride = 2", "task.stride 4 -> 2"),
        ('name = "tiny"', 'name = "other"', "task.name 'tiny' -> 'other'"),
    ],
)
def test_update_says_why_not_and_what_to_do(here: Here, old: str, new: str, named: str) -> None:
    here.add_task()
    said = here("task", "update", "tiny", write(TEXT, (old, new)), code=Exit.FAILED)
    assert named in said
    assert "fedling-broker task remove tiny" in said
    assert here("task", "show", "tiny") == TEXT


def test_update_of_nothing_and_with_nonsense(here: Here) -> None:
    assert "task add" in here("task", "update", "tiny", write(TEXT), code=Exit.NOT_FOUND)
    here.add_task()
    here("task", "update", "tiny", write(TEXT, ("goal = 3", "goal = 0")), code=Exit.BAD_CONFIG)
    here("task", "update", "tiny", "none.toml", code=Exit.NOT_FOUND)


def test_update_keeps_a_sum_within_its_bits(here: Here) -> None:
    """In the open round devices still count as they were asked."""
    here.add_task()
    store = here.store()
    open_round(store, 1)
    store.close()
    small = ("[cohort]", "weight_cap = 1\n[cohort]")
    path = write(TEXT.replace("[server]\nmomentum = 0.5\n", ""), small, ("= 3", "= 100000000"))
    assert "at most 1073741" in here("task", "update", "tiny", path, code=Exit.FAILED)


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    yield aggregator
    aggregator.store.close()


def update(aggregator: HandAggregator, *changed: tuple[str, str], goal: int = 2) -> None:
    """As the verb does: in a process of its own."""
    text = task_text(rounds=5, goal=goal)
    for old, new in changed:
        assert old in text
        text = text.replace(old, new)
    other = Store(aggregator.directory)
    changes.apply(other, "tiny", parse_task(text, "tiny"), text)
    other.close()
    aggregator.clock.move(2.0)


def test_how_devices_train_changes_with_the_next_round(aggregator: HandAggregator) -> None:
    """Two devices in one round must not be asked two things; also after a restart."""
    aggregator.add_task(rounds=5)
    aggregator.enrol(1, 2)
    aggregator.connect()
    plan = aggregator.plan
    aggregator.accepted(1, plan)
    update(aggregator, ("learning_rate = 0.1", "learning_rate = 0.01"))
    for _ in range(2):
        again = aggregator.plan
        assert (again.plan_id, again.training) == (plan.plan_id, plan.training)
        aggregator.start()
        aggregator.connect()
    aggregator.accepted(2, plan)
    assert aggregator.plan.round == 2
    assert aggregator.plan.training == replace(plan.training, lr_q24=167_772)
    (fold,) = aggregator.store.models.folds("tiny")
    assert fold.weight == 14


def test_who_takes_part_changes_at_once(aggregator: HandAggregator) -> None:
    aggregator.add_task(goal=3, rounds=5)
    aggregator.enrol(1, 2)
    aggregator.connect()
    for number in (1, 2):
        aggregator.accepted(number, aggregator.plan)
    assert aggregator.plan.round == 1
    update(aggregator, goal=2)
    assert aggregator.plan.round == 2


# --- model rollback ------------------------------------------------------------------------------


def test_rollback_makes_history_go_on_from_an_old_model(here: Here) -> None:
    here.add_task()
    store = here.store()
    run_round(store, 1)
    run_round(store, 2)
    old = store.models.rows("tiny")[1]
    said = here.json("model", "rollback", "tiny", "2")
    assert said == {"task": "tiny", "version": 4, "back_to": 2, "undo": 3, "dropped": 0}
    newest = store.models.newest("tiny")
    assert (newest.version, newest.model_hash, newest.exponents) == (
        4,
        old.model_hash,
        old.exponents,
    )
    store.tidy()
    run_round(store, 4)  # the rollback stands where round 3 would be
    here("model", "rollback", "tiny", "4")
    here("model", "rollback", "tiny", "5")
    listed = here.json("model", "list", "tiny")
    assert [row["back_to"] for row in listed] == [None, None, None, 2, None, 4, 5]
    said = here.json("round", "verify", "tiny")
    assert said["faults"] == 0
    assert [row["from"] for row in said["models"]] == [
        "seed", "sum", "sum", "model 2", "sum", "model 4", "model 5",
    ]  # fmt: skip
    here("model", "rollback", "tiny", "99", code=Exit.NOT_FOUND)
    store.models.weights.path(old.model_hash).write_bytes(b"damaged")
    here("model", "rollback", "tiny", "2", code=Exit.FAILED)
    store.close()
    here("round", "verify", "tiny", code=Exit.FAILED)


def test_a_forged_rollback_is_found(here: Here) -> None:
    here.add_task()
    store = here.store()
    run_round(store, 1)
    here("model", "rollback", "tiny", "1")
    with store.database.transaction("a forgery") as connection:
        sql = "UPDATE journal SET parameters = '{\"version\": 2}' WHERE round = 2"
        connection.execute(sql)
    store.close()
    said = json.loads(here("round", "verify", "tiny", "--json", code=Exit.FAILED))
    assert [bool(row["fault"]) for row in said["models"]] == [False, False, True]


def roll_back(aggregator: HandAggregator, version: int) -> None:
    """As the verb does: in a process of its own."""
    other = Store(aggregator.directory)
    spec = parse_task(other.tasks.rows()[0].text, "tiny").spec
    other.roll_back(spec, version)
    other.close()
    aggregator.clock.move(2.0)


def test_rollback_under_an_open_round_ends_it_without_a_sum(aggregator: HandAggregator) -> None:
    aggregator.add_task(rounds=9)
    aggregator.enrol(1, 2)
    aggregator.connect()
    for number in (1, 2):
        aggregator.accepted(number, aggregator.plan)
    plan = aggregator.plan
    aggregator.accepted(1, plan)
    roll_back(aggregator, 1)
    after = aggregator.plan
    assert (after.round, after.base_version) == (3, 3)
    assert after.base_hash == aggregator.store.models.rows("tiny")[0].model_hash
    assert after.moment > plan.moment
    aggregator.update(2, plan)
    aggregator.settle()
    assert aggregator.receipts[-1].verdict is Verdict.LATE
    for number in (1, 2):
        aggregator.accepted(number, after)
    aggregator.store.tidy()
    task = parse_task(aggregator.store.tasks.rows()[0].text, "tiny")
    assert [c.fault for c in verify.verify(aggregator.store, task, b"s" * 32)] == [""] * 4


def test_rollback_while_a_round_is_folded(aggregator: HandAggregator) -> None:
    """What was being made is not entered."""
    aggregator.add_task(rounds=9)
    aggregator.enrol(1, 2)
    aggregator.connect()
    aggregator.compute.waits = True
    for number in (1, 2):
        aggregator.accepted(number, aggregator.plan)
    roll_back(aggregator, 1)
    aggregator.compute.waits = False
    aggregator.compute.go()
    aggregator.clock.move(5.0)
    assert [fold.back_to for fold in aggregator.store.models.folds("tiny")] == [1]
    assert (aggregator.plan.round, aggregator.plan.base_version) == (2, 2)


# --- rounds that cannot end ----------------------------------------------------------------------


def decision(verdict: Verdict) -> Decision:
    return Decision(b"h" * 32, verdict, "")


def test_hindrance_of_a_goal_above_the_fleet() -> None:
    policy = Synchronous(goal=3, minimum=1)
    assert hindrance(policy, {}, {"a", "b", "c"}) == ""
    assert hindrance(policy, {}, {"a", "b"}) == (
        "needs 3 updates, has 0, and 2 devices can send one"
    )
    accepted, refused = decision(Verdict.ACCEPTED), decision(Verdict.REFUSED)
    assert hindrance(policy, {"a": accepted}, {"b", "c"}) == ""  # a was revoked, its update counts
    assert "has 1, and 1 devices" in hindrance(policy, {"a": accepted, "b": refused}, {"b", "c"})
    late = replace(policy, deadline_ms=1000)
    assert hindrance(late, {}, {"a"}) == ""  # it ends at its deadline
    assert hindrance(late, {}, ()) != ""


def test_hindrance_of_a_named_cohort_with_a_removed_device() -> None:
    policy = Synchronous(goal=2, minimum=1, members=frozenset({"a", "b"}))
    assert hindrance(policy, {}, {"a", "b", "c"}) == ""
    assert hindrance(policy, {}, {"a", "c"}).endswith("1 devices can send one; not enrolled: b")


def test_task_list_and_round_list_say_why_a_round_cannot_end(here: Here) -> None:
    here.add_task()
    store = here.store()
    open_round(store, 1)
    why = "round 1 of tiny cannot end: needs 3 updates, has 0, and 0 devices can send one"
    for words in (("task", "list"), ("round", "list")):
        assert here.json(*words)[0]["hindrance"] == why
        said = here(*words)
        assert why in said
        assert "fedling-broker task update" in said
        assert max(map(len, said.splitlines())) <= 80
    (text,) = [row.text for row in store.tasks.rows()]
    assert text == TEXT
    devices = Devices(store.database, TOPICS)
    for device, key in zip(IDS, KEYS, strict=True):
        devices.certify(device, key.public, ROOT)
    assert here.json("task", "list")[0]["hindrance"] is None
    plan = store.rounds.unfolded("tiny")
    assert plan is not None
    accept(store, plan, 0, 1, 1)
    devices.revoke(IDS[0], ROOT)  # it was accepted before
    assert here.json("task", "list")[0]["hindrance"] is None
    devices.revoke(IDS[1], ROOT)
    assert here.json("task", "list")[0]["hindrance"] is not None
    store.close()
