"""Who this device is: a signing key and a secret, made once, in its state directory."""

from pathlib import Path

from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing
from fedling_protocol.wire.identity import (
    SigningKey,
    device_id,
    ensure_key,
    ensure_secret,
    load_key,
    load_secret,
)

KEY_FILE = "device.key"
REVOKED_FILE = "device.key.revoked"  # the last one that was
SECRET_FILE = "device.secret"


@dataclass(frozen=True, slots=True)
class Identity:
    """The key signs what is sent; the secret, which nobody else learns, draws the batches."""

    key: SigningKey
    secret: bytes

    @property
    def device(self) -> str:
        """The id by which the fleet knows us."""
        return device_id(self.key.public)

    @property
    def add_command(self) -> str:
        """What the operator types to let this device in."""
        return f"fedling-broker device add {self.device} {self.key.public.hex()}"


def ensure(directory: Path) -> Identity:
    """Load the identity, made if there is none. Raises IdentityError, CannotWrite."""
    with writing(f"{directory}"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ensure_key(directory / KEY_FILE)
        return Identity(key, ensure_secret(directory / SECRET_FILE))


def load(directory: Path) -> Identity | None:
    """Load the identity; None if none was made yet. Raises IdentityError."""
    if not (directory / KEY_FILE).exists() or not (directory / SECRET_FILE).exists():
        return None
    return Identity(load_key(directory / KEY_FILE), load_secret(directory / SECRET_FILE))


def begin_anew(directory: Path) -> Identity:
    """Make a new key: the old one was revoked, and nobody may certify it again.

    What learned stays, and so does the secret. Raises IdentityError, CannotWrite.
    """
    with writing(f"{directory}"):
        (directory / KEY_FILE).rename(directory / REVOKED_FILE)
        durable.sync_directory(directory)
    return ensure(directory)
