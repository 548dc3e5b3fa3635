"""Who has something of former times: a replaced key, an old image of a card, a place in the fleet.

And who has the online key, which certifies nobody.
"""

import shutil
from dataclasses import replace

import pytest

from fedling_broker.mosquitto import access
from fedling_broker.rounds import machine as rounds
from fedling_broker.rounds.cohort import Cohort
from fedling_broker.service.roster import Roster
from fedling_broker.store.devices import Devices
from fedling_protocol.wire.envelope import Envelope
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, PlanKind, Role
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.topics import Address
from fedling_protocol.wire.trust import Known, Standing, Trust
from tests.support.attacks.broker import believe_the_past
from tests.support.attacks.cast import (
    FLEET,
    MALLORY,
    MALLORY_ID,
    ONLINE,
    ROOT,
    TASK,
    TOPICS,
    VICTIM_ID,
    contents,
    named_by,
    now_s,
    of_kind,
    sealed,
    update_for,
)
from tests.support.attacks.intruder import Intruder, PutOff
from tests.support.attacks.stage import (
    Stage,
    plan_of,
)
from tests.support.attacks.table import Attack, Who

PLANS = TOPICS.of(Kind.PLAN, TASK, PlanKind.TRAIN)
KEYS = TOPICS.of(Kind.KEYS, AGGREGATOR)
REPLACED = SigningKey(b"F" * 32)  # the online key of former times
EVE = SigningKey(b"E" * 32)
LATER = 2**32 - 1


def foreign_plan(stage: Stage, certificate: bytes, key: SigningKey) -> bool:
    """A certificate of an aggregator, then a plan of the future by it: whether that is believed."""
    tap = stage.tap()
    stage.begin(rounds=1)
    stage.run(lambda: stage.settled_at(1))
    plan = replace(plan_of(stage), base_version=9, plan_id=b"f" * 16, epoch=LATER)
    tap.publish(KEYS, certificate, retain=True)
    tap.publish(PLANS, sealed(PLANS, plan, key), retain=True)
    tap.ping()
    stage.settle()
    return plan_of(stage).plan_id == plan.plan_id


def model_by_a_replaced_key(stage: Stage) -> bool:
    """The certificate that it had, rightly signed by the root."""
    old = Certificate(REPLACED.public, Role.AGGREGATOR, FLEET, AGGREGATOR, 1)
    return foreign_plan(stage, sealed(KEYS, old, ROOT), REPLACED)


def believe_any_serial(patch: pytest.MonkeyPatch) -> None:
    def learn(trust: Trust, new: Certificate, _signer: bytes) -> None:
        trust.know(new.id, new.key, new.serial)

    patch.setattr(Trust, "_learn", learn)


def certified_by_the_online_key(stage: Stage) -> bool:
    """Who had the online key for an hour certifies a key to keep."""
    own = Certificate(EVE.public, Role.AGGREGATOR, FLEET, AGGREGATOR, LATER)
    return foreign_plan(stage, sealed(KEYS, own, ONLINE), EVE)


def let_everybody_certify(patch: pytest.MonkeyPatch) -> None:
    find_signer = Trust._find_signer

    def find(trust: Trust, address: Address, parts: Envelope) -> Known:
        own = address.kind is Kind.KEYS and parts.kid == ONLINE.kid
        return Known(ONLINE.public, 0, ONLINE.kid) if own else find_signer(trust, address, parts)

    patch.setattr(Trust, "_find_signer", find)


def certified_by_the_authority(stage: Stage) -> bool:
    """Who has the authority's key, which is for devices, certifies an aggregator."""
    own = Certificate(EVE.public, Role.AGGREGATOR, FLEET, AGGREGATOR, LATER)
    return foreign_plan(stage, sealed(KEYS, own, stage.office), EVE)


def let_the_authority_certify_all(patch: pytest.MonkeyPatch) -> None:
    find_signer = Trust._find_signer

    def find(trust: Trust, address: Address, parts: Envelope) -> Known:
        known = trust.known(AUTHORITY)
        own = address.kind is Kind.KEYS and known is not None and known.kid == parts.kid
        return known if own and known is not None else find_signer(trust, address, parts)

    patch.setattr(Trust, "_find_signer", find)


def certified_by_a_replaced_root(stage: Stage) -> bool:
    """The fleet has another root key; a thief of the old one certifies an aggregator, later."""
    stage.begin(rounds=1)
    stage.run(lambda: stage.settled_at(1))
    rotated = stage.offices.rotate_root(ROOT, ONLINE.public, now_s())
    with stage.books() as store:
        Devices(store.database, TOPICS).take_in(rotated.bundle)
    trust = stage.device.service.inbox.trust
    new = rotated.newest_root

    def counts() -> bool:
        known = trust.known(AGGREGATOR)
        return known is not None and known.signer == new

    stage.run(counts)
    tap = stage.tap()
    plan = replace(plan_of(stage), base_version=9, plan_id=b"f" * 16, epoch=LATER)
    old = Certificate(EVE.public, Role.AGGREGATOR, FLEET, AGGREGATOR, LATER)
    tap.publish(KEYS, sealed(KEYS, old, ROOT), retain=True)
    tap.publish(PLANS, sealed(PLANS, plan, EVE), retain=True)
    tap.ping()
    stage.settle()
    return plan_of(stage).plan_id == plan.plan_id


def believe_any_root(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Trust, "_age", lambda _trust, _owner, known: (0, known.serial))


def counts_now(stage: Stage, tap: Intruder) -> bool:
    """Whether an update that Mallory sends now is accepted."""
    plan = plan_of(stage)
    topic = TOPICS.of(Kind.UPDATE, TASK, MALLORY_ID, plan.plan_id, 0)
    tap.publish(topic, sealed(topic, update_for(plan), MALLORY))
    tap.ping()
    stage.settle()
    return (1, MALLORY_ID) in stage.accepted()


def update_after_its_life(stage: Stage) -> bool:
    """Of a device whose certificate is over."""
    tap = stage.tap()
    stage.begin(rounds=1, goal=2)
    stage.run(stage.accepted)
    with stage.books() as store:
        stage.admit(Devices(store.database, TOPICS), MALLORY, now_s() - 10)
    trust = stage.aggregator.service.inbox._trust

    def is_known() -> bool:
        known = trust.known(MALLORY_ID)
        return known is not None and 0 < known.until_s < now_s()

    stage.run(is_known)
    return counts_now(stage, tap)


def never_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Known, "standing", lambda _known, _now_s: Standing.CERTIFIED)
    patch.setattr(Cohort, "until", lambda _cohort, _device: 0)  # it had a place


def tombstone_taken_back(stage: Stage) -> bool:
    """A device that has read its tombstone is shown the certificate of before, and restarted."""
    tap = stage.tap()
    stage.begin(rounds=1)
    stage.run(lambda: stage.settled_at(1))
    keys = TOPICS.of(Kind.KEYS, VICTIM_ID)
    before = next(data for topic, data in tap.ping() if topic == keys and data)
    with stage.books() as store:
        assert Devices(store.database, TOPICS).revoke(VICTIM_ID, stage.office)
    stage.run(lambda: stage.device.service.enrolment.revoked)
    tap.publish(keys, before, retain=True)
    tap.ping()
    stage.settle()
    stage.stop(stage.device)
    stage.start_device()
    stage.settle()
    return not stage.device.service.enrolment.revoked


def restored_device_rolled_back(stage: Stage) -> bool:
    """A card is put back as it was in the first round; then it is shown the second one again."""
    tap = stage.tap()
    image = stage.directory / "image"
    stage.add_task(rounds=1)
    stage.start_aggregator()
    stage.start_device()
    stage.run(lambda: stage.settled_at(1))
    stage.stop(stage.device)
    shutil.copytree(stage.directory / "device", image)
    stage.start_device()
    stage.change_task(rounds=3)
    stage.run(lambda: stage.settled_at(3))
    stage.stop(stage.device)
    shutil.rmtree(stage.directory / "device")
    shutil.copytree(image, stage.directory / "device")
    stage.start_device()
    stage.run(lambda: stage.version == 4)
    model = TOPICS.of(Kind.MODEL, TASK, 2)
    heard = of_kind(tap.ping(), f"/{TASK}/")
    second = next(d for t, d in heard if t == PLANS and named_by(contents(t, d)) == 2)
    tap.publish(model, next(data for topic, data in heard if topic == model), retain=True)
    tap.publish(PLANS, second, retain=True)
    tap.ping()
    stage.settle()
    return stage.version != 4


def restored_device_sends_twice(stage: Stage) -> bool:
    """A card is put back as it was before its update was sent, in a round that is open still."""
    image = stage.directory / "image"
    shutil.copytree(stage.directory / "device", image)
    stage.begin(rounds=1, goal=2)
    stage.run(stage.accepted)
    stage.settle()
    stage.stop(stage.device)
    shutil.rmtree(stage.directory / "device")
    shutil.copytree(image, stage.directory / "device")
    stage.start_device()
    stage.run(lambda: stage.device.service.runners.find(TASK))
    stage.settle()
    stage.settle()
    return stage.folded > 0


def count_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rounds, "known_decision", lambda _phase, _event: None)


def update_of_a_revoked_device(stage: Stage) -> bool:
    """It had a place, and a certificate, when it was revoked."""
    tap = stage.tap()
    stage.begin(rounds=1, goal=2)
    stage.run(stage.accepted)
    with stage.books() as store:
        assert Devices(store.database, TOPICS).revoke(MALLORY_ID, ROOT)
    return counts_now(stage, tap)


def forget_no_device(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Known, "standing", lambda _known, _now_s: Standing.CERTIFIED)
    patch.setattr(Roster, "knows", lambda _roster, _device: True)
    patch.setattr(Cohort, "until", lambda _cohort, _device: 0)  # its place is taken, too


def revoked_comes_back(stage: Stage) -> bool:
    stage.begin()
    stage.revoke(MALLORY_ID)
    try:
        return stage.enter(MALLORY_ID, stage.pairs[MALLORY_ID]).lives
    except PutOff:
        return False


def revoked_says_something(stage: Stage) -> bool:
    """On the connection that it had."""
    stage.begin()
    mallory = stage.enter(MALLORY_ID, stage.pairs[MALLORY_ID])
    stage.revoke(MALLORY_ID)
    mallory.publish(TOPICS.of(Kind.JOIN, TASK, MALLORY_ID), b"still here")
    mallory.ping()
    stage.settle()
    return any(payload == b"still here" for _, payload in stage.aggregator.heard)


def deny_nobody(patch: pytest.MonkeyPatch) -> None:
    of_devices = access.of_devices
    patch.setattr(access, "of_devices", lambda topics, _revoked: of_devices(topics, ()))


ATTACKS = (
    Attack(
        "revoked-device-comes-back",
        Who.FORMER,
        revoked_comes_back,
        left_out=("crlfile",),
        guarded=True,
    ),
    Attack("revoked-device-speaks", Who.FORMER, revoked_says_something, deny_nobody, guarded=True),
    Attack("model-by-a-replaced-key", Who.FORMER, model_by_a_replaced_key, believe_any_serial),
    Attack(
        "restored-device-rolled-back", Who.FORMER, restored_device_rolled_back, believe_the_past
    ),
    Attack("restored-device-sends-twice", Who.FORMER, restored_device_sends_twice, count_twice),
    Attack("update-of-a-revoked-device", Who.FORMER, update_of_a_revoked_device, forget_no_device),
    Attack("update-after-its-life", Who.FORMER, update_after_its_life, never_over),
    Attack("tombstone-taken-back", Who.BROKER, tombstone_taken_back, believe_any_serial),
    Attack(
        "certified-by-a-replaced-root", Who.FORMER, certified_by_a_replaced_root, believe_any_root
    ),
    Attack(
        "certified-by-the-authority",
        Who.AUTHORITY,
        certified_by_the_authority,
        let_the_authority_certify_all,
    ),
    Attack(
        "certified-by-the-online-key",
        Who.AGGREGATOR,
        certified_by_the_online_key,
        let_everybody_certify,
    ),
)
