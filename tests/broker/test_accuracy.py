"""How good a model is, as the commands show it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fedling_broker.commands import accuracy
from fedling_broker.store.store import Store
from fedling_protocol.wire.messages import Hits
from tests.broker.conftest import Here
from tests.support.rounds_on_disk import accept, make_store, open_round, run_round

FIRST = ((Hits(4, 2), Hits(4, 3)), None, (Hits(0, 0), Hits(10, 10)))
SECOND = ((Hits(2, 2), Hits(2, 1)), (Hits(2, 2), Hits(2, 2)), (Hits(4000, 0), Hits(96, 0)))


@pytest.fixture
def store(here: Here) -> Iterator[Store]:
    here.add_task()
    store = here.store()
    yield store
    store.close()


def rows(found: object) -> Sequence[dict[str, object]]:
    assert isinstance(found, list)
    return found


def test_nothing_is_shown_where_nobody_tests(store: Store, here: Here) -> None:
    run_round(store, 1)
    assert [row["accuracy"] for row in rows(here.json("round", "list"))] == [None]
    assert [row["accuracy"] for row in rows(here.json("model", "list", "tiny"))] == [None, None]
    assert [row["accuracy"] for row in rows(here.json("task", "list"))] == [None]
    assert "kept out" not in here("round", "show", "tiny", "1")


def test_a_round_shows_what_its_devices_say_of_the_base(store: Store, here: Here) -> None:
    run_round(store, 1, tests=FIRST)
    text = here("round", "show", "tiny", "1")
    assert (
        "model 1: 83 % of 18 windows that 2 devices kept out of training (up 50 %, down 93 %)"
    ) in text
    shown = here.json("round", "show", "tiny", "1")
    assert isinstance(shown, dict)
    assert shown["accuracy"] == {
        "version": 1,
        "devices": 2,
        "windows": 18,
        "right": 15,
        "labels": {"up": {"windows": 4, "right": 2}, "down": {"windows": 14, "right": 13}},
    }
    assert sorted(one["tested"]["right"] for one in shown["decisions"] if one["tested"]) == [5, 10]
    (row,) = rows(here.json("round", "list"))
    assert row["accuracy"] == {"version": 1, "devices": 2, "windows": 18, "right": 15}


def test_a_model_shows_its_newest_test(store: Store, here: Here) -> None:
    run_round(store, 1, tests=FIRST)
    run_round(store, 2, tests=SECOND)
    # A device that claims 4,096 windows counts for twice the middle one.
    expected = {"version": 2, "devices": 3, "windows": 16, "right": 7}
    models = {row["version"]: row["accuracy"] for row in rows(here.json("model", "list", "tiny"))}
    assert models[2] == expected
    assert models[3] is None
    (task,) = rows(here.json("task", "list"))
    assert (task["model"], task["accuracy"]) == (3, expected)
    assert "44 % (model 2)" in here("task", "list")
    plan = open_round(store, 3)
    assert rows(here.json("task", "list"))[0]["accuracy"] == expected
    accept(store, plan, 0, 1, 10, (Hits(3, 3), Hits(1, 1)))  # the open round tells at once
    (task,) = rows(here.json("task", "list"))
    assert task["accuracy"] == {"version": 3, "devices": 1, "windows": 4, "right": 4}


def test_versions_that_are_not_shown_are_not_looked_for(store: Store) -> None:
    for number in range(1, 4):
        run_round(store, number, tests=FIRST)
    plans = store.rounds.plans("tiny")
    found = accuracy.of_versions(store, "tiny", plans, {2, 4})
    assert list(found) == [2]
    assert found[2] == accuracy.of_round(store, "tiny", plans[1])


def test_tests_change_no_model_and_no_verification(
    store: Store, tmp_path: Path, here: Here
) -> None:
    made = []
    for number, tests in enumerate((FIRST, (None,) * 3)):
        other = make_store(tmp_path / str(number))
        run_round(other, 1, tests=tests)
        made.append(other.models.newest("tiny").model_hash)
        other.close()
    assert made[0] == made[1]
    run_round(store, 1, tests=FIRST, keep=True)
    assert "0 faults" in here("round", "verify", "--all")


def test_of_many_labels_the_worst_are_named() -> None:
    hits = tuple(Hits(10, min(10, number)) for number in range(30))
    found = accuracy.Accuracy(7, hits, 1)
    words = found.sentence([f"l{number}" for number in range(30)])
    assert "(l0 0 %, l1 10 %, " in words
    assert words.endswith("18 more labels)")


def test_lists_have_the_column_where_somebody_tests_and_fit_a_line(
    store: Store, here: Here
) -> None:
    lists = (("round", "list"), ("model", "list", "tiny"), ("task", "list"))
    run_round(store, 1)
    assert all("accuracy" not in here(*words) for words in lists)
    run_round(store, 2, tests=FIRST)
    for words in lists:
        said = here(*words)
        assert "accuracy" in said
        assert "83 %" in said
        assert max(map(len, said.splitlines())) <= 80
