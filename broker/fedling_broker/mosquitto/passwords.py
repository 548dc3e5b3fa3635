"""mosquitto's password file: PBKDF2 with SHA-512, as mosquitto_passwd writes it since 2.0.

The passwords are 128 random bits, which nobody guesses however fast a guess is: a hash of few
rounds serves, so that the MQTT broker does not work for strangers.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import field

from fedling_protocol.classes import dataclass

ROUNDS = 101  # mosquitto's own
SALT_BYTES = 12


@dataclass(frozen=True, slots=True)
class Login:
    """A user of the MQTT broker. The password is in no log: repr leaves it out."""

    user: str
    password: str = field(repr=False)

    def line(self, salt: bytes) -> str:
        """Write the user's line. salt: 12 random bytes"""
        made = hashlib.pbkdf2_hmac("sha512", self.password.encode(), salt, ROUNDS)
        return f"{self.user}:$7${ROUNDS}${_text(salt)}${_text(made)}"


def text(lines: Iterable[str]) -> str:
    """Write the file."""
    return "".join(f"{line}\n" for line in lines)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
