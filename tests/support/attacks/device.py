"""A certified device that turns on the others: in their names, on their topics, in the way."""

from dataclasses import replace

import pytest

from fedling_broker.rounds.cohort import Cohort
from fedling_protocol.wire import bounded
from fedling_protocol.wire.envelope import Envelope
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_PACKET, MAX_SMALL
from fedling_protocol.wire.messages import Plan, PlanKind
from fedling_protocol.wire.topics import Address
from fedling_protocol.wire.trust import Known, Trust
from tests.support.attacks.cast import (
    MALLORY,
    MALLORY_ID,
    TASK,
    TOPICS,
    VICTIM_ID,
    sealed,
    update_for,
)
from tests.support.attacks.intruder import PutOff
from tests.support.attacks.stage import (
    Stage,
    plan_of,
)
from tests.support.attacks.table import Attack, Who
from tests.support.fuzz.seal import seal

PLANS = TOPICS.of(Kind.PLAN, TASK, PlanKind.TRAIN)
LEVELS = 900  # of arrays: fewer than a join has bytes, more than Python has frames for


def up(device: str, plan: Plan) -> str:
    return TOPICS.of(Kind.UPDATE, TASK, device, plan.plan_id, 0)


# --- what signatures stand against: the MQTT broker lets everything through --------------------


def model_by_a_device(stage: Stage) -> bool:
    """A plan of the future, signed by a device; its model would be the newest."""
    tap = stage.tap()
    stage.begin(rounds=1)
    stage.run(lambda: stage.settled_at(1))
    plan = replace(plan_of(stage), base_version=9, plan_id=b"m" * 16, epoch=2**32 - 1)
    tap.publish(PLANS, sealed(PLANS, plan, MALLORY), retain=True)
    tap.ping()
    stage.settle()
    return plan_of(stage).plan_id == plan.plan_id


def believe_devices(patch: pytest.MonkeyPatch) -> None:
    """Whoever has a certificate may sign everything."""
    find_signer = Trust._find_signer

    def find(trust: Trust, address: Address, parts: Envelope) -> Known:
        known = trust.known(MALLORY_ID) or Known(MALLORY.public, 0, MALLORY.kid)
        return known if parts.kid == MALLORY.kid else find_signer(trust, address, parts)

    patch.setattr(Trust, "_find_signer", find)


def update_for_another(stage: Stage) -> bool:
    """The victim has its place; who is quicker sends an update in its name."""
    tap = stage.tap()
    stage.add_task(rounds=1)
    stage.start_aggregator()
    stage.start_device()
    sent: list[bytes] = []

    def withheld(topic: str, payload: bytes) -> bool:
        if "/up/" in topic:
            sent.append(payload)
        return bool(sent) and payload == sent[0]

    stage.aggregator.withheld = withheld
    stage.run(lambda: sent)
    plan = plan_of(stage)
    topic = up(VICTIM_ID, plan)
    tap.publish(topic, sealed(topic, update_for(plan), MALLORY))
    tap.ping()
    stage.settle()
    return (1, VICTIM_ID) in stage.accepted()


def update_without_a_ticket(stage: Stage) -> bool:
    """Nobody asked it to take part."""
    tap = stage.tap()
    stage.begin(rounds=1, goal=2)
    stage.run(stage.accepted)
    plan = plan_of(stage)
    topic = up(MALLORY_ID, plan)
    tap.publish(topic, sealed(topic, update_for(plan), MALLORY))
    tap.ping()
    stage.settle()
    return (1, MALLORY_ID) in stage.accepted()


def need_no_ticket(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cohort, "until", lambda _cohort, _device: 0)


def nested_cbor(stage: Stage) -> bool:
    """Rightly signed: whether the aggregator meets an error that nobody expects."""
    tap = stage.tap()
    stage.begin()
    topic = TOPICS.of(Kind.JOIN, TASK, MALLORY_ID)
    payload = b"\xa2\x00\x01\x01" + b"\x81" * LEVELS + b"\x00"
    message = seal(payload, TOPICS.bound(topic), MALLORY)
    assert len(message) <= MAX_SMALL
    tap.publish(topic, message)
    tap.ping()
    stage.settle()
    return stage.aggregator.service.counters.counts.get("faults", 0) > 0


def read_any_depth(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bounded, "MAX_DEPTH", 10**6)


# --- what the MQTT broker's own configuration stands against -----------------------------------


def another_devices_topic(stage: Stage) -> bool:
    stage.begin()
    mallory = stage.enter(MALLORY_ID, stage.pairs[MALLORY_ID])
    mallory.publish(TOPICS.of(Kind.JOIN, TASK, VICTIM_ID), b"in your name")
    mallory.ping()
    stage.settle()
    return any(payload == b"in your name" for _, payload in stage.aggregator.heard)


def another_devices_answers(stage: Stage) -> bool:
    """Whether it reads what the aggregator says to the victim, and what that one sends."""
    mallory = stage.enter(MALLORY_ID, stage.pairs[MALLORY_ID])
    mallory.subscribe("#")
    stage.begin(rounds=1)
    stage.run(lambda: stage.settled_at(1))
    mine = [topic for topic, _ in mallory.ping()]
    assert any("/plan/" in topic for topic in mine)
    return any(VICTIM_ID in topic and "/keys/" not in topic for topic in mine)


def another_devices_client_id(stage: Stage) -> bool:
    """Of two clients of one id the MQTT broker keeps the later one."""
    stage.begin()
    stage.settle()
    stage.enter(VICTIM_ID, stage.pairs[MALLORY_ID]).ping()
    stage.settle()
    return stage.device.service.connection.lost != ""


def retained_by_a_device(stage: Stage) -> bool:
    """What who subscribes later finds as the plan."""
    stage.begin()
    stage.settle()
    mallory = stage.enter(MALLORY_ID, stage.pairs[MALLORY_ID])
    mallory.publish(PLANS, b"a plan of mine", retain=True)
    mallory.subscribe(PLANS)
    return mallory.ping()[-1] == (PLANS, b"a plan of mine")


def oversized_for_all(stage: Stage) -> bool:
    """Whether a packet that no message fills is handed on."""
    stage.begin()
    mallory = stage.enter(MALLORY_ID, stage.pairs[MALLORY_ID])
    topic = f"{TOPICS.prefix}{TASK}/up/{MALLORY_ID}/{'0' * 32}/0"
    mallory.subscribe(topic)
    try:
        mallory.publish(topic, bytes(MAX_PACKET + 1))
        return len(mallory.ping()) > 0
    except PutOff:
        return False


def quality_two(stage: Stage) -> bool:
    """Whether the MQTT broker keeps messages for it, one by one, until it comes back to them."""
    stage.begin()
    mallory = stage.enter(MALLORY_ID, stage.pairs[MALLORY_ID])
    try:
        for _ in range(10):
            mallory.publish(TOPICS.of(Kind.JOIN, TASK, MALLORY_ID), b"kept", quality=2)
    except PutOff:
        return False
    return mallory.lives


GUARDED = (
    ("another-devices-topic", another_devices_topic, "acl_file"),
    ("another-devices-answers", another_devices_answers, "acl_file"),
    ("another-devices-client-id", another_devices_client_id, "use_username_as_clientid"),
    ("retained-by-a-device", retained_by_a_device, "acl_file"),
    ("oversized-for-all", oversized_for_all, "max_packet_size"),
    ("quality-two-by-a-device", quality_two, "max_qos"),
)

ATTACKS = (
    Attack("model-by-a-device", Who.DEVICE, model_by_a_device, believe_devices),
    Attack("update-for-another-device", Who.DEVICE, update_for_another, believe_devices),
    Attack("update-without-a-ticket", Who.DEVICE, update_without_a_ticket, need_no_ticket),
    Attack("nested-cbor", Who.DEVICE, nested_cbor, read_any_depth),
    *(
        Attack(name, Who.DEVICE, play, left_out=(words,), guarded=True)
        for name, play, words in GUARDED
    ),
)
