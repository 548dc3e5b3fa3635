"""The user name and password that one end shows to the MQTT broker."""

from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net.ports import Credentials
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire import identity

MOST_BYTES = 4000  # of a password; MQTT would allow 65,535


def load(mqtt: MqttSettings) -> Credentials | None:
    """Read what the configuration names; None: no user. Raises IdentityError, SettingsError.

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
