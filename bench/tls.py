"""What TLS costs one end, beside plain TCP: CPU and bytes of a connection, CPU of what it carries.

    connect_ms, connect_bytes   from the look-up to CONNACK and the goodbye: CPU of this end; bytes
                                of TCP payload, both ways
    mb_ms                       CPU of this end for a megabyte sent to itself and received

The MQTT broker is another process: its CPU is not in it. Keys are P-256, certificates both ways.
What an idle connection costs: agent_footprint, also with --plain.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.report import Report
from fedling_broker.mosquitto.process import Mosquitto, free_port
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import credentials
from fedling_protocol.net.credentials import Access
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import InlineWorker
from tests.support.certificates import Authority, mosquitto_settings

CONNECTS = 200
MESSAGES, SIZE = 64, 2**20


class End:
    """A link that counts; its owner, too."""

    def __init__(self, loop: Loop, mqtt: MqttSettings, access: Access) -> None:
        self._loop = loop
        self.traffic, self.heard = Traffic(), 0
        self.link = MqttLink(
            loop,
            InlineWorker(loop),
            Broker(mqtt.host, mqtt.tcp_port, mqtt.silence_s),
            Backoff(0.01, 0.01, lambda: 1.0),
            lambda _topic: 2 * SIZE,
            partial(new_client, "bench", access.credentials),
            self,
            access.layer,
        )

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._loop.turn()

    def connect(self) -> None:
        self.link.start()
        self.until(lambda: self.link.connected)

    def stop(self) -> None:
        done: list[bool] = []
        self.link.stop(None, lambda: done.append(True))
        self.until(lambda: done)

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None: ...

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        raise RuntimeError(reason)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        self.heard += len(payload)

    def on_traffic(self, traffic: Traffic) -> None:
        self.traffic += traffic


def measure(mqtt: MqttSettings) -> tuple[float, int, float]:
    """CPU of a connection in ms, its bytes, CPU of a megabyte in ms."""
    loop, access = Loop(), credentials.load(mqtt)
    began, total = time.process_time(), Traffic()
    for _ in range(CONNECTS):
        end = End(loop, mqtt, access)
        end.connect()
        end.stop()
        total += end.traffic
    connect_ms = (time.process_time() - began) * 1000 / CONNECTS
    end = End(loop, mqtt, access)
    end.connect()
    end.link.subscribe(["bench"])
    end.until(lambda: end.link.answered)
    began = time.process_time()
    for count in range(1, MESSAGES + 1):
        end.link.publish("bench", bytes(SIZE))
        end.until(lambda wanted=count * SIZE: end.heard >= wanted)  # type: ignore[misc]
    mb_ms = (time.process_time() - began) * 1000 * 1e6 / (MESSAGES * SIZE)
    end.stop()
    loop.close()
    return connect_ms, (total.sent + total.received) // CONNECTS, mb_ms


def main() -> None:
    report = Report("tls")
    with tempfile.TemporaryDirectory() as name:
        authority, port = Authority(Path(name) / "authority"), free_port()
        own = authority.client("bench")
        listener = mosquitto_settings(authority, authority.server(), mutual=True)
        settings = [f"listener {port} 127.0.0.1", *listener]
        with Mosquitto(Path(name) / "mosquitto", settings=settings) as mosquitto:
            plain = MqttSettings("127.0.0.1", mosquitto.port)
            secure = MqttSettings(
                "127.0.0.1",
                port,
                tls=True,
                ca_file=authority.certificate,
                certificate_file=own.certificate,
                key_file=own.key,
            )
            for kind, mqtt in (("plain", plain), ("tls", secure)):
                connect_ms, connect_bytes, mb_ms = measure(mqtt)
                report.row(
                    over=kind, connect_ms=connect_ms, connect_bytes=connect_bytes, mb_ms=mb_ms
                )
                report.figure(f"{kind}_connect_ms", connect_ms)
                report.figure(f"{kind}_connect_bytes", connect_bytes)
                report.figure(f"{kind}_mb_ms", mb_ms)
    report.finish()


if __name__ == "__main__":
    main()
