"""What commands hear of the running service, and that each request is answered once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.commands.status import _connection, _enrolled
from fedling_agent.service import desk
from fedling_agent.service.control import Json, Peer, RequestFailed
from fedling_agent.service.desk import Desk
from fedling_agent.store.recordings import Bounds
from fedling_agent.store.spells import Course
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.exits import Exit
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Role
from tests.support.device import FLEET, TRAINING, csv_lines
from tests.support.service import ONLINE, ROOT, TOPICS, HandService


class Counter:
    """Where a command asks."""

    def __init__(self, device: HandService) -> None:
        self.device = device
        self.desk = Desk(device.service)
        self.peer = Peer()

    def ask(self, **request: object) -> Json:
        """The one answer. Raises RequestFailed."""
        answers: list[Json | RequestFailed] = []
        self.desk.handle(request, self.peer, answers.append)
        self.device.settle(lambda: answers)
        (answer,) = answers
        if isinstance(answer, RequestFailed):
            raise answer
        return answer


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    device = HandService(tmp_path)
    yield Counter(device)
    device.close()


def test_verb_that_nobody_knows_is_refused(counter: Counter) -> None:
    with pytest.raises(RequestFailed, match="knows no 'dance'") as failed:
        counter.ask(do="dance")
    assert failed.value.code == Exit.FAILED


def test_what_is_not_there_is_answered_with_its_exit_code(counter: Counter) -> None:
    for request in ({"do": "windows"}, {"do": "predict", "lines": ["1,2"], "form": "csv"}):
        with pytest.raises(RequestFailed, match="no model yet") as failed:
            counter.ask(**request)
        assert failed.value.code == Exit.NOT_FOUND
    with pytest.raises(RequestFailed, match='no stream "ankle"') as failed:
        counter.ask(do="ingest", stream="ankle", form="csv", lines=[])
    assert failed.value.code == Exit.NOT_FOUND


@pytest.mark.parametrize("lines", [None, "text", [1, 2]])
def test_lines_that_are_no_texts_are_refused(counter: Counter, lines: object) -> None:
    with pytest.raises(RequestFailed, match="an array of texts"):
        counter.ask(do="ingest", stream="wrist", form="csv", lines=lines)


def test_ingest_answers_when_it_is_on_disk_and_goes_on(counter: Counter) -> None:
    lines = list(csv_lines(2))
    counter.device.disk.waits = True
    answers: list[Json | RequestFailed] = []
    request: Json = {"do": "ingest", "stream": "wrist", "form": "csv", "lines": lines[:11]}
    counter.desk.handle(request, counter.peer, answers.append)
    counter.device.settle()
    assert answers == []
    counter.device.disk.waits = False
    counter.device.disk.go()
    counter.device.settle()
    (first,) = answers
    assert isinstance(first, dict)
    assert (first["stored"], first["refused"], first["holes"]) == (10, 0, {"seams": 1})
    assert counter.ask(do="ingest", lines=["nonsense"])["refused"] == 1  # by the same header


def test_ingest_on_a_full_disk_is_answered_and_stops_the_rest(counter: Counter) -> None:
    counter.device.disk.broken = CannotWrite("a recording", "the disk is full")
    with pytest.raises(RequestFailed, match="the disk is full") as failed:
        counter.ask(do="ingest", stream="wrist", form="csv", lines=list(csv_lines(1)))
    assert failed.value.code == Exit.CANNOT_WRITE
    status = counter.ask(do="status")
    assert "the disk is full" in str(status["disk"])
    assert "tries again in 5 s" in str(status["doing"])


def test_conditions_are_of_a_reading_made_now(counter: Counter) -> None:
    counter.device.connect()
    counter.device.offer()
    answer = counter.ask(do="conditions")
    assert list(answer) == ["signals", "took_s", "own", "tasks"]
    own, tasks = answer["own"], answer["tasks"]
    assert isinstance(own, dict)
    assert isinstance(tasks, dict)
    assert own["train"] is True
    assert tasks["watch"]["train"] is True


# --- a device without a task -----


def test_status_of_a_device_without_a_plan_asks_for_patience_and_then_for_a_check(
    counter: Counter,
) -> None:
    counter.device.connect()
    counter.device.clock.move(59)
    assert counter.ask(do="status")["doing"] == "no plan was seen yet"
    counter.device.clock.move(2)
    assert counter.ask(do="status")["doing"] == "no plan was seen yet; fedling-agent check says why"


def test_status_of_a_device_that_hears_nobody_names_the_fleet(counter: Counter) -> None:
    counter.device.service.on_connected()
    counter.device.link.connected = True
    counter.device.clock.move(61)
    assert counter.ask(do="status")["doing"] == (
        f"no plan was seen yet, nor an aggregator of fleet {FLEET}: is that its name?; "
        "fedling-agent check says why"
    )


def test_status_of_a_device_with_another_root_key_names_the_root_key(counter: Counter) -> None:
    """To enrol it would not help, and nobody says so."""
    counter.device.link.connected = True
    counter.device.service.on_connected()
    certificate = Certificate(ONLINE.public, Role.AGGREGATOR, FLEET, "aggregator", 1)
    topic = TOPICS.of(Kind.KEYS, "aggregator")
    stranger = SigningKey(b"?" * 32)
    for root, foreign in ((stranger, True), (ROOT, False), (stranger, False)):
        counter.device.hear(topic, certificate, root)
        status = counter.ask(do="status")
        assert status["foreign"] == foreign
        assert ("root_key of agent.toml" in str(status["doing"])) == foreign
        enrolled = _enrolled(status)
        assert ("device add" in enrolled) != foreign


def test_status_of_a_device_that_declines_all_says_so(counter: Counter) -> None:
    counter.device.connect()
    counter.device.clock.move(100)
    counter.device.service.runners.declined["watch"] = "no such stream"
    assert counter.ask(do="status")["doing"] == "every task is declined"


def test_status_tells_of_link_disk_and_tasks(counter: Counter) -> None:
    status = counter.ask(do="status")
    assert (status["doing"], status["enrolled"], status["disk"]) == ("not connected", False, "ok")
    counter.device.connect()
    assert counter.ask(do="status")["doing"] == "no plan was seen yet"
    counter.device.begin()
    counter.device.clock.move(7)
    status = counter.ask(do="status")
    assert status["enrolled"] is True
    assert str(status["doing"]).startswith("watch: trains round 1")
    link = status["connection"]
    assert isinstance(link, dict)
    assert (link["connected"], link["since_s"], link["retry_s"]) == (True, 7.0, None)
    words = "lets this device not subscribe to fedling/1/home/+/plan/+: allow it there"
    assert link["refused"] == []
    counter.device.link.refused = ("fedling/1/home/+/plan/+",)
    link = counter.ask(do="status")["connection"]
    assert isinstance(link, dict)
    assert ("  refuses", words) in _connection(link)
    counter.device.service.on_disconnected("lost", 4.0)
    counter.device.clock.move(1)
    link = counter.ask(do="status")["connection"]
    assert isinstance(link, dict)
    assert (link["reason"], link["since_s"], link["retry_s"]) == ("lost", 1.0, 3.0)
    counter.device.service.on_connected()
    link = counter.ask(do="status")["connection"]
    assert isinstance(link, dict)
    assert (link["reason"], link["lost"]) == ("", "lost")  # whoever looks in between hears of it


def test_status_of_a_task_says_how_far_its_training_is(counter: Counter) -> None:
    counter.device.connect()
    counter.device.begin()
    task = counter.ask(do="status")["tasks"]["watch"]  # type: ignore[index]
    progress = task["progress"]
    assert f" at batch {progress['done']} of {progress['total']}" in task["doing"]


def test_status_of_a_task_names_its_own_updates_alone(counter: Counter) -> None:
    device = counter.device
    device.connect()
    plan = device.begin()
    device.children[0].finish()
    device.settle(lambda: device.updates)
    spec = replace(plan.spec, task="other")
    other = replace(plan, plan_id=b"o" * 16, spec=spec)
    device.hear(TOPICS.of(Kind.PLAN, "other", other.kind), other)
    tasks = counter.ask(do="status")["tasks"]
    spools = {task: [one["plan"] for one in about["spool"]] for task, about in tasks.items()}  # type: ignore[attr-defined]
    assert spools == {"watch": [plan.plan_id.hex()], "other": []}


def test_forgetting_ends_the_training_on_it_first(counter: Counter) -> None:
    device = counter.device
    device.connect()
    plan = device.begin()
    answers: list[Json | RequestFailed] = []
    request: Json = {"do": "forget", "stream": "wrist", "recordings": ["r0"]}
    counter.desk.handle(request, counter.peer, answers.append)
    device.settle()
    assert device.children[0].did[-1] == "kill"
    assert answers == []  # not before that has ended
    device.clock.move(1)
    device.settle()
    assert answers == [{"forgotten": 1}]
    assert device.store.plans.is_finished(plan.plan_id)
    assert device.store.plans.in_work() == []
    assert [r.id for r in device.store.recordings.newest("wrist")] == ["r3", "r2", "r1"]


def test_forgetting_ends_the_training_that_tests_on_it(counter: Counter) -> None:
    device = counter.device
    device.connect()
    plan = device.offer(training=replace(TRAINING, holdout=500, holdout_block=1000))
    device.go(plan)
    device.settle(lambda: device.children and device.children[-1].did)
    (record,) = device.store.plans.in_work()
    trained = set(finish(device.store.plans.examples(record)).names)
    (name, *_) = finish(device.store.plans.recordings(record)) - trained
    request: Json = {"do": "forget", "stream": "wrist", "recordings": [name]}
    answers: list[Json | RequestFailed] = []
    counter.desk.handle(request, counter.peer, answers.append)
    device.settle()
    assert device.children[0].did[-1] == "kill"
    device.clock.move(1)
    device.settle()
    assert answers == [{"forgotten": 1}]
    assert device.store.plans.in_work() == []
    for folder in (device.store.files.frozen, device.store.files.jobs):
        assert list(folder.iterdir()) == []


def test_forgetting_gives_an_update_up_that_waits(counter: Counter) -> None:
    device = counter.device
    device.connect()
    plan = device.begin()
    device.children[0].finish()
    device.settle(device.store.spool.entries)
    answers: list[Json | RequestFailed] = []
    request: Json = {"do": "forget", "stream": "wrist", "recordings": None}
    counter.desk.handle(request, counter.peer, answers.append)
    device.settle()
    device.clock.move(1)
    device.settle()
    assert answers == [{"forgotten": 4}]
    assert device.store.spool.entries() == []
    assert device.store.plans.is_finished(plan.plan_id)


def test_what_is_not_there_ends_no_training(counter: Counter) -> None:
    counter.device.connect()
    counter.device.begin()
    with pytest.raises(RequestFailed, match="no recording r9"):
        counter.ask(do="forget", stream="wrist", recordings=["r0", "r9"])
    assert counter.device.children[0].did[-1] != "kill"


def test_examples_that_are_ingested_are_counted_at_once(tmp_path: Path) -> None:
    device = HandService(tmp_path, recordings=0)
    counter = Counter(device)
    device.connect()
    device.offer()
    device.settle()
    assert not device.runner.session.enough
    counter.ask(do="ingest", stream="wrist", form="csv", lines=list(csv_lines(4)))
    device.settle()
    assert device.runner.session.enough
    device.close()


def test_label_and_recording_are_found_however_they_are_spelled(counter: Counter) -> None:
    """As `ingest` writes them: in NFC, without space around them."""
    lines = ["recording,label,x,y", "lâuf,up,1,2", "lâuf,up,3,4"]
    counter.ask(do="ingest", stream="wrist", form="csv", lines=lines)
    for label in ("grüßen", " gru\u0308ßen "):
        counter.ask(do="label", stream="wrist", recording=" la\u0302uf", label=label)
        streams = counter.ask(do="status")["streams"]
        assert isinstance(streams, dict)
        assert streams["wrist"]["labels"]["grüßen"] == 2


def test_new_labels_and_forgotten_recordings_are_counted_anew(counter: Counter) -> None:
    device = counter.device
    device.connect()
    device.offer()
    device.settle()
    assert device.runner.session.enough
    for name in ("r0", "r1", "r2", "r3"):
        counter.ask(do="label", stream="wrist", recording=name, label="other")
    device.settle()
    assert not device.runner.session.enough
    counter.ask(do="label", stream="wrist", recording="r1", label="up", first=0, last=50)
    device.settle()
    assert device.runner.session.enough
    streams = counter.ask(do="status")["streams"]
    assert isinstance(streams, dict)
    assert streams["wrist"]["labels"] == {"other": 429, "up": 51, "down": 0}
    assert streams["wrist"]["wanted"] == ["down", "up"]


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "label", "stream": 5},
        {"do": "label", "stream": "wrist", "first": -1},
        {"do": "label", "stream": "wrist", "first": True},
        {"do": "label", "stream": "wrist", "label": "up"},
        {"do": "label", "stream": "wrist", "label": "up", "begin_ms": 5},
        {"do": "label", "stream": "wrist", "label": "up", "begin_ms": 5, "end_ms": 5},
        {"do": "label", "stream": "ankle", "label": "up", "begin_ms": 5, "end_ms": 6},
        {"do": "label", "stream": "wrist", "label": "u" * 65, "begin_ms": 5, "end_ms": 6},
        {"do": "recordings", "below": 2**63},
        {"do": "forget", "stream": "wrist", "recordings": "r0"},
        {"do": "ingest", "stream": "wrist", "form": "csv", "lines": [], "before": "x"},
        {"do": "ingest", "stream": "wrist", "form": "csv", "lines": [], "mode": "x"},
        {"do": "ingest", "stream": "wrist", "form": "csv", "lines": [], "ages_ms": 5},
        {"do": "ingest", "stream": "wrist", "form": "csv", "lines": [], "ages_ms": [5]},
        {"do": "ingest", "stream": "wrist", "form": "csv", "lines": [], "ages_ms": [5, -1]},
        {"do": "ingest", "stream": "wrist", "form": "csv", "lines": [], "ages_ms": [2**62, 1]},
        {"do": "ingest", "stream": "wrist", "form": "csv", "lines": [], "input": "x" * 65},
    ],
)
def test_requests_of_another_shape_are_refused(counter: Counter, request_: Json) -> None:
    with pytest.raises(RequestFailed):
        counter.ask(**request_)
    assert counter.ask(do="recordings")["recordings"]


def test_age_in_the_service_is_time_that_passes_not_the_date(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = counter.device
    device.store.recordings.bounds = Bounds(age_days=30)
    lines = ["recording,label,x,y\n"]

    def ingest(name: str, wall: float) -> int:
        monkeypatch.setattr(device.clock, "wall", lambda: wall)
        peer = counter.peer = Peer()
        assert peer.memory == {}
        done = counter.ask(
            do="ingest", stream="wrist", form="csv", lines=[*lines, f"{name},up,1,1\n"]
        )
        return int(str(done["evicted"]))

    years = [130.0, 2_400_000_000.0, 1_795_000_000.0, 130.0]
    assert [ingest(f"n{n}", wall) for n, wall in enumerate(years)] == [0] * 4
    device.clock.move(31 * 86_400)
    assert ingest("last", 130.0) == 8  # the four of the fixture, too


# --- every verb ----------------------------------------------------------------------------------

WAITS_FOR_THE_DISK: list[Json] = [
    {"do": "explain", "span_s": 60},
    {"do": "pause", "lasts_s": 60},
    {"do": "resume"},
    {"do": "ingest", "stream": "wrist", "form": "csv", "lines": ["recording,label,x,y"]},
    {"do": "ingest", "stream": "wrist", "form": "csv", "lines": ["x,y"], "again": True},
    {"do": "recordings"},
    {"do": "label", "stream": "wrist", "recording": "r0", "label": "up"},
    {"do": "forget", "stream": "wrist"},
]


@pytest.mark.parametrize("request_", WAITS_FOR_THE_DISK, ids=lambda r: " ".join(map(str, r)))
def test_each_verb_waits_for_the_disk_and_says_when_it_refuses(
    counter: Counter, request_: Json
) -> None:
    device, answers = counter.device, list[Json | RequestFailed]()
    device.disk.waits = True
    counter.desk.handle(request_, Peer(), answers.append)
    device.clock.settle()
    assert answers == []
    device.disk.waits = False
    device.disk.broken = CannotWrite("anything", "the disk is full")
    device.disk.go()
    device.clock.settle()
    (answer,) = answers
    assert isinstance(answer, RequestFailed)
    assert answer.code is Exit.CANNOT_WRITE
    assert "the disk is full" in str(answer)


def test_status_has_the_bytes_that_went_through_the_socket_until_now(counter: Counter) -> None:
    counter.device.connect()
    for sent in (70, 77):
        counter.device.link.traffic = Traffic(7 if sent == 77 else 70, 30)
        moved = counter.ask(do="status")["bytes"]
        assert isinstance(moved, dict)
        assert moved["total"]["sent"] == sent


def test_explain_tells_what_was_done_in_the_time_that_is_asked_for(counter: Counter) -> None:
    """And no more; what is not written yet, too. Without a time it is now."""
    device = counter.device
    device.connect()
    device.clock.move(600)
    device.begin()
    device.clock.move(2)

    def verdicts(**request: object) -> list[object]:
        spells = counter.ask(do="explain", **request)["spells"]
        assert isinstance(spells, list)
        return [spell["verdict"] for spell in spells]

    assert verdicts(span_s=60) == verdicts() == [Course.NOTHING.value, Course.TRAINS.value]
    device.clock.move(400)
    assert verdicts(span_s=60) == [Course.TRAINS.value]
    assert len(verdicts(span_s=1000)) >= 2


def test_lines_that_were_stored_before_a_restart_are_read_again_and_not_stored(
    counter: Counter,
) -> None:
    """The header among them: the rows that follow have none."""
    lines = ["recording,label,x,y", "again,up,1,2", "again,up,3,4"]
    request = {"do": "ingest", "stream": "wrist", "form": "csv", "input": "walk"}
    assert counter.ask(**request, lines=lines, again=True) == {}
    answer = counter.ask(**request, lines=["again,up,5,6"], before=3)
    assert (answer["stored"], answer["refused"]) == (1, 0)


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "label", "stream": "wrist", "label": "up", "begin_ms": 5},
        {"do": "label", "stream": "wrist", "label": "up", "end_ms": 5},
        {"do": "explain", "span_s": "x"},
        {"do": "explain", "span_s": True},
        {"do": "predict", "task": "watch", "form": "csv", "lines": 5},
        {"do": "pause", "lasts_s": -1},
        {"do": "pause", "reason": 5},
        {"do": "ingest", "stream": "wrist", "form": "csv", "lines": [], "ages_ms": ["x", 1]},
        {"do": "recordings", "stream": 5},
    ],
)
def test_words_of_a_request_are_told_apart(counter: Counter, request_: Json) -> None:
    """What is wrong is named, and it is nobody's fault but of who asked."""
    with pytest.raises(RequestFailed, match=r"needed") as failed:
        counter.ask(**request_)
    assert failed.value.code is Exit.FAILED


def test_predict_and_windows_name_the_task_that_is_asked_for(counter: Counter) -> None:
    device = counter.device
    device.connect()
    device.offer()
    device.settle(lambda: device.store.models.newest("watch"))
    lines = ["x,y", *["1.0,0.0"] * 10]
    predicted = counter.ask(do="predict", task="watch", form="csv", lines=lines)
    assert predicted == counter.ask(do="predict", form="csv", lines=lines)  # there is one
    wanted = counter.ask(do="windows", task="watch")
    assert wanted == counter.ask(do="windows")
    for request in ({"do": "windows"}, {"do": "predict", "lines": lines, "form": "csv"}):
        with pytest.raises(RequestFailed, match="other") as failed:
            counter.ask(**request, task="other")
        assert failed.value.code is Exit.NOT_FOUND


def test_status_whose_link_has_no_wait_left_says_none(counter: Counter) -> None:
    counter.device.service.on_disconnected("lost", 4.0)
    counter.device.clock.move(9)
    link = counter.ask(do="status")["connection"]
    assert isinstance(link, dict)
    assert (link["connected"], link["retry_s"], link["since_s"]) == (False, 0.0, 9.0)


def test_forgetting_that_does_not_end_a_training_is_tried_again_by_who_asked(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, answers = counter.device, list[Json | RequestFailed]()
    device.connect()
    device.begin()
    monkeypatch.setattr(device.service.runners, "give", lambda *_: None)
    counter.desk.handle({"do": "forget", "stream": "wrist"}, counter.peer, answers.append)
    device.clock.move(desk.ENDING_S)
    assert answers == []
    device.clock.move(1)
    (answer,) = answers
    assert isinstance(answer, RequestFailed)
    assert (answer.code, str(answer)) == (
        *(Exit.TRY_LATER, "a training does not end: try it again"),
    )
    assert len(device.store.recordings.newest("wrist")) == 4
