"""The device's shell on ports that the test holds: what waits for what, and what is never lost."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.config import FloorSettings
from fedling_agent.service.outbox import LAST_WORD_S
from fedling_agent.service.service import AGAIN_S, LOOK_S
from fedling_agent.service.teller import TELL_S
from fedling_agent.training.freeze import Freezer, Write
from fedling_agent.training.process import Asked
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.runtime.slices import TURN_S, Slices
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Answer,
    Certificate,
    Join,
    Plan,
    Receipt,
    Role,
    State,
    StateCode,
    Tasks,
    Ticket,
    Verdict,
    WaitReason,
)
from fedling_sim.world import Weather
from tests.support.device import FLEET, make_model
from tests.support.service import DEVICE, GOOD, ID, ONLINE, ROOT, TOPICS, HandService
from tests.support.waiting import until

EMPTY = Weather(mains=False, battery=5, temperature=40, network=True)
AUTHORITY = SigningKey(b"A" * 32)
FULL = CannotWrite("the log of what was sent", "the disk is full")


def test_a_round_from_plan_to_receipt(device: HandService) -> None:
    plan = device.begin()
    device.children[0].finish()
    device.settle(lambda: device.updates)
    ((update, name),) = device.updates
    assert (update.plan_id, update.base_hash) == (plan.plan_id, plan.base_hash)
    device.receipt(plan, name, Verdict.ACCEPTED)
    assert device.store.spool.entries() == []
    assert [r.verdict for r in device.store.spool.receipts()] == [Verdict.ACCEPTED]
    assert device.phase == "Idle"


# --- conditions: what is decided is decided on readings that are fresh ---------------------------


def test_nothing_is_decided_before_the_sensors_have_answered(device: HandService) -> None:
    device.clock.move(100)
    device.sensors.waits = True
    device.world.show(EMPTY)  # since the last reading
    device.offer()
    assert device.sent(Join) == []
    device.sensors.go()
    device.settle()
    assert device.sent(Join) == []
    assert device.runner.allowance is not None
    assert "battery 5 %" in device.runner.allowance.sentence


def test_events_that_wait_for_the_sensors_keep_their_order(device: HandService) -> None:
    device.clock.move(100)
    device.sensors.waits = True
    plan = device.offer()
    device.link.connected = False
    device.service.on_disconnected("lost", 1.0)
    device.sensors.go()
    device.settle()
    assert not device.runner.session.connected
    assert device.runner.session.offer is None  # of a connection that is gone
    assert device.runner.plan == plan


def test_lease_is_given_on_a_reading_made_after_it_was_asked_for(device: HandService) -> None:
    device.begin()
    child = device.children[0]
    assert child.tell is not None
    device.world.show(EMPTY)
    child.tell(Asked())
    device.settle(lambda: "stop" in child.did)
    assert child.did == ["start", "stop"]


def test_lease_waits_for_no_disk(device: HandService) -> None:
    device.begin()
    device.disk.waits = True
    device.service.books.count("something")
    device.service.books.close()
    child = device.children[0]
    assert child.tell is not None
    child.tell(Asked())
    device.settle(lambda: len(child.did) > 1)
    assert isinstance(child.did[-1], float)


# --- the disk: what is said is written down first ------------------------------------------------


def test_join_leaves_when_it_is_in_the_log(device: HandService) -> None:
    device.disk.waits = True
    device.offer()
    device.settle()
    assert device.sent(Join) == []
    assert device.store.ledger.sent(1)[0].kind == "state"
    device.disk.go()
    device.settle()
    assert len(device.sent(Join)) == 1
    assert device.store.ledger.sent(1)[0].kind == "join"


def test_training_starts_when_its_set_is_on_disk(device: HandService) -> None:
    plan = device.offer()
    device.disk.waits = True
    device.go(plan)
    device.settle(lambda: device.disk.waiting)
    assert device.children == []
    assert device.store.plans.frozen("watch") is None
    device.disk.go()
    device.settle()
    assert len(device.children) == 1
    assert device.store.plans.frozen("watch") == plan


def test_plan_that_is_over_while_its_set_is_written_is_not_trained(device: HandService) -> None:
    plan = device.offer()
    device.disk.waits = True
    device.go(plan)
    device.settle(lambda: device.disk.waiting)
    device.receipt(plan, None, Verdict.LATE)
    device.disk.waits = False
    device.disk.go()
    device.settle()
    assert device.children == []
    assert device.store.plans.in_work() == []
    assert device.store.plans.is_finished(plan.plan_id)


def test_pause_while_the_set_is_written_starts_no_child_and_one_when_it_goes_on(
    device: HandService,
) -> None:
    plan = device.offer()
    device.disk.waits = True
    device.go(plan)
    device.settle(lambda: device.disk.waiting)
    device.world.show(EMPTY)
    device.clock.move(1)
    device.runner.look()
    device.settle()
    assert device.phase == "Paused"
    device.disk.waits = False
    device.disk.go()
    device.settle()
    assert device.children == []
    device.world.show(GOOD)
    device.clock.move(60)
    device.settle(lambda: device.children)
    assert [child.did for child in device.children] == [["start"]]


@pytest.mark.parametrize("then", ["it goes on", "it is over"])
def test_pause_while_the_set_is_gathered_leaves_nothing_of_it(
    device: HandService, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    gathering, freeze = [True], Freezer.freeze

    def slowly(freezer: Freezer, plan: Plan) -> Slices[Write]:
        while gathering:
            device.clock.stall(TURN_S)
            yield
        return (yield from freeze(freezer, plan))

    monkeypatch.setattr(Freezer, "freeze", slowly)
    plan = device.offer()
    device.go(plan)
    assert device.phase == "Training"
    device.world.show(EMPTY)
    device.clock.move(1)
    device.runner.look()
    device.settle(lambda: device.phase == "Paused")
    gathering.clear()
    device.clock.move(1)
    assert device.children == []
    assert device.store.plans.frozen("watch") is None
    if then == "it is over":
        plan = device.offer(2)
    device.world.show(GOOD)
    device.clock.move(60)
    if then == "it is over":
        device.go(plan)
    device.settle(lambda: device.children)
    assert [child.did for child in device.children] == [["start"]]
    assert device.children[0].job.plan_id == plan.plan_id


def test_restart_goes_on_with_the_frozen_set(device: HandService) -> None:
    device.begin()
    device.crash()
    device.connect()
    device.clock.move(60)
    device.settle(lambda: len(device.children) == 2)
    assert device.children[1].job.recipe == device.children[0].job.recipe


def test_restart_goes_on_training_without_a_connection(device: HandService) -> None:
    plan = device.begin()
    device.crash()
    device.clock.move(60)
    device.settle(lambda: len(device.children) == 2)
    assert [child.job.plan_id for child in device.children] == [plan.plan_id] * 2


def test_full_disk_stops_everything_and_goes_on_from_what_is_there(device: HandService) -> None:
    plan = device.begin()
    device.disk.broken = FULL
    device.children[0].finish()
    device.settle()
    assert device.service.stall is not None
    assert list(device.service.runners) == []
    device.disk.broken = None
    device.clock.move(400)
    device.settle(lambda: device.service.runners and device.sent(Join))
    assert device.service.stall is None
    device.settle(device.store.spool.entries)
    assert [entry.plan_id for entry in device.store.spool.entries()] == [plan.plan_id]


def test_plan_that_comes_while_the_disk_is_tried_makes_no_second_runner(
    device: HandService,
) -> None:
    device.begin()
    device.disk.broken = FULL
    device.children[0].finish()
    device.settle()
    device.disk.broken, device.disk.waits = None, True
    device.clock.move(300)
    assert device.disk.waiting  # the probe is under way
    device.offer()
    assert list(device.service.runners) == []
    device.disk.waits = False
    device.disk.go()
    device.settle()
    assert [runner.task for runner in device.service.runners] == ["watch"]
    assert device.service.stall is None


def test_disk_that_refuses_while_it_is_tried_is_tried_again(device: HandService) -> None:
    device.begin()
    device.disk.broken = FULL
    device.children[0].finish()
    device.settle()
    for _ in range(8):
        device.clock.move(300)
        assert device.service.stall is not None
        assert list(device.service.runners) == []
    tried = device.service.stall
    until(lambda: device.service.stall is not tried, lambda _: device.clock.move(1))
    assert tried is not None
    assert device.service.stall is not None
    # However long it was bad, it is tried each minute: the dice of this device say half of it.
    assert device.service.stall.retry_at - tried.retry_at <= 31
    device.disk.broken = None
    device.clock.move(31)
    assert device.service.stall is None


def test_state_that_a_full_disk_held_back_is_told_afterwards(device: HandService) -> None:
    device.begin()
    device.disk.broken = FULL
    device.clock.move(6)  # "training" cannot be said
    device.disk.broken = None
    device.clock.move(300)
    assert device.sent(State)[-1] == State(StateCode.TRAINING, 1)


def test_update_whose_file_is_damaged_is_given_up_and_never_trained_again(
    device: HandService,
) -> None:
    plan = device.begin()
    device.link.connected = False
    device.service.on_disconnected("lost", 1.0)
    device.children[0].finish()
    device.settle(device.store.spool.entries)
    (file,) = device.store.files.spool.iterdir()
    file.write_bytes(b"zeroed")
    device.connect()
    device.settle(lambda: len(device.sent(Join)) == 2)
    device.go(plan)
    device.settle()
    assert device.updates == []
    (record,) = device.store.spool.receipts()
    assert (record.verdict, record.reason) == (None, "its file is damaged")
    device.offer()
    assert device.store.plans.is_finished(plan.plan_id)
    assert len(device.children) == 1


# --- words and messages --------------------------------------------------------------------------


def test_state_is_told_when_it_has_lasted(device: HandService) -> None:
    assert device.sent(State) == [State(StateCode.IDLE, 0)]
    device.begin()
    device.clock.move(TELL_S - 0.1)
    assert len(device.sent(State)) == 1
    device.clock.move(0.2)
    assert device.sent(State)[1:] == [State(StateCode.TRAINING, 1)]


def test_join_carries_the_key_until_the_certificate_comes(tmp_path: Path) -> None:
    device = HandService(tmp_path)
    device.connect()
    device.service.enrolment.denied()
    device.offer()
    assert [join.key for join in device.sent(Join)] == [DEVICE.public]
    certificate = Certificate(DEVICE.public, Role.DEVICE, FLEET, ID, 1)
    device.hear(TOPICS.of(Kind.KEYS, ID), certificate, ROOT)
    device.offer(2)
    assert [join.key for join in device.sent(Join)] == [DEVICE.public, None]
    device.close()


def test_certificate_from_the_future_ends_nobody_elses(device: HandService) -> None:
    """A root key lives on a machine whose clock nobody looks at."""
    now_s = int(device.clock.wall())
    for owner, key in (("aggregator", ONLINE), ("authority", AUTHORITY)):
        role, until_s = Role(owner), now_s + 1000
        term = Certificate(key.public, role, FLEET, owner, 2, now_s, until_s)
        device.hear(TOPICS.of(Kind.KEYS, owner), term, ROOT)
    later = Certificate(DEVICE.public, Role.DEVICE, FLEET, ID, 3, 2**32 - 2, 2**32 - 1)
    device.hear(TOPICS.of(Kind.KEYS, ID), later, AUTHORITY)
    assert device.service.calendar.now_s() >= 2**32 - 2
    device.offer()
    assert len(device.sent(Join)) == 1


def test_plan_of_an_aggregator_whose_certificate_is_over_is_refused(device: HandService) -> None:
    until_s = int(device.clock.wall()) + 10
    term = Certificate(ONLINE.public, Role.AGGREGATOR, FLEET, "aggregator", 2, 1, until_s)
    device.hear(TOPICS.of(Kind.KEYS, "aggregator"), term, ROOT)
    device.clock.move(20.0)
    device.offer()
    assert device.sent(Join) == []
    assert device.service.books.counters()["refused: expired"] == 1


def test_plan_without_its_stream_is_declined_with_the_reason(device: HandService) -> None:
    device.service.streams.clear()
    device.offer()
    (reason,) = device.service.runners.declined.values()
    assert reason.startswith('agent.toml names no stream "wrist", of ')
    assert device.sent(Join) == []


def test_model_that_has_come_is_unsubscribed(device: HandService) -> None:
    plan = device.offer()
    assert device.store.models.find(plan.base_hash) is not None
    assert TOPICS.of(Kind.MODEL, "watch", plan.base_version) not in device.link.subscribed


def test_model_that_nobody_asked_for_is_refused(device: HandService) -> None:
    device.offer()
    device.hear(TOPICS.of(Kind.MODEL, "watch", 7), make_model(7))
    assert device.service.books.counters()["refused: shape"] == 1


def test_stop_pauses_the_child_says_goodbye_and_ends(device: HandService) -> None:
    device.begin()
    ended: list[bool] = []
    device.service.stop(lambda: ended.append(True))
    assert device.children[0].did[-1] == "stop"
    assert ended == []
    device.children[0].exit()
    device.settle(lambda: ended)
    last = device.link.published[-1]
    assert last.topic == TOPICS.of(Kind.STATE, ID)
    assert [message.code for message in device.sent(State)][-1] == StateCode.OFFLINE


def test_last_word_does_not_wait_for_a_disk_that_hangs(device: HandService) -> None:
    device.disk.waits = True
    ended: list[bool] = []
    device.service.stop(lambda: ended.append(True))
    device.clock.move(LAST_WORD_S + 0.1)
    said = [message.code for message in device.sent(State)]
    assert said[-1] == StateCode.OFFLINE
    assert ended == []  # what was counted until now is not on disk
    device.disk.go()
    device.clock.settle()
    device.disk.go()
    device.clock.settle()
    assert ended == [True]
    assert [message.code for message in device.sent(State)] == said


def test_device_that_stays_connected_asks_each_day_for_what_is_retained(
    device: HandService,
) -> None:
    """A plan or certificate that was lost is not sent again by itself."""
    device.connect()
    device.clock.move(AGAIN_S)
    device.link.subscribed.clear()
    device.clock.move(LOOK_S)
    assert TOPICS.of(Kind.KEYS, "aggregator") in device.link.subscribed
    assert any("/plan/" in topic for topic in device.link.subscribed)


def test_what_is_retained_is_asked_for_once_more_soon_after_each_connect(
    device: HandService,
) -> None:
    """NATS answers with the plan that it has; the next one, published meanwhile, never came."""
    device.connect()
    plans = TOPICS.subscriptions(Kind.PLAN)
    for _ in range(2):
        device.link.subscribed.clear()
        device.clock.move(AGAIN_S)
        assert set(plans) < set(device.link.subscribed)
        device.link.subscribed.clear()
        device.clock.move(10 * AGAIN_S)
        assert device.link.subscribed == []
        device.service.on_disconnected("cut", 1.0)
        device.clock.move(10 * AGAIN_S)
        assert device.link.subscribed == []
        device.connect()


def test_stop_begins_nothing_new(device: HandService) -> None:
    device.begin()
    ended: list[bool] = []
    device.service.stop(lambda: ended.append(True))
    asked = len(device.sent(Join))
    device.offer(2)
    device.hear(TOPICS.of(Kind.MODEL, "watch", 7), make_model(7))
    assert list(device.service.runners) == []
    assert len(device.sent(Join)) == asked
    assert "refused: shape" not in device.service.books.counters()
    device.children[0].exit()
    device.settle(lambda: ended)
    assert ended == [True]


def test_stop_on_a_disk_that_refuses_ends(device: HandService) -> None:
    device.begin()
    device.disk.waits = True
    device.service.books.count("something")
    device.service.books.close()
    ended: list[bool] = []
    device.service.stop(lambda: ended.append(True))
    device.disk.broken = FULL
    device.disk.go()
    device.settle()
    device.disk.broken, device.disk.waits = None, False
    device.disk.go()
    device.settle(lambda: ended)
    assert ended == [True]
    assert device.children[0].did[-1] == "kill"


def test_connection_says_since_when_it_is_gone(device: HandService) -> None:
    connected_at = device.clock.now()
    device.clock.move(10)
    device.service.on_disconnected("lost", 1.0)
    device.clock.move(10)
    device.service.on_disconnected("no route", 2.0)
    gone = device.service.connection
    assert (gone.since, gone.reason) == (connected_at + 10, "no route")
    assert gone.retry_at == connected_at + 22


def test_device_that_is_denied_sends_its_key_again(device: HandService) -> None:
    plan = device.offer()
    (join,) = device.sent(Join)
    assert join.key is None
    ticket = Ticket(plan.plan_id, join.nonce, Answer.WAIT, 1, WaitReason.NOT_ENROLLED)
    device.hear(TOPICS.of(Kind.TICKET, "watch", ID), ticket)
    device.clock.move(70)
    assert device.sent(Join)[1].key == DEVICE.public


def test_log_has_every_word_that_left_the_last_one_and_the_will_too(device: HandService) -> None:
    device.begin()
    device.service.stop(lambda: None)
    device.children[0].exit()
    device.settle()
    left = [(m.topic, len(m.payload)) for m in device.link.published]
    will = device.service.will()
    logged = [(sent.topic, sent.size) for sent in device.store.ledger.sent()]
    assert sorted(logged) == sorted([*left, (will.topic, len(will.payload))])


def test_last_word_is_said_although_the_disk_is_full(device: HandService) -> None:
    device.connect()
    device.disk.broken = FULL
    device.service.stop(lambda: None)
    device.settle(lambda: device.sent(State)[-1].code is StateCode.OFFLINE)


def test_after_the_end_nothing_is_said_trained_or_asked_for(device: HandService) -> None:
    """Whatever time passes, and whatever still comes: but for the hour's books."""
    plan = device.begin()
    ended: list[bool] = []
    device.service.stop(lambda: ended.append(True))
    device.children[0].exit()
    device.settle(lambda: ended)
    said = len(device.link.published)
    device.service.stop(lambda: ended.append(True))
    device.hear(TOPICS.of(Kind.PLAN, "watch", plan.kind), replace(plan, plan_id=b"x" * 16))
    device.link.subscribed.clear()
    device.clock.move(3 * 86_400)
    assert ended == [True]
    assert len(device.link.published) == said
    assert len(device.children) == 1
    assert list(device.service.runners) == []


def test_own_limits_of_the_file_hold_in_the_service(tmp_path: Path) -> None:
    device = HandService(tmp_path)
    floor = FloorSettings(labels=("up",), min_examples=7)
    device.config = replace(device.config, tasks=("watch", "other"), floor=floor)
    device.crash()
    device.connect()
    device.offer()
    assert device.service.runners.declined == {"watch": 'agent.toml allows no label "down"'}
    device.close()


LIFE = """\
connected to localhost:1883
this device is enrolled
round 1 of watch: accepted:\x20
no connection to localhost:1883: gone; next try in 4.0 s
connected to localhost:1883
round 2 of watch: refused: too old
watch: the task was removed
"""


def test_log_of_a_life(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    device = HandService(tmp_path)
    device.connect()
    for number, verdict, reason in ((1, Verdict.ACCEPTED, ""), (2, Verdict.REFUSED, "too old")):
        plan = device.begin(number)
        device.children[-1].finish()
        device.settle(lambda number=number: len(device.updates) == number)  # type: ignore[misc]
        receipt = Receipt(plan.plan_id, device.updates[-1][1], verdict, reason, None)
        device.hear(TOPICS.of(Kind.RECEIPT, "watch", ID), receipt)
        if number == 1:
            device.link.connected = False
            device.service.on_disconnected("gone", 4.0)
            device.connect()
    device.hear(TOPICS.of(Kind.TASKS), Tasks(1, ()))
    assert "\n".join([*caplog.messages, ""]) == LIFE
    device.close()
