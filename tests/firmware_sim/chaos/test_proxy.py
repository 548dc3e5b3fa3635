"""The proxy passes every byte on, counts them, and does to a link what it is told."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedling_sim.chaos.fault import MUTE, WHOLE, End, Fault, flapping
from fedling_sim.chaos.proxy import Proxy, given_ports, own_ports
from tests.support.waiting import receive, until

PATIENCE_S = 30.0


class Server:
    """Accepts, and leaves what comes of it to the test; or sends everything back."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> socket.socket:
        end, _ = self._listener.accept()
        end.settimeout(PATIENCE_S)
        return end

    def echo(self) -> None:
        """Send back what comes on the next connection, from a thread."""
        threading.Thread(target=self._echo, daemon=True).start()

    def _echo(self) -> None:
        with self.accept() as end, contextlib.suppress(ConnectionResetError):
            while data := end.recv(4096):
                end.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def pair(server: Server, port: int) -> tuple[socket.socket, socket.socket]:
    """A client's end and the server's, of one connection through the proxy."""
    near = connect(port)
    return near, server.accept()


def until_reset(end: socket.socket) -> bytes:
    """What comes before a reset, which must come."""
    got = b""
    try:
        while data := end.recv(1000):
            got += data
    except ConnectionResetError:
        return got
    raise AssertionError("closed in order")


def nothing_comes(end: socket.socket) -> bool:
    """Whether nothing is there now: neither a byte nor an end."""
    end.setblocking(False)
    try:
        end.recv(1)
    except BlockingIOError:
        return True
    finally:
        end.settimeout(PATIENCE_S)
    return False


def test_proxy_passes_and_counts_both_ways(proxy: Proxy, server: Server) -> None:
    port = proxy.add("a")
    server.echo()
    payload = bytes(range(256)) * 8192  # 2 MiB: more than any buffer holds
    with connect(port) as connection:
        sender = threading.Thread(target=connection.sendall, args=(payload,))
        sender.start()
        assert receive(connection, len(payload)) == payload
        sender.join()
    traffic = proxy.traffic("a")
    assert (traffic.up, traffic.down, traffic.connections) == (len(payload), len(payload), 1)


def test_add_takes_no_port_that_the_kernel_gives_away(proxy: Proxy) -> None:
    """Who knocks at the port of a server that has ended is no client, and is not counted."""
    ports = [proxy.add(str(n)) for n in range(50)]
    assert len(set(ports)) == 50
    assert set(ports) <= set(own_ports(*given_ports()))


@pytest.mark.parametrize(
    ("low", "high", "count"),
    [
        (32_768, 60_999, 36_280),
        (1024, 65_535, 64_512),
        (1500, 65_535, 64_512),
        (2024, 65_535, 1000),
    ],
)
def test_own_ports_are_those_that_the_kernel_keeps_unless_it_gives_all(
    low: int, high: int, count: int
) -> None:
    ports = own_ports(low, high)
    assert len(ports) == count
    assert all(1024 <= port < 65_536 for port in ports)
    assert count == 64_512 or not [port for port in ports if low <= port <= high]


def test_cut_counts_what_a_device_had_sent_and_nobody_had_read(
    proxy: Proxy, server: Server
) -> None:
    """On a loaded machine the proxy's thread is often late: here it is kept from looking."""
    port = proxy.add("a")
    near, far = pair(server, port)
    near.sendall(b"x")
    assert far.recv(1) == b"x"
    far.sendall(b"y")
    assert near.recv(1) == b"y"
    waiting: list[socket.socket] = []

    def all_at_once() -> None:
        near.sendall(bytes(1000))
        waiting.append(connect(port))
        waiting[0].sendall(bytes(300))
        proxy._show(proxy._lines["a"], Fault(refuse=True))

    proxy._call(all_at_once)
    traffic = proxy.traffic("a")
    assert (traffic.up, traffic.down) == (1301, 1)
    near.close()
    waiting[0].close()


def test_cut_resets_and_refuses_until_mended(proxy: Proxy, server: Server) -> None:
    port, other_port = proxy.add("a"), proxy.add("b")
    other, other_far = pair(server, other_port)
    near, far = pair(server, port)
    proxy.cut("a")
    for end in (near, far):
        with pytest.raises(ConnectionResetError):
            end.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    proxy.mend("a")
    again = pair(server, port)
    for living, its_far in (again, (other, other_far)):
        living.sendall(b"y")
        assert its_far.recv(1) == b"y"


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("count", [0, 1, 999, 65_536, 200_000])
def test_exactly_so_many_bytes_pass_before_the_connection_ends(
    proxy: Proxy, server: Server, up: bool, count: int
) -> None:
    """Who reads is not told of the end, so that no reset overtakes what has passed."""
    port = proxy.add("a")
    upwards = Fault(up_bytes=count, end=End.SERVER_HOLDS)
    proxy.show("a", upwards if up else Fault(down_bytes=count, end=End.CLIENT_HOLDS))
    near, far = pair(server, port)
    sender, reader = (near, far) if up else (far, near)
    payload = bytes(range(256)) * 1000
    threading.Thread(target=_send_what_goes, args=(sender, payload), daemon=True).start()
    assert receive(reader, count) == payload[:count]
    until(lambda: not proxy.living("a"))
    assert nothing_comes(reader)
    if not up:
        assert proxy.traffic("a").down == count


@pytest.mark.parametrize("up", [True, False])
def test_reset_overtakes_what_has_passed_but_lets_no_more_pass(
    proxy: Proxy, server: Server, up: bool
) -> None:
    port = proxy.add("a")
    proxy.show("a", Fault(up_bytes=999) if up else Fault(down_bytes=999))
    near, far = pair(server, port)
    sender, reader = (near, far) if up else (far, near)
    sender.sendall(b"x" * 1000)
    assert (b"x" * 999).startswith(until_reset(reader))


def _send_what_goes(end: socket.socket, payload: bytes) -> None:
    with contextlib.suppress(OSError):
        end.sendall(payload)


def test_connections_end_so_many_times_and_live_then(proxy: Proxy, server: Server) -> None:
    port = proxy.add("a")
    proxy.show("a", Fault(up_bytes=3, times=2))
    for _ in range(2):
        near, far = pair(server, port)
        near.sendall(b"1234")
        assert until_reset(near) == b""
    near, far = pair(server, port)
    near.sendall(b"1234")
    assert receive(far, 4) == b"1234"


@pytest.mark.parametrize("how", list(End))
def test_who_is_told_of_an_end(proxy: Proxy, server: Server, how: End) -> None:
    """And who is not told may go on sending: it goes nowhere."""
    port = proxy.add("a")
    near, far = pair(server, port)
    far.sendall(b"hello")
    assert receive(near, 5) == b"hello"
    proxy.end("a", how)
    assert proxy.living("a") == 0
    told = {End.CUT: (near, far), End.HALF_OPEN: (), End.CLIENT_HOLDS: (far,)}.get(how, (near,))
    for end, peer in ((near, far), (far, near)):
        if end in told:
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        else:
            end.sendall(b"is anybody there?")
            assert nothing_comes(end)
            assert peer in told or nothing_comes(peer)
    again, its_far = pair(server, port)  # beside the old connection
    again.sendall(b"x")
    assert its_far.recv(1) == b"x"
    if far not in told:
        assert nothing_comes(far)


def test_bytes_into_a_half_open_connection_are_counted(proxy: Proxy, server: Server) -> None:
    near, _far = pair(server, proxy.add("a"))
    proxy.end("a", End.HALF_OPEN)
    near.sendall(bytes(5000))
    near.close()
    until(lambda: proxy._call(lambda: len(proxy._husks)) <= 1)  # the client's, when all is in
    assert proxy.traffic("a").up == 5000


def test_mute_link_accepts_and_brings_later_what_was_sent(proxy: Proxy, server: Server) -> None:
    port = proxy.add("a")
    near, far = pair(server, port)
    proxy.show("a", MUTE)
    new = connect(port)
    near.sendall(b"late")
    new.sendall(b"new")
    until(lambda: proxy.traffic("a").up >= 7)
    assert nothing_comes(far)
    proxy.show("a", WHOLE)
    assert receive(far, 4) == b"late"
    assert receive(server.accept(), 3) == b"new"


def test_slow_and_late_bytes_keep_their_order(proxy: Proxy, server: Server) -> None:
    port = proxy.add("a")
    proxy.show("a", Fault(delay_s=0.01, jitter_s=0.05, up_rate=500_000, down_rate=500_000))
    server.echo()
    payload = bytes(range(256)) * 400
    with connect(port) as near:
        sender = threading.Thread(target=near.sendall, args=(payload,))
        sender.start()
        assert receive(near, len(payload)) == payload
        sender.join()


def test_throttle_waits_after_each_tenth_of_a_second_of_bytes(
    proxy: Proxy, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time passes here: what the proxy would have slept is written down."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def write_down(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", write_down)
    port = proxy.add("a")
    proxy.show("a", Fault(up_rate=1000))
    near, far = pair(server, port)
    near.sendall(bytes(300))
    assert receive(far, 300) == bytes(300)
    until(lambda: sum(slept) > 0.299, says=lambda: slept)
    assert sum(slept) == pytest.approx(0.3)
    assert max(slept) == pytest.approx(0.1)


def test_server_that_is_not_there_is_a_reset(server: Server) -> None:
    server.close()
    told: list[tuple[str, str]] = []
    proxy = Proxy(server.port, tell=lambda name, what: told.append((name, what)))
    with pytest.raises(ConnectionResetError), connect(proxy.add("a")) as near:
        near.recv(1)
    proxy.close()
    assert told[0] == ("a", "the server does not answer: Connection refused")


def certificate(folder: Path) -> Path:
    """A file with a key and its self-signed certificate for the name "server"."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("server")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = folder / "server.pem"
    file.write_bytes(key.private_bytes(pem, pkcs8, plain) + made.public_bytes(pem))
    return file


def test_tls_goes_through_and_is_cut_like_anything(
    proxy: Proxy, server: Server, tmp_path: Path
) -> None:
    """It sees bytes only. The first connection ends in the handshake, the second one lives."""
    file = certificate(tmp_path)
    at_server, at_client = (
        ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    at_server.load_cert_chain(file)
    at_client.load_verify_locations(file)

    def serve() -> None:
        with contextlib.suppress(OSError):
            at_server.wrap_socket(server.accept(), server_side=True)
        with at_server.wrap_socket(server.accept(), server_side=True) as end:
            while data := end.recv(4096):
                end.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    port = proxy.add("a")
    proxy.show("a", Fault(delay_s=0.01, down_bytes=200, times=1))
    with pytest.raises(OSError, match=r"reset|EOF|Closed"):
        at_client.wrap_socket(connect(port), server_hostname="server")
    payload = bytes(range(256)) * 100
    with at_client.wrap_socket(connect(port), server_hostname="server") as near:
        near.sendall(payload)
        assert receive(near, len(payload)) == payload


def test_spells_are_played_and_end_with_the_next_word(proxy: Proxy, server: Server) -> None:
    port = proxy.add("a")
    near, _far = pair(server, port)
    proxy.play("a", iter([(0.0, WHOLE), (3600.0, Fault(refuse=True))]))
    with pytest.raises(ConnectionResetError):
        near.recv(1)
    proxy.mend("a")
    near, far = pair(server, port)
    near.sendall(b"x")
    assert far.recv(1) == b"x"


def test_closed_proxy_refuses_and_may_be_closed_again(proxy: Proxy, server: Server) -> None:
    port = proxy.add("a")
    near, _far = pair(server, port)
    proxy.end("a", End.HALF_OPEN)
    proxy.close()
    proxy.close()
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    assert near.recv(1) == b""


def test_flapping_is_the_same_for_the_same_seed() -> None:
    faults = [MUTE, Fault(refuse=True)]

    def first(seed: int) -> list[tuple[float, Fault]]:
        spells = flapping(seed, faults, good_s=2, bad_s=1)
        return [next(spells) for _ in range(100)]

    assert first(1) == first(1) != first(2)
    assert {fault for _, fault in first(1)[::2]} == {WHOLE}
    assert {fault for _, fault in first(1)[1::2]} == set(faults)
    assert all(0 <= seconds <= 4 for seconds, _ in first(1))
