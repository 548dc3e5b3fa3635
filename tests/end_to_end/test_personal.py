"""A real agent makes a personal model beside its rounds; everything that crosses MQTT is kept."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import paho.mqtt.client as paho
import pytest

from fedling_agent.store.store import Store
from fedling_broker.mosquitto.process import Mosquitto
from fedling_native import dense
from fedling_protocol.net.mqtt import API
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.kinds import Kind
from tests.end_to_end.test_agent import enrol
from tests.support.agent import Agent, rows
from tests.support.aggregator import TOPICS, FakeAggregator, make_model

LAYERS = (dense(40, 16, relu=True), dense(16, 3))  # 20 samples of 2 channels, 3 labels
PIECE = 16  # bytes of weights that are looked for
RATE_Q24 = 838_861  # 0.05


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[list[tuple[str, bytes]]]:
    """All messages, whoever sends them: topic, payload."""
    messages: list[tuple[str, bytes]] = []
    make: Any = partial(paho.Client, API.VERSION2) if API else paho.Client  # None in paho 1
    listener = make("listener")
    listener.on_connect = lambda *_: listener.subscribe("#", qos=1)
    listener.on_message = lambda _client, _data, m: messages.append((m.topic, bytes(m.payload)))
    listener.connect("127.0.0.1", mosquitto.port)
    listener.loop_start()
    yield messages
    listener.disconnect()
    listener.loop_stop()


def pieces(weights: bytes) -> set[bytes]:
    """Parts of weights, wherever they may begin; none of zeros, as biases may be."""
    found = (weights[at : at + PIECE] for at in range(0, len(weights) - PIECE, PIECE))
    return {piece for piece in found if len(set(piece)) > PIECE // 2}


def test_no_message_has_anything_of_a_personal_model(
    aggregator: FakeAggregator,
    make_agent: Callable[..., Agent],
    heard: list[tuple[str, bytes]],
) -> None:
    agent = make_agent()
    text = agent.config.read_text()
    agent.config.write_text(text.replace("[training]", "[training]\npersonal = true"))
    device = enrol(aggregator, agent)
    agent.run("ingest", "wrist", text=rows(12, 200))
    agent.start()
    model = make_model(LAYERS)
    plan = aggregator.offer(model, 1, lr_q24=RATE_Q24)

    def personal() -> dict[str, object] | None:
        about = agent.status().get("tasks", {}).get("watch", {})
        made = about.get("personal")
        return made if made and aggregator.updates else None

    aggregator.until(personal)
    made = personal()
    assert made is not None
    assert made["in_use"] is True, made
    answer = agent.json("predict", text=rows(1, 20))
    assert (answer["personal"], answer["model"]) == (True, 1)
    aggregator.rest(make_model(LAYERS, 2))  # and a round later
    aggregator.until(lambda: agent.status()["tasks"]["watch"]["model"]["version"] == 2)
    again = agent.json("predict", text=rows(1, 20))
    assert (again["personal"], again["model"]) == (True, 1)
    sent = {one["kind"] for one in agent.json("sent")}
    agent.stop()

    store = Store(agent.state, read_only=True)
    last = store.personal.last("watch")
    assert last is not None
    assert last.hash is not None
    own = pieces(finish(store.personal.weights(last))) - pieces(model.weights)
    secrets = {last.hash, last.hash.hex().encode()}
    store.close()
    assert len(own) > 30
    assert b"".join(payload for _, payload in heard).count(plan.plan_id) > 1  # it is heard
    for topic, payload in heard:
        assert not any(piece in payload for piece in own | secrets), topic
    of_device = {topic for topic, _ in heard if device in topic}
    allowed = {
        TOPICS.of(Kind.KEYS, device), TOPICS.of(Kind.STATE, device),
        TOPICS.of(Kind.JOIN, "watch", device), TOPICS.of(Kind.TICKET, "watch", device),
        TOPICS.of(Kind.RECEIPT, "watch", device),
        TOPICS.of(Kind.UPDATE, "watch", device, plan.plan_id, 0),
    }  # fmt: skip
    assert of_device <= allowed
    assert sent <= {"join", "update", "state"}
