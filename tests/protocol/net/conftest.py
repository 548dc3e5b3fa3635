"""What the tests of links stand on."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import tls, websocket
from fedling_protocol.net.transport import PLAIN
from fedling_protocol.runtime.loop import Loop
from tests.protocol.net.ends import Ground, trusting
from tests.support.certificates import Authority, Pair, mosquitto_settings
from tests.support.tools import need
from tests.support.websockets import Unwrapper


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.server()


@pytest.fixture(params=["plain", "tls", "websockets"])
def ground(
    loop: Loop, authority: Authority, server: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Ground]:
    """A real mosquitto, and each way to it: a link is the same over all."""
    need("mosquitto")
    over_tls = request.param == "tls"
    settings = mosquitto_settings(authority, server) if over_tls else []
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as mosquitto:
        layer = tls.layer(trusting(authority)) if over_tls else PLAIN
        if request.param == "websockets":
            with closing(Unwrapper(mosquitto.port)) as web:
                mqtt = MqttSettings("localhost", web.port, websocket_path="/mqtt")
                yield Ground(loop, mosquitto, websocket.layer(mqtt, PLAIN), web.port)
        else:
            yield Ground(loop, mosquitto, layer, mosquitto.port)
    print(mosquitto.log_tail(30))
