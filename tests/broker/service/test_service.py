"""Whole rounds of a real aggregator on a real mosquitto, with devices by script."""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire import digest, envelope
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Answer, Receipt, Ticket, Verdict
from tests.support.fleet import TASK, Aggregator, Device
from tests.support.tools import need
from tests.support.waiting import PATIENCE_S, Manager, until


class Fleet:
    """One aggregator, devices by number, one loop."""

    def __init__(self, directory: Path, mosquitto: Mosquitto, **options: str) -> None:
        self.loop = Loop()
        self.mosquitto = mosquitto
        self.aggregator = Aggregator(directory / "aggregator", mosquitto.port, **options)
        self.devices: list[Device] = []

    def device(self, number: int, *, enrol: bool = True) -> Device:
        device = Device(self.loop, self.mosquitto.port, number)
        self.devices.append(device)
        if enrol:
            self.aggregator.enrol(device)
        return device

    def round(self, number: int, step: int = 3) -> list[Receipt]:
        """Every device takes part in this round."""
        plan = self.devices[0].wait_plan(number)
        return [d.deliver(d.make_update(plan, step + k)) for k, d in enumerate(self.devices)]

    def close(self) -> None:
        self.aggregator.kill()
        for device in self.devices:
            device.link.stop(None, lambda: None)
        self.loop.turn(0.1)
        self.loop.close()


@pytest.fixture
def fleet(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, mosquitto)
    yield fleet
    fleet.close()
    print(fleet.aggregator.log_text()[-5000:])


def test_two_rounds_make_two_models_and_then_rest(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=2, goal=2)
    devices = [fleet.device(1), fleet.device(2)]
    fleet.aggregator.start()
    for number in (1, 2):
        receipts = fleet.round(number)
        assert [r.verdict for r in receipts] == [Verdict.ACCEPTED] * 2
    until(lambda: devices[0].rest, fleet.loop.turn)
    rest = devices[0].rest
    assert rest is not None
    assert rest.version == 3
    fleet.devices[0].link.subscribe([fleet.aggregator.topics.of(Kind.MODEL, "tiny", 3)])
    until(lambda: 3 in devices[0].models, fleet.loop.turn)
    model = devices[0].models[3]
    found = digest.model_hash(model.spec, model.exponents, model.weights)
    assert found == rest.model_hash
    assert fleet.aggregator.stop() == 0
    verified = fleet.aggregator.json("round", "verify", "--all")
    assert [row["version"] for row in verified["models"]] == [1, 2, 3]
    assert verified["models"][2]["model_hash"] == found.hex()
    assert verified["faults"] == 0
    shown = fleet.aggregator.json("round", "show", "tiny", "2")
    assert shown["weight"] == 14
    assert {d["device"] for d in shown["decisions"]} == {d.id for d in devices}
    assert not list((fleet.aggregator.directory / "broker-state" / "updates").iterdir())


def test_updates_are_kept_for_audits(tmp_path: Path, mosquitto: Mosquitto) -> None:
    fleet = Fleet(tmp_path, mosquitto, keep_updates="audit")
    try:
        fleet.aggregator.add_task(rounds=1, goal=2)
        fleet.device(1), fleet.device(2)
        fleet.aggregator.start()
        fleet.round(1)
        until(lambda: fleet.devices[0].rest, fleet.loop.turn)
        fleet.aggregator.stop()
        rows = fleet.aggregator.json("round", "verify", "tiny")["models"]
        assert [row["from"] for row in rows] == ["seed", "updates"]
        updates = list((fleet.aggregator.directory / "broker-state" / "updates").iterdir())
        assert len(updates) == 1
        flip_a_byte(updates[0])
        assert "not the update that was accepted" in fleet.aggregator.run(
            "round", "verify", "--all", code=1
        )
    finally:
        fleet.close()


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["sums", "models"])
def test_verify_finds_a_flipped_byte(fleet: Fleet, kind: str) -> None:
    fleet.aggregator.add_task(rounds=1, goal=1)
    fleet.device(1)
    fleet.aggregator.start()
    fleet.round(1)
    until(lambda: fleet.devices[0].rest, fleet.loop.turn)
    fleet.aggregator.stop()
    fleet.aggregator.run("round", "verify", "--all")
    for path in (fleet.aggregator.directory / "broker-state" / kind).iterdir():
        flip_a_byte(path)
    assert "round 1" in fleet.aggregator.run("round", "verify", "--all", code=1)


def test_a_stranger_is_told_to_enrol_and_needs_no_restart(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=1, goal=1)
    fleet.aggregator.start()
    stranger = fleet.device(5, enrol=False)
    plan = stranger.wait_plan(1)
    answer = stranger.ask(plan.plan_id, key=True)
    assert isinstance(answer, Ticket)
    assert (answer.answer, answer.reason) == (Answer.WAIT, "not enrolled")
    (row,) = fleet.aggregator.json("device", "pending")
    assert (row["device"], row["key"]) == (stranger.id, stranger.key.public.hex())
    fleet.aggregator.enrol(stranger)
    until(lambda: stranger.enrolled, fleet.loop.turn)
    assert stranger.deliver(stranger.make_update(plan, 1)).verdict is Verdict.ACCEPTED
    assert fleet.aggregator.json("device", "pending") == []


def test_a_removed_device_is_refused(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=2, goal=1)
    device = fleet.device(1)
    fleet.aggregator.start()
    plan = device.wait_plan(1)
    fleet.aggregator.run("device", "revoke", device.id)

    def refused() -> bool:
        answer = device.ask(plan.plan_id, key=True)
        return isinstance(answer, Ticket) and answer.reason == "not enrolled"

    until(refused, fleet.loop.turn)
    assert fleet.aggregator.json("device", "list") == []


def test_kill_between_two_updates_loses_nothing(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=2, goal=2)
    first, second = fleet.device(1), fleet.device(2)
    fleet.aggregator.start()
    plan = first.wait_plan(1)
    assert first.deliver(first.make_update(plan, 3)).verdict is Verdict.ACCEPTED
    fleet.aggregator.kill()
    fleet.aggregator.start()
    again = first.make_update(plan, 3)
    assert isinstance(second.ask(plan.plan_id), Ticket)
    have = first.send_update(again)
    first.receipts.clear()
    receipt = first.receipt_for(have, lambda: first.send_update(again))
    assert (receipt.verdict, receipt.of) == (Verdict.DUPLICATE, Verdict.ACCEPTED)
    assert second.deliver(second.make_update(plan, 4)).verdict is Verdict.ACCEPTED
    next_plan = first.wait_plan(2)
    assert next_plan.base_version == 2
    assert fleet.aggregator.json("round", "show", "tiny", "1")["accepted"] == 2
    fleet.aggregator.run("round", "verify", "--all")


def test_an_interrupted_round_is_opened_again_with_the_same_plan(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=1, goal=1)
    device = fleet.device(1)
    fleet.aggregator.start()
    plan = device.wait_plan(1)
    for _ in range(3):
        fleet.aggregator.kill()
        device.plan = None
        fleet.mosquitto.kill()
        fleet.mosquitto.start()
        fleet.aggregator.start()
        assert device.wait_plan(1).plan_id == plan.plan_id


def test_the_mqtt_broker_holds_no_truth(fleet: Fleet) -> None:
    """After it has lost everything, what is retained is there again."""
    fleet.aggregator.add_task(rounds=1, goal=1)
    fleet.aggregator.start()
    device = fleet.device(1)
    plan = device.wait_plan(1)
    fleet.mosquitto.kill()
    fleet.mosquitto.start()
    late = fleet.device(2)
    assert late.wait_plan(1) == plan
    late.link.subscribe([fleet.aggregator.topics.of(Kind.MODEL, "tiny", 1)])
    until(lambda: 1 in late.models, fleet.loop.turn)


def test_what_does_not_fit_is_refused_with_a_reason(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=1, goal=6)
    fleet.aggregator.start()
    cases = {
        "base": {"base_version": 9},
        "weight": {"weight": 1001},
        "shape": {"vector": b"\0" * 10},
    }
    for number, (reason, change) in enumerate(cases.items(), start=1):
        device = fleet.device(number)
        update = replace(device.make_update(device.wait_plan(1), 1), **change)  # type: ignore[arg-type]
        receipt = device.deliver(update)
        assert (receipt.verdict, receipt.reason) == (Verdict.REFUSED, reason)
    uninvited = fleet.device(8)
    update = uninvited.make_update(uninvited.wait_plan(1), 1)
    have = uninvited.send_update(update)
    receipt = uninvited.receipt_for(have, lambda: uninvited.send_update(update))
    assert (receipt.verdict, receipt.reason) == (Verdict.REFUSED, "no ticket")
    other = uninvited.send_update(replace(update, saturated=1))
    assert uninvited.receipt_for(other, lambda: None).reason == "conflict"


def test_coded_vectors_that_no_encoder_wrote_are_refused_and_end_no_round(fleet: Fleet) -> None:
    coded = "[compression]\ntarget_bytes = 60"
    fleet.aggregator.add_task(rounds=1, goal=1, cohort=coded)
    fleet.aggregator.start()
    for number, vector in enumerate((b"\1", b"\0" * 50, b"\2" * 50, b"\xff" * 60), start=1):
        device = fleet.device(number)
        plan = device.wait_plan(1)
        assert (plan.codec, plan.target) == (Codec.CODED, 60)
        receipt = device.deliver(replace(device.make_update(plan, 1), vector=vector))
        assert (receipt.verdict, receipt.reason) == (Verdict.REFUSED, "vector")
    device = fleet.device(5)
    plan = device.wait_plan(1)
    unchanged = replace(device.make_update(plan, 1), vector=b"")  # an encoder's word for zeros
    assert device.deliver(unchanged).verdict is Verdict.ACCEPTED
    until(lambda: device.rest, fleet.loop.turn)
    assert device.rest is not None
    assert device.rest.version == 2
    assert "0 faults" in fleet.aggregator.run("round", "verify", "--all")
    (shown,) = fleet.aggregator.json("round", "list", "tiny")
    assert (shown["accepted"], shown["refused"]) == (1, 4)


def test_hostile_messages_are_counted_and_nothing_else_happens(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=1, goal=1)
    device = fleet.device(1)
    fleet.aggregator.start()
    plan = device.wait_plan(1)
    topic = fleet.aggregator.topics.of(Kind.UPDATE, "tiny", device.id, plan.plan_id, 0)
    update = device.make_update(plan, 2)
    sound = envelope.seal(update, device.topics.bound(topic), device.key)
    forged = SigningKey(b"x" * 32)
    bad = [
        b"",
        sound[:-1],
        sound[: len(sound) // 2],
        bytes([sound[0] ^ 0xFF]) + sound[1:],
        sound[:-1] + bytes([sound[-1] ^ 1]),
        b"\x9f" * 500,
        random.Random(1).randbytes(3000),
        bytes.fromhex("d283010203"),  # 18([1, 2, 3])
        envelope.seal(update, device.topics.bound(topic), forged),
        envelope.seal(update, device.topics.bound(topic + "0"), device.key),
    ]
    for message in bad:
        device.link.publish(topic, message)
    device.link.publish(fleet.aggregator.topics.of(Kind.JOIN, "other", device.id), sound)
    device.link.publish("fedling/2/test/tiny/join/" + device.id, sound)
    device.link.publish(topic, os.urandom(17 * 2**20))  # more than the MQTT broker lets pass
    assert device.deliver(update).verdict is Verdict.ACCEPTED
    until(lambda: device.rest, fleet.loop.turn)
    fleet.aggregator.stop()
    counters = fleet.aggregator.counters()
    refused = {name: n for name, n in counters.items() if name.startswith("refused: ")}
    assert sum(refused.values()) >= len(bad) + 1
    for reason in ("size", "cbor", "envelope", "signature", "unknown key"):
        assert refused.get(f"refused: {reason}"), refused


def test_a_paused_task_rests_after_the_round_in_work(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=0, goal=1, cohort="pause_s = 0")
    device = fleet.device(1)
    fleet.aggregator.start()
    device.wait_plan(1)
    fleet.aggregator.run("task", "pause", "tiny")
    until(lambda: "tiny: paused" in fleet.aggregator.log_text(), fleet.loop.turn)
    fleet.round(1)
    until(lambda: device.rest, fleet.loop.turn)
    fleet.aggregator.run("task", "resume", "tiny")
    assert device.wait_plan(2).base_version == 2


def test_serve_waits_for_the_mqtt_broker_and_says_so(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=1, goal=1)
    fleet.mosquitto.stop()
    fleet.aggregator.start()
    until(lambda: "no connection to 127.0.0.1" in fleet.aggregator.log_text(), fleet.loop.turn)
    fleet.mosquitto.start()
    fleet.device(1).wait_plan(1)


def test_a_removed_task_is_told_to_who_still_asks(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=1, goal=2)
    first, second = fleet.device(1), fleet.device(2)
    fleet.aggregator.start()
    plan = first.wait_plan(1)
    assert first.deliver(first.make_update(plan, 3)).verdict is Verdict.ACCEPTED
    fleet.aggregator.run("task", "remove", "tiny")
    answer = second.ask(plan.plan_id)
    assert isinstance(answer, Receipt)
    assert (answer.verdict, answer.reason) == (Verdict.REFUSED, "unknown plan")
    late = second.make_update(plan, 4)
    have = second.send_update(late)
    assert second.receipt_for(have, lambda: second.send_update(late)).reason == "unknown plan"
    until(lambda: "tiny: removed" in fleet.aggregator.log_text(), fleet.loop.turn)
    until(lambda: not fleet.aggregator.files("updates"), fleet.loop.turn)
    until(lambda: not fleet.aggregator.files("models"), fleet.loop.turn)
    fleet.aggregator.add_task(rounds=1, goal=1)
    until(lambda: first.plan and first.plan.plan_id != plan.plan_id, fleet.loop.turn)
    assert first.plan is not None
    assert first.plan.base_hash == plan.base_hash
    assert first.deliver(first.make_update(first.plan, 5)).verdict is Verdict.ACCEPTED


def test_only_the_newest_model_stays_retained(fleet: Fleet) -> None:
    fleet.aggregator.add_task(rounds=2, goal=1)
    device = fleet.device(1)
    fleet.aggregator.start()
    fleet.round(1)
    device.wait_plan(2)
    until(lambda: fleet.aggregator.retained("tiny") == [2], fleet.loop.turn)
    late = fleet.device(2)
    late.wait_plan(2)
    topics = [fleet.aggregator.topics.of(Kind.MODEL, "tiny", version) for version in (1, 2)]
    late.link.subscribe(topics)
    until(lambda: 2 in late.models, fleet.loop.turn)
    assert 1 not in late.models


def test_the_service_manager_hears_how_it_is(fleet: Fleet, tmp_path: Path) -> None:
    with Manager() as manager:
        fleet.aggregator.start(**manager.environment, WATCHDOG_USEC="200000")
        manager.hear("READY=1", "WATCHDOG=1")
        for _ in range(2):
            manager.hear("WATCHDOG=1")
        assert fleet.aggregator.stop() == 0
        manager.hear("STOPPING=1")


def test_a_second_task_needs_no_restart(fleet: Fleet) -> None:
    fleet.aggregator.start()
    device = fleet.device(1)
    until(lambda: device.enrolled, fleet.loop.turn)
    fleet.aggregator.add_task(rounds=1, goal=1)
    plan = device.wait_plan(1)
    assert device.deliver(device.make_update(plan, 1)).verdict is Verdict.ACCEPTED


def test_a_fleet_that_was_renamed_is_not_served(fleet: Fleet) -> None:
    config = fleet.aggregator.directory / "broker.toml"
    config.write_text(config.read_text().replace('fleet = "test"', 'fleet = "other"'))
    fleet.aggregator.start()
    assert fleet.aggregator.process is not None
    assert fleet.aggregator.process.wait(timeout=PATIENCE_S) == 78
    said = fleet.aggregator.log_text()
    assert "is the authority of fleet test" in said
    assert "Traceback" not in said


def test_model_that_the_mqtt_broker_does_not_take_stops_no_other_task(tmp_path: Path) -> None:
    """mosquitto 2.1 and NATS cut the connection at a large packet, and with it every task."""
    need("mosquitto")
    limit = ["max_packet_size 20000"]
    with Mosquitto(tmp_path / "mosquitto", settings=limit) as mosquitto, ExitStack() as stack:
        fleet = Fleet(tmp_path, mosquitto)
        stack.callback(fleet.close)
        aggregator = fleet.aggregator
        aggregator.add_task(rounds=3, goal=2)
        large = aggregator.directory / "large.toml"
        text = TASK.format(rounds=2, goal=2, cohort="")
        large.write_text(text.replace('"tiny"', '"large"').replace("[5, 3]", "[4000, 3]"))
        aggregator.run("task", "add", str(large))
        for number in (1, 2):
            fleet.device(number)
        aggregator.start()
        held = "task large is held back: its model"
        until(lambda: held in aggregator.log_text(), fleet.loop.turn)
        for number in (1, 2, 3):
            assert [r.verdict for r in fleet.round(number)] == [Verdict.ACCEPTED] * 2
        told = {row["task"]: row["hindrance"] for row in aggregator.json("task", "list")}
        assert not told["tiny"]
        assert "cost the connection to the MQTT broker 2 times in a row" in told["large"]
        assert "on fedling/1/test/large/model/1 were on their way" in aggregator.log_text()
