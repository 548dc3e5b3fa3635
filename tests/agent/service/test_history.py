"""Nothing of a former life is believed; what was removed is forgotten."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.service import report
from fedling_agent.service.history import History
from fedling_agent.service.operations import only_task
from fedling_agent.service.writer import Writer
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import Missing
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Answer,
    Conditions,
    Join,
    Model,
    Moment,
    Plan,
    Receipt,
    Rest,
    TaskInForce,
    Tasks,
    Ticket,
    Verdict,
)
from fedling_protocol.wire.refused import Refused
from tests.support.device import TRAINING, hash_of, make_model, make_plan
from tests.support.ports import HandClock, HandWorker
from tests.support.service import ID, TOPICS, HandService

PLANS = TOPICS.of(Kind.PLAN, "watch", "train")
FORMER = "refused: former life"


def plan_at(epoch: int, generation: int, version: int, number: int = 0) -> Plan:
    """A plan of its own at this moment; its model has other weights than other versions have."""
    plan = make_plan(make_model(version, seed=version), number or version)
    plan_id = bytes([epoch, generation, version, number]) * 4
    return replace(plan, epoch=epoch, generation=generation, plan_id=plan_id)


def rest_of(plan: Plan) -> Rest:
    """What names the model of this plan before it is opened."""
    return Rest(plan.base_version, plan.base_hash, plan.spec, 1000, 60, plan.epoch, plan.generation)


def say(device: HandService, plan: Plan | Rest) -> None:
    """A plan comes, and its model, to who asks for it."""
    device.hear(PLANS, plan)
    version = plan.moment.version
    topic = TOPICS.of(Kind.MODEL, "watch", version)
    if topic in device.link.subscribed:
        device.hear(topic, replace(make_model(version, seed=version), spec=plan.spec))


def former(device: HandService) -> int:
    return device.service.books.counters().get(FORMER, 0)


def reboot(device: HandService) -> None:
    device.store.close()
    device.boot()
    device.connect()


def nothing(_device: HandService) -> None:
    """No restart."""


@pytest.mark.parametrize("between", [nothing, reboot])
@pytest.mark.parametrize("life", [(1, 1, 9), (2, 1, 9), (2, 2, 1)])
def test_a_replayed_plan_changes_neither_conditions_nor_examples_nor_the_offer(
    device: HandService, between: Callable[[HandService], None], life: tuple[int, int, int]
) -> None:
    """Of a former epoch, generation or round, with looser settings than the one in force."""
    strict = replace(TRAINING, min_examples=100_000)
    now = replace(plan_at(2, 2, 2), training=strict, conditions=Conditions(False, 95, 90))
    say(device, now)
    between(device)
    if between is reboot:
        say(device, now)
    assert device.sent(Join) == []
    before = device.runner.session
    device.hear(PLANS, plan_at(*life))
    device.clock.move(120.0)
    assert device.sent(Join) == []
    assert device.runner.session.offer == before.offer == now
    assert device.runner.plan == now
    assert TOPICS.of(Kind.MODEL, "watch", 9) not in device.link.subscribed
    assert former(device) == 1


def test_a_replayed_plan_costs_no_download_after_a_restart_without_a_plan(
    device: HandService,
) -> None:
    say(device, plan_at(1, 1, 5))
    reboot(device)
    for plan in (plan_at(1, 1, 3), rest_of(plan_at(1, 1, 4))):
        device.hear(PLANS, plan)
    assert not [topic for topic in device.link.subscribed if "/model/" in topic]
    assert former(device) == 2


def test_a_task_that_was_added_again_is_another_task(device: HandService) -> None:
    """Other labels; the same weights, as they are drawn from one seed."""
    say(device, plan_at(1, 1, 1))
    say(device, plan_at(1, 1, 12))
    assert [join.plan_id for join in device.sent(Join)][-1] == plan_at(1, 1, 12).plan_id
    again = plan_at(1, 7, 1)
    again = replace(again, spec=replace(again.spec, labels=("up", "down")))
    device.hear(PLANS, again)
    with pytest.raises(Missing, match="no model yet"):
        only_task(device.store)
    say(device, again)
    newest = device.store.models.newest("watch")
    assert newest is not None
    assert (newest.version, newest.spec.labels) == (1, ("up", "down"))
    device.clock.move(120.0)
    assert device.sent(Join)[-1].plan_id == again.plan_id
    say(device, rest_of(plan_at(1, 1, 40)))  # the stranger has recorded it
    newest = device.store.models.newest("watch")
    assert newest is not None
    assert newest.version == 1
    assert former(device) == 1


def test_the_training_of_a_former_life_ends_and_its_plan_is_over(device: HandService) -> None:
    old = plan_at(3, 1, 5)
    say(device, old)
    device.go_to(old, epoch=3)
    assert device.phase == "Training"
    restored = plan_at(4, 1, 2)
    say(device, restored)
    (ending,) = device.store.spool.receipts("watch")
    assert (ending.plan_id, ending.reason) == (old.plan_id, "superseded")
    newest = device.store.models.newest("watch")
    assert newest is not None
    assert newest.version == 2
    assert device.runner.session.offer == restored


def test_the_same_round_in_a_later_epoch_goes_on(device: HandService) -> None:
    """The aggregator was started again."""
    plan = plan_at(3, 1, 5)
    say(device, plan)
    device.go_to(plan, epoch=3)
    say(device, replace(plan, epoch=4))
    assert device.phase == "Training"
    assert device.store.spool.receipts("watch") == []


def test_what_an_aggregator_of_a_former_epoch_answers_is_void(device: HandService) -> None:
    """Two work on copies of one state: the earlier one knows nothing of the plan."""
    plan = plan_at(2, 1, 1)
    say(device, plan)
    refused = Receipt(plan.plan_id, None, Verdict.REFUSED, "unknown plan", None, 1)
    device.hear(TOPICS.of(Kind.RECEIPT, "watch", ID), refused)
    join = device.sent(Join)[-1]
    wait = Ticket(plan.plan_id, join.nonce, Answer.WAIT, 9999, "not enrolled", 1)
    device.hear(TOPICS.of(Kind.TICKET, "watch", ID), wait)
    assert device.phase == "Joining"
    assert device.service.enrolment.enrolled
    assert former(device) == 2
    device.go_to(plan, epoch=2)
    assert device.phase == "Training"


# --- what is removed -----------------------------------------------------------------------------


def hear_tasks(device: HandService, number: int, *tasks: tuple[str, int], epoch: int = 1) -> None:
    listed = tuple(TaskInForce(name, generation) for name, generation in tasks)
    device.hear(TOPICS.of(Kind.TASKS), Tasks(number, listed, epoch))


@pytest.mark.parametrize("between", [nothing, reboot])
def test_a_task_that_is_not_in_the_list_is_forgotten(
    device: HandService, between: Callable[[HandService], None]
) -> None:
    plan = plan_at(1, 4, 1)
    say(device, plan)
    device.go_to(plan, epoch=1)
    hear_tasks(device, 4, ("watch", 4))
    assert device.phase == "Training"
    between(device)
    hear_tasks(device, 5)
    assert list(device.service.runners) == []
    assert device.store.tasks() == device.store.models.tasks() == []
    assert report.of_store(device.store, None, "today")["tasks"] == {}
    (ending,) = device.store.spool.receipts("watch")
    assert (ending.plan_id, ending.reason) == (plan.plan_id, "the task was removed")
    assert list(device.store.files.jobs.iterdir()) == []
    assert list(device.store.files.models.iterdir()) == []
    reboot(device)
    assert list(device.service.runners) == []
    say(device, plan)  # a stranger's
    assert list(device.service.runners) == []
    assert former(device) == 1
    say(device, plan_at(1, 6, 1))  # it was added again, and the list is on its way
    assert len(device.service.runners) == 1


def test_a_task_that_is_added_again_waits_until_the_other_is_forgotten(
    device: HandService,
) -> None:
    """Else what is on disk of the removed one would be begun again."""
    old, new = plan_at(1, 4, 1), plan_at(1, 6, 1)
    say(device, old)
    device.go_to(old, epoch=1)
    device.disk.waits = True
    hear_tasks(device, 6, ("watch", 6))
    device.hear(PLANS, new)
    assert list(device.service.runners) == []
    device.link.subscribed.clear()
    device.disk.waits = False
    device.disk.go()
    device.clock.settle()
    assert TOPICS.subscriptions(Kind.PLAN)[0] in device.link.subscribed  # it comes once more
    say(device, new)
    assert device.runner.session.begun is None
    assert device.sent(Join)[-1].plan_id == new.plan_id


def test_a_spooled_update_of_a_removed_task_is_not_offered_again(device: HandService) -> None:
    plan = plan_at(1, 4, 1)
    say(device, plan)
    device.go_to(plan, epoch=1)
    device.link.connected = False
    device.children[-1].finish()
    device.clock.settle()
    assert len(device.store.spool.entries()) == 1
    device.link.connected = True
    hear_tasks(device, 5)
    assert device.store.spool.entries() == []
    assert list(device.store.files.spool.iterdir()) == []


def test_a_declined_task_that_was_removed_is_not_shown_any_more(device: HandService) -> None:
    plan = plan_at(1, 1, 1)
    foreign = replace(plan, spec=replace(plan.spec, stream="ankle"))
    device.hear(PLANS, foreign)
    hear_tasks(device, 1, ("watch", 1))
    assert list(device.service.runners.declined) == ["watch"]
    hear_tasks(device, 2)
    assert device.service.runners.declined == {}


def test_tasks_that_come_and_go_take_no_place(device: HandService) -> None:
    """More of them than a device can work on, one after another."""
    for number in range(1, 40):
        plan = plan_at(1, number, 1)
        name = f"task-{number}"
        plan = replace(plan, spec=replace(plan.spec, task=name))
        hear_tasks(device, number, (name, number))
        device.hear(TOPICS.of(Kind.PLAN, name, "train"), plan)
        assert [runner.task for runner in device.service.runners] == [name]
        assert device.service.runners.declined == {}


def test_an_older_list_is_of_a_former_life(device: HandService) -> None:
    hear_tasks(device, 5, ("watch", 5))
    say(device, plan_at(1, 5, 1))
    for number, epoch in ((9, 0), (4, 1)):
        hear_tasks(device, number, epoch=epoch)
    assert len(device.service.runners) == 1
    assert former(device) == 2


def test_what_is_cleared_is_not_believed(device: HandService) -> None:
    """Anybody may clear a topic."""
    plan = plan_at(1, 1, 1)
    say(device, plan)
    for topic in (PLANS, TOPICS.of(Kind.MODEL, "watch", 1), TOPICS.of(Kind.TASKS)):
        device.service.on_message(topic, b"", False)
    assert len(device.service.runners) == 1
    assert device.store.models.newest("watch") is not None
    counters = device.service.books.counters()
    assert counters["cleared topics"] == 3
    assert "refused: size" not in counters


def test_a_cleared_certificate_makes_the_device_show_its_key(device: HandService) -> None:
    device.service.on_message(TOPICS.of(Kind.KEYS, ID), b"", False)
    assert not device.service.enrolment.enrolled
    assert device.service.enrolment.was_enrolled
    assert device.store.vouched.certificate(ID) is not None  # nobody signed that
    plan = plan_at(1, 1, 1)
    say(device, plan)
    join = device.sent(Join)[-1]
    assert join.key is not None
    wait = Ticket(plan.plan_id, join.nonce, Answer.WAIT, 9999, "not enrolled", 1)
    device.hear(TOPICS.of(Kind.TICKET, "watch", ID), wait)
    assert device.store.vouched.certificate(ID) is None
    device.store.close()
    device.boot()
    assert not device.service.enrolment.enrolled


def test_a_device_that_gets_no_answer_shows_its_key(device: HandService) -> None:
    """It was revoked while it was away: who has no certificate gets no answer without it."""
    say(device, plan_at(1, 1, 1))
    for _ in range(3):
        device.clock.move(4000.0)
    assert [join.key is not None for join in device.sent(Join)][:4] == [False, False, True, True]


# --- for any order of messages -------------------------------------------------------------------

MOMENTS = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 3), st.booleans())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(MOMENTS, st.booleans()), max_size=8))
def test_what_is_taken_in_never_goes_back(
    words: list[tuple[tuple[int, int, int, bool], bool]],
) -> None:
    """Whatever comes in whatever order, over restarts too: what holds is the latest of all."""
    with TemporaryDirectory() as directory:
        store = Store(Path(directory))
        clock = HandClock()
        history = History(store, Writer(HandWorker(clock), lambda _: None))
        history.load()
        latest = Moment(0, 0, 0, False)
        for (epoch, generation, version, is_open), restarts in words:
            plan = plan_at(epoch, generation, version)
            message = plan if is_open else rest_of(plan)
            try:
                history.check_epoch(message)
                history.check("watch", message)
            except Refused:
                assert message.moment < latest
            else:
                assert message.moment >= latest
                latest = message.moment
                history.remember("watch", message)
            clock.settle()
            if restarts:
                history = History(store, Writer(HandWorker(clock), lambda _: None))
                history.load()
        assert store.lives.seen() == ({"watch": latest} if words else {})
        store.close()


def test_a_model_of_a_former_life_that_was_on_its_way_is_not_the_newest(
    device: HandService,
) -> None:
    old = plan_at(1, 1, 5)
    device.hear(PLANS, old)
    model: Model = make_model(5, seed=5)
    assert hash_of(model) == old.base_hash
    device.disk.waits = True
    device.hear(TOPICS.of(Kind.MODEL, "watch", 5), model)
    device.hear(PLANS, plan_at(1, 2, 1))
    device.disk.waits = False
    device.disk.go()
    device.clock.settle()
    assert device.store.models.newest("watch") is None
