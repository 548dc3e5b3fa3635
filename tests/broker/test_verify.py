"""`round verify` against stores in which one thing was changed."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fedling_broker.aggregation import changes, fixed, initial
from fedling_broker.aggregation.state import ServerState
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import parse_task
from fedling_broker.verify import Check, verify
from fedling_native import Layer, Loss
from tests.support.rounds_on_disk import SEED, TASK, TEXT, make_store, run_round

KEPT = 3  # the round whose updates were kept


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with five rounds."""
    directory = tmp_path_factory.mktemp("sound")
    store = make_store(directory)
    for number in range(1, 6):
        run_round(store, number, keep=number == KEPT)
    store.tidy()
    store.close()
    return directory


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copytree(sound, tmp_path / "copy")
    store = Store(tmp_path / "copy")
    yield store
    store.close()


def checks(store: Store) -> list[Check]:
    return list(verify(store, TASK, SEED))


def faults(store: Store) -> dict[tuple[int, int], str]:
    return {(c.round, c.version): c.fault for c in checks(store) if c.fault}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def execute(store: Store, statement: str) -> None:
    with store.database.transaction("a change") as connection:
        assert connection.execute(statement).rowcount > 0


def test_verify_recomputes_every_published_model(store: Store) -> None:
    found = checks(store)
    assert [(c.round, c.version, c.fault) for c in found] == [(k, k + 1, "") for k in range(6)]
    assert [c.model_hash for c in found] == [m.model_hash for m in store.models.rows("tiny")]
    assert [c.round for c in found if c.updates] == [KEPT]


def test_verify_of_another_seed_names_the_first_model(store: Store) -> None:
    found = list(verify(store, TASK, b"another seed".ljust(32)))
    assert found[0].fault == "another model was published"


def on_another_grid(
    draw: Callable[..., ServerState],
    grid: initial.Grid,
    layers: tuple[Layer, ...],
    seed: bytes,
    loss: Loss,
    _: initial.Grid,
) -> ServerState:
    """As a release did that had it."""
    return draw(layers, seed, loss, grid)


@pytest.mark.parametrize("grid", [None, fixed.on_weight_grid, initial.exactly])
def test_verify_draws_a_first_model_on_the_grid_of_its_release(
    grid: initial.Grid | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TEXT + "[compression]\ntarget_bytes = 64\n"
    task = parse_task(text, "tiny.toml")
    assert task.optimiser.on_grid
    Store.create(tmp_path)
    store = Store(tmp_path)
    if grid is not None:
        draw = partial(on_another_grid, initial.initial_state, grid)
        monkeypatch.setattr(initial, "initial_state", draw)
    store.add_task(task, text, SEED)
    monkeypatch.undo()
    weights = store.models.bytes_of(store.models.newest("tiny"), task.spec)
    assert (changes.whole(task.spec.layers, weights) is None) == (grid is initial.exactly)
    assert [(c.round, c.fault) for c in verify(store, task, SEED)] == [(0, "")]
    found = list(verify(store, task, b"another seed".ljust(32)))
    assert [c.fault for c in found] == ["another model was published"]
    store.close()


def test_verify_names_the_round_of_a_flipped_model_and_no_other(store: Store) -> None:
    flip(store.models.weights.path(store.models.folds("tiny")[1].model_hash))
    assert faults(store).keys() == {(2, 3)}


def test_verify_after_a_lost_sum_says_what_cannot_be_told(store: Store) -> None:
    flip(store.models.sums.path(store.models.folds("tiny")[2].sum_hash))
    found = faults(store)
    assert found.keys() == {(3, 4), (4, 5), (5, 6)}
    assert "another hash" in found[3, 4]
    assert found[4, 5] == found[5, 6] == "cannot be recomputed: round 3 is damaged"


def test_verify_finds_a_lost_update_that_was_kept(store: Store) -> None:
    plan = store.rounds.plans("tiny")[KEPT - 1]
    store.rounds.erase_log(plan.plan_id)
    found = faults(store)
    assert found.keys() == {(KEPT, KEPT + 1)}
    assert "is missing" in found[KEPT, KEPT + 1]


def test_verify_finds_a_lost_state_that_the_next_round_needs(store: Store) -> None:
    flip(store.models.states.path(store.models.newest_state("tiny")))
    assert faults(store).keys() == {(5, 6)}


@pytest.mark.parametrize(
    ("statement", "where", "words"),
    [
        ("UPDATE journal SET weight = weight + 1 WHERE round = 2", (2, 3), "weights"),
        (
            "UPDATE journal SET parameters = '{\"momentum_q8\":1}' WHERE round = 2",
            (2, 3),
            "another",
        ),
        ("UPDATE journal SET optimiser = 'fedavg' WHERE round = 2", (2, 3), "fedavg has the param"),
        ("UPDATE journal SET state_form = 1 WHERE round = 2", (2, 3), "another state"),
        ("UPDATE newest SET state_hash = zeroblob(32)", (5, 6), "next round would begin"),
        ("UPDATE journal SET model_hash = zeroblob(32) WHERE round = 4", (4, 5), "journal names"),
        ("UPDATE models SET exponents = x'f8f8' WHERE version = 3", (2, 3), "another"),
        ("UPDATE plans SET base_hash = zeroblob(32) WHERE round = 4", (4, 5), "base"),
        ("UPDATE plans SET folded = 0 WHERE round = 5", (5, 6), "never closed"),
        ("DELETE FROM journal WHERE round = 5", (0, 6), "no round in the journal"),
        ("DELETE FROM models WHERE version = 6", (5, 6), "missing"),
        ("UPDATE decisions SET weight = 1 WHERE weight = 11", (1, 2), "weights"),
    ],
)
def test_verify_finds_a_changed_fact(
    store: Store, statement: str, where: tuple[int, int], words: str
) -> None:
    execute(store, statement)
    found = faults(store)
    assert where in found
    assert words in found[where]


def test_verify_finds_an_update_that_was_exchanged(store: Store) -> None:
    """Sound files, the right weights, but one update counted twice: only the sum can tell."""
    plan = store.rounds.plans("tiny")[KEPT - 1]
    first, second, _ = store.rounds.decisions("tiny", plan.plan_id)
    with store.database.transaction("a change") as connection:
        connection.execute(
            "UPDATE decisions SET update_hash = ?, first = ? WHERE update_hash = ?",
            (first.update_hash, first.first, second.update_hash),
        )
    assert "another sum" in faults(store)[KEPT, KEPT + 1]
