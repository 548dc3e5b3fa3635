"""The owner pauses a real device at a real mosquitto: it stops, says so, keeps it, and goes on."""

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable

from fedling_native import dense
from fedling_protocol.exits import Exit
from fedling_protocol.wire.messages import StateCode, StateReason
from tests.support import plug
from tests.support.agent import Agent, rows
from tests.support.aggregator import FakeAggregator, make_model
from tests.support.waiting import PATIENCE_S, line_of

MakeAgent = Callable[..., Agent]
LAYERS = (dense(40, 16, relu=True), dense(16, 3))  # 20 samples of 2 channels, 3 labels
WORDS = "paused by its owner until fedling-agent resume: guests"


def why(aggregator: FakeAggregator) -> str:
    return aggregator.states[-1][1].why_not if aggregator.states else ""


def test_pause_stops_a_training_within_a_batch_over_a_kill_and_a_stop(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent(duty=plug.ONE_BATCH)
    plug.prepare(agent, aggregator)
    aggregator.offer(plug.model(plug.WIDE_LAYERS), 1, batch=plug.BATCH)
    aggregator.until(lambda: plug.done(agent) >= 1)
    agent.run("pause", "--reason", "guests")
    before = plug.done(agent)
    aggregator.until(lambda: agent.status()["child"] is None)
    assert plug.done(agent) - before <= 1
    assert agent.doing() == WORDS
    aggregator.until(lambda: why(aggregator) == StateReason.PAUSED)

    agent.kill()
    agent.set_duty(1.0)
    agent.serve()
    assert agent.doing() == WORDS
    assert agent.stop() == Exit.OK
    assert agent.json("status")["pause"]["reason"] == "guests"
    assert agent.json("resume") == {"was_paused": True}  # and this without a service
    assert agent.json("pause", "7d")["pause"]["reason"] == ""
    agent.serve()
    aggregator.until(lambda: why(aggregator) == StateReason.PAUSED)
    assert agent.status()["child"] is None

    assert agent.run("resume").stdout == "takes part again, as conditions allow\n"
    aggregator.until(lambda: aggregator.updates)
    assert aggregator.refused == []
    verdicts = [one["verdict"] for one in agent.json("conditions", "--explain", "24h")]
    assert verdicts.count("off") == 1
    assert "forbidden" in verdicts


def test_paused_device_gets_models_and_answers(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    aggregator.certify(bytes.fromhex(agent.json("init")["key"]))
    agent.run("pause", "1h")
    agent.serve()
    agent.run("ingest", "wrist", text=rows(6, 200))
    aggregator.offer(make_model(LAYERS), 1)
    aggregator.until(lambda: (agent.status()["tasks"].get("watch") or {}).get("model"))
    assert agent.json("predict", text=rows(1, 20))["model"] == 1
    assert aggregator.joins == []
    aggregator.until(lambda: why(aggregator) == StateReason.PAUSED)
    assert aggregator.states[-1][1].code is StateCode.IDLE
    agent.run("resume")
    aggregator.until(lambda: aggregator.updates)


def test_watch_reads_until_it_is_interrupted(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.run("init")
    agent.serve()
    watch = subprocess.Popen(
        agent.command("conditions", "--watch", "--json"), stdout=subprocess.PIPE, text=True
    )
    assert watch.stdout is not None
    assert json.loads(line_of(watch, bool))["own"]["send"] is True
    agent.run("pause")
    seen = json.loads(line_of(watch, lambda line: '"send": false' in line))
    assert [reason["code"] for reason in seen["own"]["why_not_send"]] == ["paused-by-owner"]
    watch.send_signal(signal.SIGINT)
    assert watch.wait(PATIENCE_S) == Exit.INTERRUPTED


def test_watch_has_colours_on_a_terminal(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.run("init")
    mine, its = os.openpty()
    watch = subprocess.Popen(agent.command("conditions", "--watch"), stdout=its)
    os.close(its)
    said = b""
    while b"again every" not in said:
        ready, _, _ = select.select([mine], [], [], PATIENCE_S)
        assert ready, said
        said += os.read(mine, 4096)
    watch.send_signal(signal.SIGINT)
    assert watch.wait(PATIENCE_S) == Exit.INTERRUPTED
    os.close(mine)
    assert said.startswith(b"\x1b[H\x1b[J")
    assert b"\x1b[32myes" in said
