"""What commands do by themselves or ask the service for."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.conditions.owner import LONGEST_REASON, LONGEST_S
from fedling_agent.data.times import Interval
from fedling_agent.service import operations
from fedling_agent.service.control import Json
from fedling_agent.service.operations import Ingest, Which, check_pause
from fedling_agent.service.predict import Predictor
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import BadDatabase, BadInput, Missing
from fedling_protocol.runtime.slices import Slices, finish
from fedling_protocol.wire.messages import Verdict
from tests.support.device import SPEC, STREAM, TRAINING, csv_lines, make_device, make_model

STREAMS = {"wrist": STREAM}
HELD = replace(TRAINING, holdout=300, holdout_block=1000)


def test_pieces_of_one_input_go_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ingest = Ingest(STREAMS, "wrist", "csv")
    lines = csv_lines(2, 10)
    first = operations.told(ingest.feed(store, lines[:5], 5))
    assert {name: value for name, value in first.items() if value} == {"stored": 4}
    done = ingest.feed(store, [*lines[5:], "r1,up,1\n"], 5)
    assert (done.stored, done.refused) == (16, 1)
    assert done.changes.grown == tuple(r.key for r in reversed(store.recordings.newest("wrist")))
    assert operations.told(done)["errors"] == [[22, "3 columns, the header has 4"]]


def test_the_task_that_is_meant(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for task in ("", "watch"):
        with pytest.raises(Missing, match="no model yet"):
            operations.newest_model(store, task)
    with pytest.raises(Missing, match="no model yet of watch; tasks with a model here: none"):
        operations.newest_model(store, "watch")
    store.models.put(make_model())
    assert operations.newest_model(store, "").task == "watch"
    assert operations.windows(store, "") == {"task": "watch", "window": 10, "stream": "wrist"}
    store.models.put(make_model(spec=replace(SPEC, task="other")))
    with pytest.raises(BadInput, match="which task"):
        operations.newest_model(store, "")
    assert operations.newest_model(store, "other").task == "other"
    with pytest.raises(Missing, match="no model yet of x; tasks with a model here: other, watch"):
        operations.newest_model(store, "x")


def test_a_second_prediction_is_one_slice(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    predictor = Predictor(device.store)
    lines = ["x,y\n", *["0.5,0.1\n"] * 10]

    def ask() -> Slices[Json]:
        return operations.predict(device.store, predictor, STREAMS, "watch", lines, "csv")

    answer = finish(ask())
    assert list(ask()) == []
    assert finish(ask()) == answer
    assert answer["label"] in SPEC.labels
    assert "given" not in answer
    device.freeze()
    assert list(ask()) == []


@pytest.mark.parametrize(("last", "given"), [("up", "up"), ("down", None)])
def test_a_prediction_says_which_label_the_window_had(
    tmp_path: Path, last: str, given: str | None
) -> None:
    device = make_device(tmp_path)
    lines = ["label,x,y\n", *["up,0.5,0.1\n"] * 9, f"{last},0.5,0.1\n"]
    predictor = Predictor(device.store)
    answer = finish(operations.predict(device.store, predictor, STREAMS, "watch", lines, "csv"))
    assert answer["given"] == given


def test_forgetting_what_was_put_aside_needs_no_recording_of_that_name(tmp_path: Path) -> None:
    """It may be one that could not be saved."""
    make_device(tmp_path).store.close()
    error = BadDatabase("malformed")
    store = Store.begin_anew(tmp_path, None, 1_790_000_000, error)
    assert store.aside()
    with pytest.raises(Missing):
        operations.forget(store, "wrist", ["lost"], 1)
    assert store.aside() == []
    store.close()


@pytest.mark.parametrize("state", ["frozen", "spooled", "finished"])
def test_nothing_of_a_forgotten_recording_is_used_or_kept_whatever_it_was_for(
    tmp_path: Path, state: str
) -> None:
    """Of blocks as long as a recording each one trains or tests alone, or there is none of it."""
    tested = 0
    for number in range(12):
        device = make_device(tmp_path / str(number), training=HELD, recordings=12)
        store, plan_id, name = device.store, device.plan.plan_id, f"r{number}"
        job = device.freeze()
        (recording,) = (r for r in store.recordings.newest("wrist") if r.id == name)
        sample = store.recordings.samples(recording, 0, SPEC.window)
        tested += sample in job.tests()
        if state != "frozen":
            update = store.spool.put(plan_id, b"envelope", bytes(32)).update_hash
            if state == "finished":
                store.spool.end("watch", plan_id, update, Verdict.ACCEPTED, "", 1)
        assert bool(operations.rounds_on(store, "wrist", [name])) == (state != "finished")
        operations.forget(store, "wrist", [name], 2)
        assert store.plans.in_work() == []
        assert store.spool.entries() == []
        assert [path for path in files_of(store) if sample in path.read_bytes()] == []
        store.close()
    assert 0 < tested < 12


def files_of(store: Store) -> list[Path]:
    return [path for path in store.directory.rglob("*") if path.is_file()]


R = Interval(5, 6)


@pytest.mark.parametrize(
    ("which", "says"),
    [
        (Which("wrist", "r0"), None),
        (Which("wrist", "r0", 0), None),
        (Which("wrist", "r0", None, 5), None),
        (Which("wrist", None, None, None, R), None),
        (Which("wrist", "r0", None, None, R), None),
        (Which("wrist"), "which samples?"),
        (Which("wrist", None, 0), "which samples?"),
        (Which("wrist", None, None, 5, R), "which samples?"),
        (Which("wrist", "r0", 0, None, R), "not by both"),
        (Which("wrist", "r0", None, 5, R), "not by both"),
        (Which("wrist", None, None, None, Interval(6, 6)), "ends before it begins"),
        (Which("wrist", "r0", None, None, Interval(6, 5)), "ends before it begins"),
    ],
)
def test_samples_are_named_in_one_way(which: Which, says: str | None) -> None:
    if says is None:
        which.check()
    else:
        with pytest.raises(BadInput, match=says):
            which.check()


@pytest.mark.parametrize(
    ("lasts_s", "reason", "allowed"),
    [
        *((None, "", True), (1, "", True), (LONGEST_S, "guests", True)),
        *((0, "", False), (LONGEST_S + 1, "", False)),
        *((None, "x" * LONGEST_REASON, True), (None, "x" * (LONGEST_REASON + 1), False)),
        (None, "two\nlines", False),
    ],
)
def test_pause_has_a_length_and_a_reason_that_can_be_shown(
    lasts_s: int | None, reason: str, allowed: bool
) -> None:
    if allowed:
        check_pause(lasts_s, reason)
    else:
        with pytest.raises(BadInput, match="allowed: "):
            check_pause(lasts_s, reason)


@pytest.mark.parametrize(
    ("ages_ms", "counts"),
    [
        ((9000, 0), (10, 5, 1)),  # evenly between the first and the last line
        ((0, 0), (10, 10, 10)),
        ((9000, 9000), (10, 0, 0)),
        (None, (0, 0, 0)),  # of a file nobody knows
    ],
)
def test_samples_were_taken_as_long_ago_as_their_lines_came(
    tmp_path: Path, ages_ms: tuple[int, int] | None, counts: tuple[int, ...]
) -> None:
    store, now_ms = Store(tmp_path), 1_000_000
    Ingest(STREAMS, "wrist", "csv").feed(store, csv_lines(1, 10), now_ms, 5, ages_ms=ages_ms)
    found = []
    for begin_ms in (900_000, 995_500, 999_999):
        which = Which("wrist", interval=Interval(begin_ms, now_ms + 1))
        found.append(operations.label(store, which, "late", now_ms, 5).samples)
    assert tuple(found) == counts
    store.close()


def test_time_to_come_is_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for more, allowed in ((0, True), (1, False)):
        which = Which("wrist", interval=Interval(0, 1000 + 1000 * LONGEST_S + more))
        if allowed:
            assert operations.label(store, which, "late", 1000, 0).to_come
        else:
            with pytest.raises(BadInput, match="366 days from now"):
                operations.label(store, which, "late", 1000, 0)
    store.close()


def test_input_has_a_name_of_so_many_characters() -> None:
    request: Json = {"stream": "wrist", "form": "csv", "input": "x" * 64}
    Ingest.of_request(STREAMS, request)
    with pytest.raises(BadInput, match="input: allowed: 64 characters"):
        Ingest.of_request(STREAMS, request | {"input": "x" * 65})
