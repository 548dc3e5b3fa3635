"""A real mosquitto with the listeners of a fleet, its authority, and ends with certificates."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from fedling_broker.authority import x509
from fedling_broker.mosquitto.configuration import Tls
from fedling_broker.mosquitto.files import Files
from fedling_broker.mosquitto.passwords import Login
from fedling_broker.mosquitto.process import Mosquitto, free_port
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import credentials, tls_key
from fedling_protocol.net.credentials import Access
from fedling_protocol.net.ports import Credentials
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire.topics import Topics
from tests.protocol.net.ends import End, Recorder
from tests.support.reading import read_again
from tests.support.tools import need

FLEET = "home"
TOPICS = Topics("fedling", FLEET)
SERVER = x509.server_name(FLEET)
HOSTS = (SERVER, "localhost", "127.0.0.1")
HOUR = timedelta(hours=1)


class Guarded:
    """`with Guarded(directory) as fleet:` mosquitto runs and knows nobody."""

    def __init__(self, directory: Path) -> None:
        need("mosquitto")
        self.directory = directory
        self.authority = x509.create_ca(directory / "authority", FLEET)
        self.files = Files(directory / "guarded")
        self.files.prepare(self.authority, TOPICS, HOSTS)
        self.enrolment = free_port()
        listeners = Tls(str(self.files.directory), self.enrolment)
        self.mosquitto = Mosquitto(directory / "mosquitto", tls=listeners)
        self._stamp = self.files.stamp()
        self.serials: dict[str, int] = {}  # of the newest certificate of each name

    def __enter__(self) -> "Guarded":
        self.mosquitto.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mosquitto.stop()

    def settings(self, name: str) -> MqttSettings:
        """Certify a name; [mqtt] with it."""
        key = tls_key.ensure(self.directory / f"{name}.key")
        now = datetime.now(UTC)
        made = self.authority.client(name, tls_key.public(key), now - HOUR, now + HOUR)
        (self.directory / f"{name}.crt").write_bytes(x509.pem(made))
        self.serials[name] = x509.serial(made)
        return replace(
            self.nobody(),
            certificate_file=self.directory / f"{name}.crt",
            key_file=self.directory / f"{name}.key",
        )

    def nobody(self) -> MqttSettings:
        """[mqtt] without a certificate."""
        ca = self.authority.directory / x509.CERTIFICATE
        return MqttSettings("127.0.0.1", self.mosquitto.port, tls=True, ca_file=ca)

    def end(self, loop: Loop, name: str, will: str = "test/state") -> End:
        """An end of this name, with a certificate for it. will: the topic of its will"""
        layer = credentials.load(self.settings(name)).layer
        return End(loop, self.mosquitto.port, name, 60, layer, heard=Recorder(will))

    def shown(self, loop: Loop, name: str, settings: MqttSettings) -> End:
        """An end that calls itself `name` and shows what settings name."""
        layer = credentials.load(replace(settings, ca_file=self.nobody().ca_file)).layer
        return End(loop, self.mosquitto.port, name, 60, layer)

    def guest(self, loop: Loop, user: str, password: str, client_id: str = "guest") -> End:
        """An end at the listener for enrolment."""
        layer = credentials.load(self.nobody()).layer
        known = Credentials(user, password.encode())
        return End(loop, self.enrolment, client_id, 60, layer, known_as=known)

    def access(self, certificate: bytes, key: EllipticCurvePrivateKey) -> Access:
        """Show a certificate that was just made."""
        number = x509.serial(certificate)
        pair = [self.directory / f"{number}.{kind}" for kind in ("crt", "key")]
        for file, data in zip(pair, (x509.pem(certificate), tls_key.pem(key)), strict=True):
            file.touch(0o600)
            file.write_bytes(data)
        mine = replace(self.nobody(), certificate_file=pair[0], key_file=pair[1])
        return credentials.load(mine)

    def tell(self, revoked: Sequence[str], logins: Sequence[Login] = ()) -> None:
        """Write what mosquitto is to read at the next reload."""
        self.files.tell(TOPICS, revoked, self.authority.list(), logins)

    def reload_if_changed(self) -> None:
        """What whoever runs mosquitto does."""
        if self._stamp != (stamp := self.files.stamp()):
            self._stamp = stamp
            self.mosquitto.reload()

    def reload(self, loop: Loop) -> None:
        """Have mosquitto read its files again."""
        read_again(self.mosquitto, loop.turn)
