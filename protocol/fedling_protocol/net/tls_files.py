"""The certificates that [mqtt] names: read into what Python's ssl works by."""

import logging
import os
import ssl
from pathlib import Path
from typing import NoReturn

from fedling_protocol.common_settings import TLS_FILES, MqttSettings
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import IdentityError

log = logging.getLogger(__name__)


class Contexts:
    """What the files say now: they are read again, at a connect, when one of them was replaced.

    A pair that does not fit, as between the two steps of a replacement by hand, changes nothing.
    """

    def __init__(self, mqtt: MqttSettings) -> None:
        """Read them. Raises IdentityError, SettingsError."""
        self._mqtt = mqtt
        self._stamps = _stamps(mqtt)
        self._context = context(mqtt)

    def current(self) -> ssl.SSLContext:
        """What a connection that begins now works by."""
        stamps = _stamps(self._mqtt)
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._context = context(self._mqtt)
            except (IdentityError, SettingsError) as error:
                log.warning("%s; goes on with the certificates that were read before", error)
            else:
                log.info("the certificates for TLS are new")
        return self._context


def believing_anybody() -> ssl.SSLContext:
    """Encrypt, and take whoever answers for the other end."""
    context = _modern()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _stamps(mqtt: MqttSettings) -> list[tuple[int, ...]]:
    """Tell one state of the files from another, without reading them."""
    found: list[tuple[int, ...]] = []
    for file in (getattr(mqtt, name) for name in TLS_FILES):
        try:
            stat = os.stat(file) if file is not None else None
        except OSError:
            stat = None
        found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size) if stat else ())
    return found


def _modern() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks certificate and name
    context.hostname_checks_common_name = False  # of a device it is an id, and nobody's host
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def context(mqtt: MqttSettings) -> ssl.SSLContext:
    """Read what is believed and shown. Raises IdentityError, SettingsError."""
    context = _modern()
    if mqtt.ca_file is None:
        context.load_default_certs()
    else:
        _trust(context, mqtt.ca_file)
    if mqtt.certificate_file is not None and mqtt.key_file is not None:
        _show(context, mqtt.certificate_file, mqtt.key_file)
    return context


def _trust(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise SettingsError(f"{file}: mqtt.ca_file: no certificate in PEM form") from error
    except OSError as error:
        raise SettingsError(f"{file}: mqtt.ca_file cannot be read: {error.strerror}") from error
    # The authority may itself be signed by another one, which the file need not have.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _show(context: ssl.SSLContext, file: Path, key: Path) -> None:
    identity.read_private(key)
    try:
        context.load_cert_chain(file, key, _refuse_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(f"{key}: mqtt.key_file: not the key of {file}") from error
        raise SettingsError(
            f"{file}, {key}: mqtt.certificate_file and mqtt.key_file: not a certificate and its "
            f"private key in PEM form ({error.reason})"
        ) from error
    except OSError as error:
        raise SettingsError(
            f"{file}: mqtt.certificate_file cannot be read: {error.strerror}"
        ) from error


def _refuse_passphrase() -> NoReturn:
    raise SettingsError("mqtt.key_file: a key with a passphrase; nobody is there who could say it")
