"""What went wrong with TLS, in one sentence that says the way out.

OpenSSL says why it does not believe the other end by a number (X509_V_ERR_*, openssl/x509_vfy.h),
all else by a word, which begins with the version if it is what the other end said (RFC 8446,
section 6).
"""

import ssl
import time
from pathlib import Path

from fedling_protocol.classes import dataclass
from fedling_protocol.moments import moment

NOT_YET, EXPIRED = 9, 10
UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
OTHER_NAME = frozenset({62, 64})  # of host names, of addresses

NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)
OLD = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_SSL_VERSION"})
UNCERTAIN = "SSLV3_ALERT_HANDSHAKE_FAILURE"  # TLS 1.2 has no other word for a missing certificate
MISSING = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", UNCERTAIN})
REVOKED = "SSLV3_ALERT_CERTIFICATE_REVOKED"
REFUSED = {
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority that signed it (mosquitto: cafile)",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired, or the MQTT broker's clock is wrong",
    REVOKED: "it was revoked",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it is not made for clients (extendedKeyUsage)",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it is not valid yet, or damaged: the MQTT broker's log says",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the MQTT broker's log says why",
    "TLSV1_ALERT_ACCESS_DENIED": "the MQTT broker's log says why",
    "TLSV1_ALERT_DECRYPT_ERROR": "the MQTT broker's log says why",
}


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of the port itself; an end says of what it knows the way."""

    no_tls: str
    unfinished: str  # the handshake
    no_certificate: str  # is shown, and one is wanted
    silence: str  # or what cannot be understood


CONFIGURED = Words(
    "what answers on mqtt.port speaks no TLS: take the port for TLS, mostly 8883, of WebSockets "
    "443",
    "the connection was closed in the middle of the TLS handshake: is mqtt.port the one for TLS "
    "(mostly 8883, of WebSockets 443), and has the MQTT broker a certificate there?",
    "set mqtt.certificate_file and mqtt.key_file",
    "is this its port for MQTT over TLS, and has it a certificate? If it asks for one of this end, "
    "set mqtt.certificate_file and mqtt.key_file",
)
STRANGERS = Words(  # who have a token, which says the port, and no configuration
    "what answers on this port speaks no TLS: devices do not enrol here",
    "the connection was closed in the middle of the TLS handshake: devices do not enrol on this "
    "port, or the MQTT broker has no certificate",
    "this is not the port where devices enrol, but that of those that are enrolled",
    "is this the port where devices enrol, and an MQTT broker?",
)


@dataclass(frozen=True, slots=True)
class Shown:
    """Whom this end talks to; what it believes by and what it shows, for sentences."""

    name: str  # that must be proven
    ca_file: Path | None
    certificate_file: Path | None
    words: Words = CONFIGURED


def sentence(shown: Shown, error: ssl.SSLError) -> str:
    """Say what is wrong and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _disbelief(shown, error)
    if isinstance(error, ssl.SSLEOFError):
        return shown.words.unfinished
    reason = str(error.reason)
    if reason in NO_TLS:
        return shown.words.no_tls
    if reason in OLD:
        return (
            "the MQTT broker speaks no TLS of version 1.2 or 1.3: upgrade it, or allow these "
            "versions there (mosquitto: tls_version)"
        )
    return _refusal(shown, reason)


def _disbelief(shown: Shown, error: ssl.SSLCertVerificationError) -> str:
    """Why this end does not believe the other."""
    code, clock = error.verify_code, moment(time.time())
    if code == NOT_YET:
        return (
            f"the MQTT broker's certificate is not valid yet: this machine's clock says {clock}; "
            "if that is wrong, set it"
        )
    if code == EXPIRED:
        return (
            "the MQTT broker's certificate, or its authority's, has expired: renew it; if this "
            f"machine's clock is wrong, which says {clock}, set it"
        )
    if code in UNKNOWN_AUTHORITY:
        known = f"is in {shown.ca_file}" if shown.ca_file else "this system trusts"
        return (
            f"the MQTT broker's certificate is signed by nobody who {known}: set mqtt.ca_file to "
            "the certificate of its authority"
        )
    if code in OTHER_NAME:
        return (
            f"the MQTT broker's certificate is not for {shown.name}: set mqtt.host, or "
            "mqtt.server_name, to a name that is in it, or have one made with this name "
            "(subjectAltName)"
        )
    return f"the MQTT broker's certificate is not believed: {error.verify_message}"


def _refusal(shown: Shown, reason: str) -> str:
    """Why the other end does not believe this one, or anything else."""
    file = shown.certificate_file
    if reason in MISSING and file is None:
        perhaps = ", or has no cipher in common with it" if reason == UNCERTAIN else ""
        return (
            f"the MQTT broker wants a certificate of this end{perhaps}: "
            f"{shown.words.no_certificate}"
        )
    if reason in REFUSED and file is not None:
        return f"the MQTT broker does not take {file}: {REFUSED[reason]}"
    if reason == UNCERTAIN:
        return f"the MQTT broker does not take {file}, or has no cipher in common with this end"
    words = reason.lower().replace("_", " ")
    return f"TLS failed: {words}; the MQTT broker's log may say more"
