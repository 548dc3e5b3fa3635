"""Training that is interrupted: within one batch, and without a trace in the update."""

import os
import shutil
import signal
from collections.abc import Callable

from fedling_native import Layer
from fedling_protocol.exits import Exit
from fedling_protocol.wire.messages import StateCode
from tests.support import plug
from tests.support.agent import Agent
from tests.support.aggregator import FakeAggregator

MakeAgent = Callable[..., Agent]


def twin_of(agent: Agent, twin: Agent) -> None:
    """The same identity, so that both sign the same bytes."""
    twin.state.mkdir(mode=0o700)
    for name in ("device.key", "device.secret"):
        shutil.copy2(agent.state / name, twin.state / name)


def undisturbed(aggregator: FakeAggregator, agent: Agent, layers: tuple[Layer, ...]) -> bytes:
    """Hash of the update that nobody interrupted. Its round stays open."""
    plug.prepare(agent, aggregator)
    aggregator.offer(plug.model(layers), 1, batch=plug.BATCH)
    aggregator.until(lambda: aggregator.updates)
    assert agent.stop() == Exit.OK
    _, _, message_hash = aggregator.updates.pop()
    return message_hash


def finished(aggregator: FakeAggregator, agent: Agent) -> bytes:
    """Hash of the update, once the agent may work as hard as it likes."""
    assert agent.stop() == Exit.OK
    agent.set_duty(1.0)
    agent.start()
    aggregator.until(lambda: aggregator.updates)
    return aggregator.updates[0][2]


def test_plug_pulled_again_and_again_leaves_the_update_the_same(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    like, agent = make_agent("undisturbed"), make_agent("interrupted", duty=plug.ONE_BATCH)
    expected = undisturbed(aggregator, like, plug.SLOW_LAYERS)
    twin_of(like, agent)
    plug.prepare(agent, aggregator)
    for least in (1, 2, 3):
        aggregator.until(lambda least=least: plug.done(agent) >= least)  # type: ignore[misc]
        assert plug.pull(agent, aggregator, 0).steps <= 1
        assert "paused in round 1 at batch" in agent.doing()
        assert "battery 20 % < 40 %" in agent.doing()
        plug.plug_in(agent)
    assert finished(aggregator, agent) == expected


def test_stops_and_kills_in_training_leave_the_update_the_same(
    aggregator: FakeAggregator, make_agent: MakeAgent
) -> None:
    like, agent = make_agent("undisturbed"), make_agent("interrupted", duty=plug.ONE_BATCH)
    expected = undisturbed(aggregator, like, plug.WIDE_LAYERS)
    twin_of(like, agent)
    plug.prepare(agent, aggregator)
    aggregator.until(lambda: plug.done(agent) >= 1)
    assert agent.stop() == Exit.OK
    aggregator.until(lambda: aggregator.states[-1][1].code is StateCode.OFFLINE)
    agent.start()
    aggregator.until(lambda: plug.done(agent) >= 2)
    agent.kill()  # its child may still have written a checkpoint
    agent.start()
    aggregator.until(lambda: plug.done(agent) >= 2)
    os.kill(agent.status()["child"], signal.SIGKILL)
    aggregator.until(lambda: "ended by signal 9" in agent.log_text())
    assert finished(aggregator, agent) == expected
