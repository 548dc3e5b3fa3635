"""How one end is let in by the MQTT broker: user name, password, certificates."""

from fedling_protocol.classes import dataclass
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import tls
from fedling_protocol.net.ports import Credentials
from fedling_protocol.net.transport import PLAIN, Layer
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire import identity

MOST_BYTES = 4000  # of a password; MQTT would allow 65,535


@dataclass(frozen=True, slots=True)
class Access:
    """What the configuration says of it, read from its files. credentials: None without a user"""

    credentials: Credentials | None
    layer: Layer


def load(mqtt: MqttSettings) -> Access:
    """Read what the configuration names. Raises IdentityError, SettingsError."""
    layer = tls.layer(mqtt) if mqtt.tls else PLAIN
    if mqtt.websocket_path:
        from fedling_protocol.net import websocket  # a device without them has no need of it

        layer = websocket.layer(mqtt, layer)
    return Access(_credentials(mqtt), layer)


def _credentials(mqtt: MqttSettings) -> Credentials | None:
    """Read user and password.

    The line break at the end of the file, which editors write, is no part of the password.
    """
    if not mqtt.user:
        return None
    if mqtt.password_file is None:
        return Credentials(mqtt.user, None)
    password = identity.read_private(mqtt.password_file).removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(password) <= MOST_BYTES:
        raise SettingsError(
            f"{mqtt.password_file}: {len(password)} bytes: allowed: 1 to {MOST_BYTES}"
        )
    return Credentials(mqtt.user, password)
