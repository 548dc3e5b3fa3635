"""What the tests of links stand on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.net import tls
from fedling_protocol.net.transport import PLAIN
from fedling_protocol.runtime.loop import Loop
from tests.protocol.net.ends import Ground, trusting
from tests.support.certificates import Authority, Pair, mosquitto_settings
from tests.support.tools import need


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.server()


@pytest.fixture(params=["plain", "tls"])
def ground(
    loop: Loop, authority: Authority, server: Pair, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Ground]:
    """A real mosquitto, and either way to it: a link is the same over both."""
    need("mosquitto")
    over_tls = request.param == "tls"
    settings = mosquitto_settings(authority, server) if over_tls else []
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as mosquitto:
        layer = tls.layer(trusting(authority)) if over_tls else PLAIN
        yield Ground(loop, mosquitto, layer)
    print(mosquitto.log_tail(30))
