"""mosquitto.conf of a fleet, each line with its reason.

Two listeners. Devices that are enrolled come to the first with a certificate, which is their user
name and their client id. A device that has a token only comes to the second with a password.

Both would share one access list, and so the second could read plans and models, but for
per_listener_settings. What is known to break with it does not concern us: messages for a session
whose client is away are lost from 2.0.12 on (our sessions are clean), and a reload ended 2.0.10.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from fedling_protocol.classes import dataclass
from fedling_protocol.wire.limits import MAX_PACKET

CA, CERTIFICATE, KEY = "ca.crt", "server.crt", "server.key"
REVOKED, ACCESS = "revoked.pem", "access"
PASSWORDS, ENROLMENT_ACCESS = "passwords", "enrolment-access"

SLOTS: Final = 16  # devices that enrol at once with one token
QUEUED_BYTES: Final = 4 * MAX_PACKET
MEMORY: Final = 512 << 20
ENROLLING: Final = 128  # connections of the second listener

Reasoned = tuple[str, str]
"""A line, and its reason; one without stands below the last one that has."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The listeners of a fleet.

    files: the directory where mosquitto finds certificates, access lists and passwords
    enrolment: port of the second listener
    """

    files: str
    enrolment: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """What differs between one mosquitto and another.

    host: the address that it listens at; empty: all
    tls: None: plain TCP and everybody is let in, for tests and simulations on this machine
    user: who it is to become when root starts it; empty: the system's own file says
    state: its directory, if what it retains is to live through a restart; empty: it is not
    own: it is ours alone; else it is the system's, whose file says where it logs
    more: further lines, of a test
    """

    port: int
    host: str = ""
    tls: Tls | None = None
    user: str = ""
    state: str = ""
    own: bool = True
    more: tuple[str, ...] = ()

    def text(self) -> str:
        """Write the file."""
        return "\n".join(_written(self._lines())) + "\n"

    def _lines(self) -> Iterator[Reasoned]:
        if self.tls is not None:
            yield "per_listener_settings true", "the second listener has an access list of its own"
        if self.own:
            yield from self._alone()
        yield from LIMITS
        yield from self._listener(self.port)
        if self.tls is None:
            yield "allow_anonymous true", "nobody else is on this machine's loopback"
        else:
            yield from _devices(self.tls)
            yield from self._listener(self.tls.enrolment)
            yield from _enrolment(self.tls)
        if self.more:
            yield from ((line, "") for line in self.more)

    def _listener(self, port: int) -> Iterator[Reasoned]:
        yield f"listener {port}{self.host and ' '}{self.host}", "-"

    def _alone(self) -> Iterator[Reasoned]:
        if self.user:
            yield f"user {self.user}", "started by root it would become one who cannot read this"
        yield "log_dest stderr", "whoever started it reads that"
        yield "log_timestamp_format %Y-%m-%dT%H:%M:%S", ""
        if self.state:
            yield "persistence true", "what is retained lives through a restart"
            yield f"persistence_location {self.state}/", ""
        else:
            why = "the aggregator says at each connect what is to be retained: that is the truth"
            yield "persistence false", why


LIMITS: Final[tuple[Reasoned, ...]] = (
    ("set_tcp_nodelay true", "without it small messages wait 40 ms"),
    (f"max_packet_size {MAX_PACKET}", "the largest model; without it 2.1 takes 2 MB"),
    ("max_queued_messages 50000", "all devices may join in one moment; by default 1,000 do"),
    (f"max_queued_bytes {QUEUED_BYTES}", "four of the largest updates wait for one who is slow"),
    ("max_inflight_messages 1000", "joins need no answer of the aggregator one by one"),
    (f"memory_limit {MEMORY}", "a flood ends clients, not the machine"),
    ("persistent_client_expiration 1h", "nobody of ours leaves a session behind"),
    ("sys_interval 0", "nobody reads statistics, and writing them wakes a processor"),
)

_BOTH: Final[tuple[Reasoned, ...]] = (
    ("tls_version tlsv1.2", "the floor: both ends speak 1.3"),
    ("allow_anonymous false", "nobody without a name"),
    ("use_username_as_clientid true", "else whoever is let in takes another's place by its id"),
    ("max_qos 1", "2 makes a broker keep messages for who never comes back to them"),
    ("max_topic_alias 0", "nobody of ours uses them"),
)


def _devices(tls: Tls) -> Iterator[Reasoned]:
    yield from _server(tls)
    yield f"cafile {tls.files}/{CA}", "who is let in has a certificate of the fleet's authority"
    yield "require_certificate true", ""
    yield f"crlfile {tls.files}/{REVOKED}", "that was not revoked"
    yield "use_identity_as_username true", "and is who the certificate says"
    yield f"acl_file {tls.files}/{ACCESS}", "a device's own topics, by its name"
    yield from _BOTH


def _enrolment(tls: Tls) -> Iterator[Reasoned]:
    yield from _server(tls)
    yield f"password_file {tls.files}/{PASSWORDS}", "of tokens that are not used up"
    yield f"acl_file {tls.files}/{ENROLMENT_ACCESS}", "to ask and to hear the answer, nothing else"
    yield f"max_connections {ENROLLING}", f"eight tokens, {SLOTS} devices at once with each"
    yield from _BOTH


def _server(tls: Tls) -> Iterator[Reasoned]:
    yield f"certfile {tls.files}/{CERTIFICATE}", "proves to devices that this is their broker"
    yield f"keyfile {tls.files}/{KEY}", ""


def _written(lines: Iterable[Reasoned]) -> Iterator[str]:
    """A reason stands above its line: mosquitto knows no comment behind one."""
    yield "# Written by fedling-broker; what is changed here by hand is lost."
    for line, reason in lines:
        if reason == "-":
            yield ""
        elif reason:
            yield f"# {reason}"
        yield line
