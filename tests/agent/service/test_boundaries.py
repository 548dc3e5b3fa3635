"""One boundary a request, a message, a task, a store: what fails in it ends there."""

from dataclasses import replace

import pytest

from fedling_agent.service import runner
from fedling_agent.service.control import Json, Peer, RequestFailed
from fedling_agent.service.desk import Desk
from fedling_agent.service.history import History
from fedling_agent.service.inbox import Inbox
from fedling_agent.session import events as ev
from fedling_agent.store import aside
from fedling_agent.store.plans import Plans
from fedling_agent.store.store import NAME, Store
from fedling_protocol.disk.errors import BadDatabase
from fedling_protocol.runtime.halts import LONGEST_S
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Join, Tasks, Verdict
from tests.agent.store.test_aside import COUNTED, GIVEN_UP
from tests.support.damage import spoil
from tests.support.device import SPEC, make_model, make_plan
from tests.support.service import TOPICS, HandService

ERRORS = [ValueError("x"), KeyError("x"), AssertionError(), MemoryError(), OSError(5, "EIO")]


def status(device: HandService) -> Json:
    (answer,) = ask(device, "status")
    assert not isinstance(answer, RequestFailed)
    return answer


def ask(device: HandService, verb: str) -> list[Json | RequestFailed]:
    answers: list[Json | RequestFailed] = []
    Desk(device.service).handle({"do": verb}, Peer(), answers.append)
    device.settle(lambda: answers)
    return answers


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "action", [ev.SendJoin, ev.FetchModel, ev.StartTraining, ev.SendUpdate, ev.PlanOver]
)
def test_whatever_an_action_raises_ends_one_task_for_a_while(
    device: HandService, monkeypatch: pytest.MonkeyPatch, action: type[ev.Action], error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    other = replace(SPEC, task="other")
    with monkeypatch.context() as broken:
        broken.setitem(runner.PERFORM, action, fail)
        plan = device.offer()
        if device.sent(Join):
            device.go(plan)
            device.settle(lambda: device.children and device.children[-1].did)
        if device.children:
            device.children[0].finish()
            device.settle(lambda: device.updates)
        if device.updates:
            device.receipt(plan, device.updates[0][1], Verdict.ACCEPTED)
        assert list(device.service.runners.halts.halted) == ["watch"]
        assert "this is a fault of fedling" in str(status(device)["tasks"]["watch"]["doing"])  # type: ignore[index]
    second = make_plan(make_model(spec=other), 9)
    device.hear(TOPICS.of(Kind.PLAN, "other", second.kind), second)
    assert "other" in [one.task for one in device.service.runners]
    device.clock.move(LONGEST_S)
    device.settle()
    assert device.service.runners.halts.halted == {}
    third = device.offer(3)
    asked = {join.plan_id for join in device.sent(Join)}
    assert asked & {plan.plan_id, third.plan_id}
    assert {one.task for one in device.service.runners} == {"watch", "other"}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_request_that_fails_is_answered(
    device: HandService, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(Store, "tasks", fail)
        (answer,) = ask(device, "status")
    assert isinstance(answer, RequestFailed)
    assert type(error).__name__ in str(answer)
    assert status(device)["disk"] == "ok"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_message_that_fails_is_dropped_and_counted(
    device: HandService, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(Inbox, "open", fail)
        device.offer()
    assert device.service.books.counters()["faults"] == 1
    device.offer()
    assert device.sent(Join)


def test_a_damaged_database_ends_the_service_for_another_one(
    device: HandService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BadDatabase("store.db: malformed")

    device.begin()
    with monkeypatch.context() as broken:
        broken.setattr(Plans, "find", fail)
        device.offer(2)
    assert [str(error) for error in device.ruined] == ["store.db: malformed"]
    assert device.children[0].did[-1] == "kill"
    said = len(device.link.published)
    device.offer(3)
    device.clock.move(3600)
    assert len(device.link.published) == said
    assert len(device.ruined) == 1


def test_database_that_a_message_finds_damaged_ends_the_service(
    device: HandService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BadDatabase("store.db: malformed")

    with monkeypatch.context() as broken:
        broken.setattr(History, "take_tasks", fail)
        device.hear(TOPICS.of(Kind.TASKS), Tasks(1, ()))
    assert [str(error) for error in device.ruined] == ["store.db: malformed"]


@pytest.mark.parametrize("table", [*aside.SAVED, *COUNTED, *GIVEN_UP])
def test_damage_in_any_table_at_the_start_begins_anew_or_harms_nobody(
    device: HandService, table: str
) -> None:
    """Nothing is read before somebody can meet what is found."""
    device.close()
    spoil(device.directory / "state" / NAME, table)
    try:
        device.boot()
    except BadDatabase as error:  # `run` meets what the opening finds, too
        device.ruined.append(error)
    else:
        ask(device, "status")
        device.offer()
    assert all("malformed" in str(error) for error in device.ruined)
    known = ("used", "seen", "in_force", "plans", "certificates", "models", "recordings")
    assert device.ruined or table not in known


def test_task_whose_runner_cannot_be_made_is_counted(
    device: HandService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("x")

    with monkeypatch.context() as broken:
        broken.setattr(runner.SessionRunner, "__init__", fail)
        device.offer()
    assert list(device.service.runners.halts.halted) == ["watch"]
    assert device.service.books.counters()["halts"] == 1
    assert str(status(device)["doing"]).startswith("watch: stopped: ")


def test_service_whose_database_is_damaged_begins_anew_once_and_does_nothing_more(
    device: HandService,
) -> None:
    device.offer()
    errors = [BadDatabase("damaged") for _ in range(2)]
    for error in errors:
        device.service.meet(error)
    assert device.ruined == errors[:1]
    said = len(device.link.published)
    device.offer(2)
    device.service.stop(lambda: pytest.fail("it has ended already"))
    device.clock.move(3600)
    assert len(device.link.published) == said
    assert list(device.service.runners) == []
