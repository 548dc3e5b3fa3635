"""A real agent process, a real mosquitto, an aggregator that the test plays."""

import hashlib
import os
import re
import select
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_native import Loss, dense, weights_size
from fedling_protocol.exits import Exit
from fedling_protocol.wire import envelope
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Conditions, PlanKind, StateCode
from fedling_sim.chaos.proxy import Proxy
from fedling_sim.world import Weather
from tests.support import plug
from tests.support.access import access_settings
from tests.support.agent import GOOD, Agent, rows
from tests.support.aggregator import (
    ONLINE,
    STRANGER,
    TOPICS,
    FakeAggregator,
    make_model,
    make_plan,
)
from tests.support.damage import spoil
from tests.support.tools import absent, as_nobody, need, only_processes
from tests.support.waiting import PATIENCE_S, Manager, until

LAYERS = (dense(40, 16, relu=True), dense(16, 3))  # 20 samples of 2 channels, 3 labels
LOW = Weather(mains=False, battery=20, temperature=40, network=True)

MakeAgent = Callable[..., Agent]


def enrol(aggregator: FakeAggregator, agent: Agent) -> str:
    """Make its key, certify it; returns the device id."""
    facts = agent.json("init")
    aggregator.certify(bytes.fromhex(facts["key"]))
    return str(facts["device"])


def ready(aggregator: FakeAggregator, agent: Agent) -> str:
    """Enrolled, with examples, running."""
    device = enrol(aggregator, agent)
    agent.run("ingest", "wrist", text=rows(6, 200))
    agent.start()
    return device


def verdicts(agent: Agent) -> dict[str, int]:
    tasks = agent.status().get("tasks", {})
    return dict(tasks.get("watch", {}).get("verdicts", {}))


def refused(agent: Agent) -> dict[str, int]:
    counters = agent.status().get("counters", {})
    return {k.removeprefix("refused: "): n for k, n in counters.items() if k.startswith("refused")}


def test_a_round_from_plan_to_receipt_and_the_next_model(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    device = ready(aggregator, agent)
    plan = aggregator.offer(make_model(LAYERS), 1)
    aggregator.until(lambda: verdicts(agent) == {"accepted": 1})
    ((sender, update, _),) = aggregator.updates
    assert sender == device
    assert (update.plan_id, update.base_version, update.base_hash) == (
        plan.plan_id,
        1,
        plan.base_hash,
    )
    assert update.weight == 60
    assert len(update.vector) == weights_size(LAYERS)
    assert all(join.key is None for _, join in aggregator.joins)

    aggregator.rest(make_model(LAYERS, version=2))
    aggregator.until(lambda: agent.status()["tasks"]["watch"]["model"]["version"] == 2)
    answer = agent.json("predict", text="\n".join(rows(1, 20).split("\n")))
    assert (answer["model"], answer["by"]) == (2, "service")
    assert answer["label"] in ("label 0", "label 1", "label 2")
    assert abs(sum(answer["probabilities"].values()) - 1) < 0.01
    assert answer["given"] == "label 0"
    assert answer["score"]["said"] == {"label 0": {answer["label"]: 1}}
    assert (
        f"{answer['score']['right']} of 1 right: label 0"
        in agent.run("predict", text=rows(1, 20)).stdout
    )
    assert agent.status()["tasks"]["watch"]["doing"] == "no open plan"
    aggregator.rest(make_model(LAYERS, version=2), paused="firmware week")
    aggregator.until(lambda: "paused by the operator: firmware week" in agent.doing())

    meanings = [m["meaning"] for m in agent.json("sent")]
    assert "the update of round 1 of watch" in meanings
    assert "asks to take part in round 1 of watch" in meanings
    (record,) = agent.json("replay")
    assert record["vector"] == hashlib.sha256(update.vector).hexdigest()
    assert agent.json("replay", record["plan"][:6])["same"] is True
    assert "epoch 0 batch 0" in agent.run("replay", record["plan"], "--order").stdout

    assert agent.stop() == Exit.OK
    aggregator.until(lambda: aggregator.states[-1][1].code is StateCode.OFFLINE)
    assert aggregator.states[-1][1].version == 2
    assert aggregator.refused == []
    assert agent.json("status")["tasks"]["watch"]["verdicts"] == {"accepted": 1}
    alone = agent.json("predict", text="\n".join(rows(1, 20).split("\n")))
    assert {**alone, "by": ""} == {**answer, "by": ""}


def test_a_round_of_an_autoencoder_needs_no_labels(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    enrol(aggregator, agent)
    lines = rows(2, 100).splitlines()
    unlabelled = [",".join(x for i, x in enumerate(row.split(",")) if i != 1) for row in lines]
    agent.run("ingest", "wrist", text="\n".join(unlabelled) + "\n")
    agent.start()
    layers = (dense(40, 8, relu=True), dense(8, 40))
    model = make_model(layers, loss=Loss.RECONSTRUCTION)
    aggregator.offer(model, 1)
    aggregator.until(lambda: verdicts(agent) == {"accepted": 1})
    ((_, update, _),) = aggregator.updates
    assert update.weight == 2 * 100 // 20
    assert any(update.vector)
    window = "\n".join(unlabelled[:21])
    answer = agent.json("predict", text=window)
    assert answer["error"] > 0
    assert "label" not in answer
    sentence = agent.run("predict", text=window).stdout
    assert sentence == f"error {answer['error']:.3f} (mean squared; model 1)\n"


def test_uncertified_device_waits_and_goes_on_without_a_restart(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    facts = agent.json("init")
    agent.run("ingest", "wrist", text=rows(6, 200))
    agent.start()
    aggregator.offer(make_model(LAYERS), 1)
    aggregator.until(lambda: len(aggregator.joins) >= 2)  # it asks again
    assert all(join.key is not None for _, join in aggregator.joins)
    aggregator.until(lambda: "not enrolled" in agent.doing())
    assert agent.status()["enrolled"] is False
    assert facts["enrol"] in agent.run("status").stdout
    assert facts["enrol"] in str(agent.json("check", code=Exit.FAILED))
    aggregator.certify(bytes.fromhex(facts["key"]))
    aggregator.until(lambda: aggregator.updates)
    assert agent.status()["enrolled"] is True


def test_device_before_its_aggregator(mosquitto: Mosquitto, make_agent: MakeAgent) -> None:
    """A plan that cannot be verified yet is refused, and comes again with the certificate."""
    agent = make_agent()
    early = FakeAggregator(mosquitto.port)
    facts = agent.json("init")
    early.certify(bytes.fromhex(facts["key"]))
    early.say_bytes(TOPICS.of(Kind.KEYS, "aggregator"), b"", retain=True)
    agent.run("ingest", "wrist", text=rows(6, 200))
    early.offer(make_model(LAYERS), 1)
    agent.start()
    early.until(lambda: refused(agent).get("unknown key", 0) >= 1)
    early.certify(ONLINE.public, "aggregator", serial=2)
    early.until(lambda: early.updates)
    early.close()


def test_mqtt_broker_down_at_start(tmp_path: Path, make_agent: MakeAgent) -> None:
    late = Mosquitto(tmp_path / "late")
    agent = make_agent(port=late.port)
    agent.run("ingest", "wrist", text=rows(6, 200))
    agent.start()
    until(lambda: "Connection refused" in str(agent.status().get("connection")))
    assert "not connected" in agent.run("status").stdout
    assert "Connection refused" in agent.log_text()
    assert agent.json("ingest", "wrist", text=rows(1, 20, seed=2))["by"] == "service"
    with late:
        aggregator = FakeAggregator(late.port)
        aggregator.certify(bytes.fromhex(agent.json("init")["key"]))
        aggregator.offer(make_model(LAYERS), 1)
        aggregator.until(lambda: aggregator.updates)
        aggregator.close()


def test_broker_killed_in_mid_round(
    aggregator: FakeAggregator, make_agent: MakeAgent, mosquitto: Mosquitto
) -> None:
    """It retains nothing: certificates and plan are published again, the update is sent again."""
    agent = make_agent()
    ready(aggregator, agent)
    aggregator.receipts = False
    model = make_model(LAYERS)
    aggregator.offer(model, 1)
    aggregator.until(lambda: aggregator.updates)
    mosquitto.kill()
    aggregator.until(lambda: not aggregator.connected)
    aggregator.receipts = True
    mosquitto.start()
    aggregator.until(lambda: aggregator.connected)
    aggregator.certify(ONLINE.public, "aggregator")
    aggregator.until(lambda: verdicts(agent) == {"accepted": 1})
    assert len({message_hash for _, _, message_hash in aggregator.updates}) == 1


def test_hostile_messages_are_counted_and_harm_nothing(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    device = ready(aggregator, agent)
    aggregator.until(lambda: agent.status().get("connection", {}).get("connected"))
    model = make_model(LAYERS)
    plan = make_plan(model, 1)
    plan_topic = TOPICS.of(Kind.PLAN, "watch", PlanKind.TRAIN)
    other_topic = TOPICS.of(Kind.PLAN, "other", PlanKind.TRAIN)
    ticket_topic = TOPICS.of(Kind.TICKET, "watch", device)
    good = envelope.seal(plan, TOPICS.bound(plan_topic), ONLINE)
    elsewhere = envelope.seal(plan, TOPICS.bound(other_topic), ONLINE)
    for data in (
        b"",
        b"\x00",
        os.urandom(500),
        good[:-1],
        good[:100],
        bytes([*good[:200], good[200] ^ 1, *good[201:]]),
        good + b"\x00",
        b"\xd2\x84" + b"\x9f" * 1000,
        b"\x9b" + b"\xff" * 8,
        bytes(200_000),
        elsewhere,
    ):
        aggregator.say_bytes(plan_topic, data)
    aggregator.say(plan_topic, plan, key=STRANGER)
    aggregator.say_bytes(ticket_topic, bytes(2000))
    aggregator.say_bytes(TOPICS.of(Kind.KEYS, device), good)
    forged = aggregator.certificates[device]
    aggregator.say(TOPICS.of(Kind.KEYS, device), forged, key=STRANGER)
    aggregator.say_bytes(plan_topic, bytes(20 * 2**20), retain=True)  # larger than any message

    aggregator.offer(model, 1)
    aggregator.until(lambda: verdicts(agent) == {"accepted": 1})
    counted = refused(agent)
    assert counted["unknown key"] >= 2
    assert counted["signature"] >= 2
    assert counted["size"] >= 3
    assert agent.status()["counters"]["cleared topics"] == 1
    assert counted["cbor"] >= 3
    assert "refused" in agent.run("status").stdout
    assert agent.log_text().count("Traceback") == 0


def test_model_with_another_hash_is_refused(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    ready(aggregator, agent)
    model = make_model(LAYERS)
    wrong = make_model(LAYERS, version=9)
    topic = TOPICS.of(Kind.MODEL, "watch", 1)
    aggregator.model = model
    aggregator.say(topic, replace(wrong, version=1), retain=True)
    aggregator.say(TOPICS.of(Kind.PLAN, "watch", PlanKind.TRAIN), make_plan(model, 1), retain=True)
    aggregator.until(lambda: refused(agent).get("shape", 0) >= 1)
    aggregator.say(topic, model, retain=True)
    aggregator.until(lambda: aggregator.updates)


def test_task_that_the_device_cannot_do_is_declined(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    ready(aggregator, agent)
    model = make_model((dense(60, 3),), channels=3)
    aggregator.offer(model, 1)
    aggregator.until(lambda: agent.status().get("declined"))
    assert "2 channels" in agent.status()["declined"]["watch"]
    assert "declined" in agent.run("status").stdout
    assert aggregator.joins == []


# --- conditions -----


def test_low_battery_keeps_it_from_everything_large(
    mosquitto: Mosquitto, aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    proxy = Proxy(mosquitto.port)
    agent = make_agent(port=proxy.add("device"))
    agent.world.show(LOW)
    ready(aggregator, agent)
    large = (dense(40, 500, relu=True), dense(500, 3))
    aggregator.offer(make_model(large), 1)
    aggregator.until(lambda: "battery 20 % < 40 %" in agent.doing())
    assert "next check in" in agent.doing()
    assert aggregator.joins == []
    assert proxy.traffic("device").down < 10_000
    assert "may train" in agent.run("conditions").stdout
    agent.world.show(GOOD)
    aggregator.until(lambda: aggregator.updates)
    proxy.close()


def test_way_over_a_metered_interface_is_for_small_messages_only(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent(policy='metered = ["wwan*", "l[o]"]')
    ready(aggregator, agent)
    aggregator.offer(make_model(LAYERS), 1)
    aggregator.until(lambda: "metered: the way to" in agent.doing())
    assert "leaves by lo, one of policy.metered" in agent.doing()
    assert agent.status()["connection"]["connected"]
    assert not aggregator.joins
    agent.stop()
    agent.config.write_text(agent.config.read_text().replace('"l[o]"', '"eth9"'))
    agent.start()
    aggregator.until(lambda: aggregator.updates)


def test_conditions_of_the_task_count_too(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    agent.world.show(Weather(mains=False, battery=90, temperature=40, network=True))
    ready(aggregator, agent)
    aggregator.offer(make_model(LAYERS), 1, conditions=Conditions(True, 0, 90))
    aggregator.until(lambda: "mains" in agent.doing())
    assert aggregator.joins == []
    agent.world.show(GOOD)
    aggregator.until(lambda: aggregator.updates)


def test_too_few_examples_then_enough(aggregator: FakeAggregator, make_agent: MakeAgent) -> None:
    agent = make_agent()
    enrol(aggregator, agent)
    agent.start()
    aggregator.offer(make_model(LAYERS), 1, min_examples=12)
    aggregator.until(lambda: "fewer than 12 examples" in agent.doing())
    assert agent.json("ingest", "wrist", text=rows(6, 200))["by"] == "service"
    aggregator.until(lambda: aggregator.updates)


# --- the bytes it counts itself -----


def test_bytes_at_the_socket_are_those_of_the_proxy(
    mosquitto: Mosquitto, aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    proxy = Proxy(mosquitto.port)
    agent = make_agent(port=proxy.add("device"))
    ready(aggregator, agent)
    layers = (dense(40, 300, relu=True), dense(300, 3))
    first = aggregator.offer(make_model(layers), 1)
    aggregator.until(lambda: verdicts(agent) == {"accepted": 1})
    second = aggregator.offer(make_model(layers, version=2), 2)
    aggregator.until(lambda: verdicts(agent) == {"accepted": 2})
    aggregator.rest(make_model(layers, version=2))
    aggregator.until(lambda: "no open plan" in agent.doing())
    agent.stop()
    seen, counted = proxy.traffic("device"), agent.json("status")["bytes"]
    assert counted["total"]["sent"] == pytest.approx(seen.up, rel=0.005)
    assert counted["total"]["received"] == pytest.approx(seen.down, rel=0.005)
    parts = [counted["of_no_round"], *counted["rounds"].values()]
    for way in ("sent", "received"):  # nothing is counted twice, nothing is left out
        assert sum(part[way] for part in parts) == counted["total"][way]
    for plan in (first, second):
        of_round = counted["rounds"][plan.plan_id.hex()]
        update, weights = aggregator.updates[0][1].vector, make_model(layers).weights
        assert len(update) < of_round["sent"] < len(update) + 1000
        assert len(weights) < of_round["received"] < len(weights) + 3000
    proxy.close()


# --- ends and beginnings -----


def test_second_service_on_one_state_is_told_to_try_later(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    agent.start()
    aggregator.until(agent.status)
    result = agent.run("run", code=Exit.TRY_LATER)
    assert "in use by another" in result.stderr


def test_service_of_another_user_is_named_as_such(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    agent.start()
    aggregator.until(agent.status)
    prefix = as_nobody()
    if not prefix:
        absent("needs root, to become somebody else")
    words = [*prefix, *agent.command("status")]
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == Exit.NOT_ALLOWED
    assert "is for user root alone; put sudo before the command" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_systemd_is_told_ready_alive_and_stopping(
    aggregator: FakeAggregator, make_agent: MakeAgent, tmp_path: Path, number: signal.Signals
) -> None:
    agent = make_agent()
    with Manager() as manager:
        agent.start(**manager.environment, WATCHDOG_USEC="400000")
        manager.hear("READY=1", "WATCHDOG=1")
        assert agent.stop(number) == Exit.OK
        manager.hear("STOPPING=1")


def test_hangup_of_a_terminal_ends_the_service(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    agent.start()
    aggregator.until(agent.status)
    assert agent.stop(signal.SIGHUP) == Exit.OK


def press_ctrl_c(keyboard: int, _agent: int) -> None:
    os.write(keyboard, b"\x03")


def close_the_window(keyboard: int, _agent: int) -> None:
    os.close(keyboard)


def end_it(_keyboard: int, agent: int) -> None:
    os.kill(agent, signal.SIGTERM)


def kill_it(_keyboard: int, agent: int) -> None:
    os.kill(agent, signal.SIGKILL)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (press_ctrl_c, Exit.OK),
        (close_the_window, Exit.OK),
        (end_it, Exit.OK),
        (kill_it, -signal.SIGKILL),
    ],
)
def test_service_of_a_terminal_takes_its_training_with_it(
    aggregator: FakeAggregator,
    make_agent: MakeAgent,
    end: Callable[[int, int], None],
    code: int,
) -> None:
    """No key of a terminal reaches the child, which has a session of its own."""
    agent = make_agent(duty=plug.ONE_BATCH)
    enrol(aggregator, agent)
    agent.run("ingest", "wrist", text=rows(4, plug.WINDOWS // 4 - 1 + 500))
    keyboard, terminal = os.openpty()
    words = [need("setsid", "util-linux"), "--ctty", *agent.command("run", "--log", "debug")]
    with agent.log.open("ab") as log:
        agent.process = subprocess.Popen(words, stdin=terminal, stdout=log, stderr=log)
    os.close(terminal)
    aggregator.offer(plug.model(plug.WIDE_LAYERS), 1, batch=plug.BATCH)
    aggregator.until(lambda: plug.done(agent) >= 1)
    service, child = plug.tree(agent.process.pid)
    assert os.getsid(child) == child
    handle = os.pidfd_open(child)
    end(keyboard, service)
    assert agent.process.wait(PATIENCE_S) == code
    agent.process = None
    ready, _, _ = select.select([handle], [], [], PATIENCE_S)
    os.close(handle)
    if end is not close_the_window:
        os.close(keyboard)
    assert ready


def test_hangup_under_systemd_begins_anew_in_the_same_process(
    aggregator: FakeAggregator, make_agent: MakeAgent, tmp_path: Path
) -> None:
    """With a round in work, whose training goes on; and a wrong configuration changes nothing."""
    agent = make_agent()
    with Manager() as manager:
        hear = manager.hear
        agent.start(**manager.environment)
        hear("READY=1")
        process, sound = agent.process, agent.config.read_text()
        assert process is not None
        agent.config.write_text(sound.replace("[training]", "[trainign]"))
        process.send_signal(signal.SIGHUP)
        (said,) = (word for word in hear("STATUS=not") if word.startswith("STATUS=not"))
        assert "trainign: unknown key; did you mean training?" in said
        assert "goes on as before: " in agent.log_text()
        for most in (50_000, 60_000):
            agent.config.write_text(f"{sound}\n[store]\nbytes = {most}\n")
            process.send_signal(signal.SIGHUP)
            assert not any(word.startswith("STOPPING") for word in hear("RELOADING=1"))
            hear("READY=1")
            aggregator.until(lambda: agent.status().get("most_bytes") == most)  # noqa: B023
        enrol(aggregator, agent)
        agent.run("ingest", "wrist", text=rows(6, 200))
        aggregator.offer(make_model(LAYERS), 1)
        aggregator.until(lambda: "batch" in agent.doing() or bool(verdicts(agent)))
        process.send_signal(signal.SIGHUP)
        hear("READY=1")
        aggregator.until(lambda: verdicts(agent) == {"accepted": 1})
        assert agent.stop() == Exit.OK
        hear("STOPPING=1")


def test_round_where_proc_shows_processes_only(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    """As in a unit with ProcSubset=pid: without a limit of load nobody misses the rest."""
    agent = make_agent(prefix=only_processes())
    ready(aggregator, agent)
    aggregator.offer(make_model(LAYERS), 1)
    aggregator.until(lambda: verdicts(agent) == {"accepted": 1})


def test_no_numpy_in_the_service(aggregator: FakeAggregator, make_agent: MakeAgent) -> None:
    agent = make_agent()
    ready(aggregator, agent)
    aggregator.offer(make_model(LAYERS), 1)
    aggregator.until(lambda: aggregator.updates)
    assert agent.process is not None
    assert "/numpy/" not in Path(f"/proc/{agent.process.pid}/maps").read_text()


def test_stored_certificate_of_another_root_is_of_no_use(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    ready(aggregator, agent)
    aggregator.until(lambda: agent.status().get("enrolled"))
    agent.stop()
    text = agent.config.read_text()
    other = SigningKey(b"x" * 32).public.hex()
    agent.config.write_text(text.replace(text.split('root_key = "')[1][:64], other))
    agent.start()
    aggregator.until(lambda: refused(agent).get("unknown key", 0) >= 1)
    assert agent.status()["enrolled"] is False


def test_update_that_the_mqtt_broker_drops_is_told_and_sent_when_it_lets_it_through(
    tmp_path: Path, make_agent: MakeAgent
) -> None:
    """mosquitto acknowledges what its access list denies: nobody heard of it before."""
    rules = ["topic readwrite #", "topic deny fedling/1/test/+/up/#"]
    settings = access_settings(tmp_path, rules)
    with Mosquitto(tmp_path / "guarded", settings=settings) as broker:
        aggregator = FakeAggregator(broker.port)
        agent = make_agent(port=broker.port)
        ready(aggregator, agent)
        aggregator.offer(make_model(LAYERS), 1)
        words = "times, the aggregator has not got it.*See fedling-agent check; next try in"
        aggregator.until(lambda: re.search(words, agent.run("status").stdout, re.DOTALL))
        assert aggregator.updates == []
        access_settings(tmp_path, rules[:1])
        os.kill(broker.pid, signal.SIGHUP)  # mosquitto reads it again
        aggregator.until(lambda: verdicts(agent) == {"accepted": 1})
        aggregator.close()


# --- a damaged store -----------------------------------------------------------------------------


def test_damaged_database_is_put_aside_under_the_running_service(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    """The same process goes on, as the same device, and takes part in the next round."""
    agent = make_agent()
    device = ready(aggregator, agent)
    aggregator.until(lambda: agent.status().get("connection", {}).get("connected"))
    assert agent.process is not None
    pid = agent.process.pid
    spoil(agent.state / "store.db", "chunks")
    agent.run("ingest", "wrist", text=rows(1, 50, seed=9), code=None)
    aggregator.until(lambda: agent.status().get("aside"))
    assert "a new one was begun" in agent.log_text()
    assert "Traceback" not in agent.log_text()
    agent.run("ingest", "wrist", text=rows(6, 200, seed=3), code=None)
    aggregator.offer(make_model(LAYERS), 1)
    aggregator.until(lambda: verdicts(agent) == {"accepted": 1})
    assert agent.status()["device"] == device
    assert agent.process.pid == pid
    assert "put aside" in agent.run("status").stdout
    agent.run("recordings", "forget", "wrist", "r0")
    assert not agent.status()["aside"]
    assert agent.stop() == 0


def is_stopped(agent: Agent, database: Path) -> bool:
    """Stop the service where it stands, if it writes nothing there."""
    assert agent.process is not None
    agent.process.send_signal(signal.SIGSTOP)
    connection = sqlite3.connect(database, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        agent.process.send_signal(signal.SIGCONT)
        return False
    finally:
        connection.close()
    return True


def test_who_is_told_to_end_ends_though_the_database_is_damaged(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    """Damage is found where the last word is written down. The next start begins anew."""
    agent = make_agent()
    ready(aggregator, agent)
    aggregator.until(lambda: agent.status().get("connection", {}).get("connected"))
    database = agent.state / "store.db"
    assert agent.process is not None
    until(lambda: is_stopped(agent, database))  # it finds nothing before it is told to end
    spoil(database, "sent")
    connection = sqlite3.connect(database)  # what the service has in memory is old now
    connection.execute("INSERT INTO marks VALUES ('somebody else was here')")
    connection.commit()
    connection.close()
    agent.process.send_signal(signal.SIGTERM)
    agent.process.send_signal(signal.SIGCONT)
    assert agent.process.wait(PATIENCE_S) == 0
    assert "malformed" not in agent.log_text()
    assert not list(agent.state.glob("store.db.damaged-*"))
    agent.start()
    agent.run("ingest", "wrist", text=rows(6, 200, seed=3), code=None)
    aggregator.offer(make_model(LAYERS), 1)
    aggregator.until(lambda: agent.status().get("aside"))
    assert agent.stop() == 0


@pytest.mark.parametrize(
    "data", [b"", b"x" * 100_000, bytes(100_000)], ids=["empty", "text", "zeros"]
)
def test_database_that_is_none_is_put_aside_at_the_start(
    aggregator: FakeAggregator, make_agent: MakeAgent, data: bytes
) -> None:
    agent = make_agent()
    device = enrol(aggregator, agent)
    agent.run("ingest", "wrist", text=rows(2, 50))
    (agent.state / "store.db").write_bytes(data)
    for end in ("-wal", "-shm"):
        (agent.state / f"store.db{end}").unlink(missing_ok=True)
    assert agent.run("status", code=None).returncode in (0, Exit.BAD_CONFIG)
    agent.start()
    aggregator.until(lambda: agent.status().get("aside"))
    assert agent.status()["device"] == device
    assert agent.stop() == 0
