"""Whoever runs the MQTT broker: reads, withholds, alters, replays, moves, mixes fleets."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fedling_agent.service import fetching as agent_fetching
from fedling_agent.service.history import History
from fedling_agent.service.service import Service as DeviceService
from fedling_agent.session import events as ev
from fedling_agent.session import machine as session
from fedling_agent.session.state import Joining, Session
from fedling_agent.store import models as agent_models
from fedling_broker.rounds import machine as rounds
from fedling_broker.rounds.cohort import Cohort
from fedling_protocol.net import framing
from fedling_protocol.wire import envelope, identity, trust
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_LARGE, MAX_PLAN
from fedling_protocol.wire.messages import PlanKind
from fedling_protocol.wire.topics import Topics
from tests.support.attacks.cast import (
    ONLINE,
    TASK,
    TOPICS,
    VICTIM_ID,
    of_kind,
)
from tests.support.attacks.intruder import Intruder
from tests.support.attacks.path import SaysTwice
from tests.support.attacks.stage import (
    Stage,
    plan_of,
)
from tests.support.attacks.table import Attack, Who

PLANS = TOPICS.of(Kind.PLAN, TASK, PlanKind.TRAIN)
LATER = 2**32 - 1  # than any epoch that a clock gives


def flipped(data: bytes, at: int) -> bytes:
    """One bit of it is another one."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def first_life(stage: Stage) -> tuple[Intruder, dict[str, bytes]]:
    """Three rounds, all of them heard: the first message on each topic."""
    tap = stage.tap()
    stage.begin(rounds=3)
    stage.run(lambda: stage.settled_at(3))
    stage.settle()
    heard: dict[str, bytes] = {}
    for topic, payload in tap.ping():
        if payload:
            heard.setdefault(topic, payload)
    return tap, heard


# --- replayed --------------------------------------------------------------------------------


def replay_update(stage: Stage) -> bool:
    """Of a round that waits for a second device: the first one's is sent again, three times."""
    tap = stage.tap()
    stage.begin(rounds=1, goal=2)
    stage.run(stage.accepted)
    stage.settle()
    ((topic, update),) = of_kind(tap.ping(), "/up/")
    for _ in range(3):
        tap.publish(topic, update)
    tap.ping()
    stage.settle()
    return stage.folded > 0 or stage.faults() != []


def count_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rounds, "known_decision", lambda _phase, _event: None)
    patch.setattr(Cohort, "until", lambda _cohort, _device: 0)


def replay_plan(stage: Stage) -> bool:
    """After three rounds the plan of the first is retained again, with its model."""
    tap, heard = first_life(stage)
    model = TOPICS.of(Kind.MODEL, TASK, 1)
    plan = next(payload for topic, payload in heard.items() if topic == PLANS)
    tap.publish(model, heard[model], retain=True)
    tap.publish(PLANS, plan, retain=True)
    tap.ping()
    stage.settle()
    return stage.version != 4


def believe_the_past(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(History, "check", lambda *_: None)
    patch.setattr(History, "check_epoch", lambda *_: None)


def replay_ticket(stage: Stage) -> bool:
    """The answer to a second join is withheld, that to the first is given instead."""
    tap = stage.tap()
    tickets: list[bytes] = []
    stage.add_task(rounds=2)
    stage.start_aggregator()
    stage.start_device()

    def withheld(topic: str, payload: bytes) -> bool:
        if "/ticket/" not in topic or payload.startswith(b"settle"):
            return False
        tickets.append(payload)
        return payload != tickets[0]

    stage.device.withheld = withheld
    stage.run(lambda: len(tickets) > 1)
    tap.publish(TOPICS.of(Kind.TICKET, TASK, VICTIM_ID), tickets[0])
    tap.ping()
    stage.settle()
    return len(stage.accepted()) > 1


def take_any_ticket(patch: pytest.MonkeyPatch) -> None:
    def on_ticket(s: Session, event: ev.TicketSeen, now: int, do: list[ev.Action]) -> Session:
        if isinstance(s.phase, Joining):
            event = ev.TicketSeen(replace(event.ticket, nonce=s.phase.nonce))
        return session.on_ticket(s, event, now, do)

    patch.setitem(session.ON, ev.TicketSeen, on_ticket)


def replay_receipt(stage: Stage) -> bool:
    """The second update never arrives; the receipt of the first says that it did."""
    tap = stage.tap()
    stage.add_task(rounds=2)
    stage.start_aggregator()
    stage.start_device()
    stage.aggregator.withheld = lambda topic, _: "/up/" in topic and stage.folded == 1
    receipts = TOPICS.of(Kind.RECEIPT, TASK, VICTIM_ID)
    stage.run(lambda: stage.folded == 1 and plan_of(stage).round == 2)
    second = plan_of(stage).plan_id
    stage.run(lambda: stage.device.store.spool.find(second))
    stage.settle()
    first = next(payload for topic, payload in tap.ping() if topic == receipts)
    tap.publish(receipts, first)
    tap.ping()
    stage.settle()
    return stage.device.store.spool.find(second) is None


def take_any_receipt(patch: pytest.MonkeyPatch) -> None:
    def on_receipt(s: Session, event: ev.ReceiptSeen, now: int, do: list[ev.Action]) -> Session:
        if s.spool:
            entry, receipt = s.spool[0], event.receipt
            changed = replace(receipt, plan_id=entry.plan_id, update_hash=entry.update_hash)
            event = ev.ReceiptSeen(changed)
        return session.on_receipt(s, event, now, do)

    patch.setitem(session.ON, ev.ReceiptSeen, on_receipt)


# --- altered, moved --------------------------------------------------------------------------


def altered_on_its_way(stage: Stage, topic_of: str, alter: Any) -> None:
    """What the device sends there is withheld from the aggregator, and another thing delivered."""
    tap = stage.tap()
    stage.add_task(rounds=1)
    stage.start_aggregator()
    stage.start_device()
    genuine: list[tuple[str, bytes]] = []

    def withheld(topic: str, payload: bytes) -> bool:
        if topic_of not in topic or payload.startswith(b"settle"):
            return False
        genuine.append((topic, payload))
        return (topic, payload) == genuine[0]

    stage.aggregator.withheld = withheld
    stage.run(lambda: genuine)
    ((topic, payload), *_) = of_kind(tap.ping(), topic_of)
    tap.publish(*alter(topic, payload))
    tap.ping()
    stage.settle()


def alter_update(stage: Stage) -> bool:
    """One bit of a vector."""
    altered_on_its_way(stage, "/up/", lambda topic, data: (topic, flipped(data, len(data) // 2)))
    return stage.accepted() != []


def believe_any_signature(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(identity, "verify", lambda _key, _signature, *_data: True)


def move_update(stage: Stage) -> bool:
    """A whole update as the second chunk of itself."""
    altered_on_its_way(stage, "/up/", lambda topic, data: (f"{topic[:-1]}1", data))
    return stage.accepted() != []


def bind_no_topic(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Topics, "bound", lambda _topics, _topic: b"")
    patch.setattr(trust, "_check_address", lambda _address, _message: None)


def alter_model(stage: Stage) -> bool:
    """One bit of a weight of the first model."""
    tap = stage.tap()
    topic = TOPICS.of(Kind.MODEL, TASK, 1)
    genuine: list[bytes] = []
    stage.add_task(rounds=1, goal=2)
    stage.start_aggregator()
    stage.start_device()

    def withheld(at: str, payload: bytes) -> bool:
        if at != topic:
            return False
        genuine.append(payload)
        return payload == genuine[0]

    stage.device.withheld = withheld
    stage.run(lambda: genuine)
    tap.publish(topic, flipped(genuine[0], len(genuine[0]) - 70), retain=True)
    tap.ping()
    stage.settle()
    model = stage.device.store.models.newest(TASK)
    return model is not None and model.version == 1


class _Whatever(bytes):
    """A hash that is that of everything."""

    def __eq__(self, _other: object) -> bool:
        return True

    def __ne__(self, _other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def believe_any_model(patch: pytest.MonkeyPatch) -> None:
    believe_any_signature(patch)
    patch.setattr(agent_fetching, "digest", SimpleNamespace(model_hash=lambda *_: _Whatever()))
    anything = SimpleNamespace(update=lambda _data: None, digest=_Whatever)
    patch.setattr(agent_models, "start_model_hash", lambda *_: anything)  # of what is on disk


def mix_fleets(stage: Stage) -> bool:
    """Two fleets of one operator, with one root key and one online key: a plan of the other one."""
    tap, _ = first_life(stage)
    plan = stage.device.service.runners.find(TASK)
    assert plan is not None
    assert plan.plan is not None
    away = Topics("fedling", "away")
    there = away.of(Kind.PLAN, TASK, PlanKind.TRAIN)
    other = replace(plan.plan, plan_id=b"a" * 16, epoch=LATER)
    tap.publish(PLANS, envelope.seal(other, away.bound(there), ONLINE), retain=True)
    tap.ping()
    stage.settle()
    return plan.plan.plan_id == other.plan_id


def bind_no_fleet(patch: pytest.MonkeyPatch) -> None:
    bound = Topics.bound

    def without_fleet(topics: Topics, topic: str) -> bytes:
        return b"/".join(bound(topics, topic).split(b"/")[2:])

    patch.setattr(Topics, "bound", without_fleet)


def empty_topics(stage: Stage) -> bool:
    """Everything that is retained is taken back, in nobody's name."""
    tap, heard = first_life(stage)
    for topic in heard:
        tap.publish(topic, b"", retain=True)
    tap.ping()
    stage.settle()
    return stage.version != 4


def believe_emptiness(patch: pytest.MonkeyPatch) -> None:
    def on_cleared(service: DeviceService, topic: str) -> None:
        task = service.config.topics.parse(topic).task
        if task is not None:
            service.runners.forget(task)

    patch.setattr(DeviceService, "_on_cleared", on_cleared)


# --- too much --------------------------------------------------------------------------------


def oversized_packet(stage: Stage) -> bool:
    """As large as MQTT lets a broker send: whether it comes to be in the device's memory."""
    tap = stage.tap()
    stage.begin()
    tap.publish(PLANS, bytes(MAX_LARGE + 2**20), retain=True)
    tap.ping()
    stage.settle()
    return any(len(payload) > MAX_PLAN for _, payload in stage.device.heard)


def take_any_size(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Topics, "largest", lambda _topics, _topic: 2**28)


def quality_two(stage: Stage) -> bool:
    """Messages that a client must keep until the MQTT broker comes back to them, which it won't."""
    with SaysTwice(PLANS, bytes(3000), 50) as says_twice:
        stage.reach_device_by(says_twice.port)
        stage.start_device()
        stage.run(lambda: says_twice.over)
        return says_twice.taken > 0


def take_any_quality(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(framing, "ASKED_QUALITY", 2)


ATTACKS = (
    Attack("replayed-update", Who.BROKER, replay_update, count_twice),
    Attack("replayed-plan", Who.BROKER, replay_plan, believe_the_past),
    Attack("replayed-ticket", Who.BROKER, replay_ticket, take_any_ticket),
    Attack("replayed-receipt", Who.BROKER, replay_receipt, take_any_receipt),
    Attack("altered-update", Who.BROKER, alter_update, believe_any_signature),
    Attack("altered-model", Who.BROKER, alter_model, believe_any_model),
    Attack("moved-chunk", Who.BROKER, move_update, bind_no_topic),
    Attack("plan-of-another-fleet", Who.BROKER, mix_fleets, bind_no_fleet),
    Attack("emptied-topics", Who.BROKER, empty_topics, believe_emptiness),
    Attack("quality-of-service-two", Who.BROKER, quality_two, take_any_quality),
    Attack("oversized-packet", Who.BROKER, oversized_packet, take_any_size),
)
