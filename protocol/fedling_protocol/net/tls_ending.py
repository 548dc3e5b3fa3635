"""Until when the certificate of this end holds: for commands, as x509 takes 3 MB to import."""

from datetime import UTC

from cryptography import x509

from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.moments import moment
from fedling_protocol.settings import SettingsError

SOON_S = 30 * 86_400  # time enough to renew a certificate by hand


def ending(mqtt: MqttSettings, now_s: float) -> tuple[str, bool]:
    """Until when this end's certificate holds, in words, and whether that is soon.

    Nothing without one. Raises SettingsError.
    """
    if mqtt.certificate_file is None:
        return "", False
    try:
        certificate = x509.load_pem_x509_certificate(mqtt.certificate_file.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{mqtt.certificate_file}: mqtt.certificate_file: {error}") from error
    ends_s = _ends_s(certificate)
    return f"{mqtt.certificate_file} holds until {moment(ends_s)}", ends_s < now_s + SOON_S


def _ends_s(certificate: x509.Certificate) -> float:
    """Tell when it ends, in Unix time. Before cryptography 42 the date has no zone, and is UTC."""
    ends = getattr(certificate, "not_valid_after_utc", None) or certificate.not_valid_after
    return float(ends.replace(tzinfo=UTC).timestamp())
