"""Whether the MQTT broker lets this aggregator do what the service will do there."""

import time
from collections.abc import Sequence

from fedling_broker.config import Config
from fedling_broker.service.service import CLIENT_ID
from fedling_broker.tasks.task_file import Task
from fedling_native import weights_size
from fedling_protocol.classes import dataclass
from fedling_protocol.command.output import size
from fedling_protocol.common_settings import PLAINTEXT
from fedling_protocol.disk.errors import Missing
from fedling_protocol.net import probe as probing
from fedling_protocol.net import tls_ending
from fedling_protocol.net.probe import OWN, Probe
from fedling_protocol.wire.limits import CHUNK_ROOM, MAX_PLAN, MAX_SMALL

NO_WILDCARDS = (
    "this MQTT broker sends nothing retained to subscriptions with wildcards: every device must "
    'name its tasks in agent.toml: tasks = ["..."]'
)


@dataclass(frozen=True, slots=True)
class Tried:
    """A sentence for each thing that does not work, and for each that others must know."""

    faults: list[str]
    notes: list[str]


def run(found: Config, tasks: Sequence[Task]) -> Tried:
    """Try everything that the service will do."""
    tried, mqtt = _run(found, tasks), found.file.mqtt
    ends, soon = tls_ending.ending(mqtt, time.time())
    return Tried(
        tried.faults + [f"{ends}: renew it"] * soon,
        tried.notes + [PLAINTEXT] * mqtt.plaintext + [ends] * bool(ends and not soon),
    )


def _run(found: Config, tasks: Sequence[Task]) -> Tried:
    client_id = f"{CLIENT_ID.format(fleet=found.file.fleet)}-{OWN}"
    try:
        return probing.tried(found.file.mqtt, client_id, lambda probe: _tried(probe, found, tasks))
    except Missing as missing:
        return Tried([str(missing)], [])


def _tried(probe: Probe, found: Config, tasks: Sequence[Task]) -> Tried:
    topics = found.topics
    faults = [probing.unheard(topic) for topic in probe.listen(topics.aggregator_subscriptions())]
    topic = f"{topics.prefix}{tasks[0].name if tasks else OWN}/model/{OWN}"
    here, anywhere = probe.retains(topic, topic, f"{topics.prefix}+/model/{OWN}")
    if probe.lost:
        return Tried([*faults, probing.cut(topic, probe.lost)], [])
    if not here:
        return Tried([*faults, probing.dropped(topic, f"{topics.prefix}#")], [])
    sizes = [weights_size(task.spec.layers) + MAX_SMALL for task in tasks]
    chunk = found.file.largest_packet - CHUNK_ROOM // 2  # the rest is the topic
    most = min(max(sizes, default=MAX_PLAN), chunk)
    why = probe.carries(topic, most)
    if why:
        faults.append(probing.too_large(size(most), why))
    return Tried(faults, [] if anywhere else [NO_WILDCARDS])
