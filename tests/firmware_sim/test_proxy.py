"""The proxy passes every byte on, counts them, and cuts."""

import socket
import threading
from collections.abc import Iterator

import pytest

from fedling_sim.proxy import Proxy


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it gets, one thread a connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    def echo(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture
def proxy(echo_port: int) -> Iterator[Proxy]:
    proxy = Proxy(echo_port)
    yield proxy
    proxy.close()


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


def test_proxy_passes_and_counts_both_ways(proxy: Proxy) -> None:
    port = proxy.add("a")
    payload = bytes(range(256)) * 8192  # 2 MiB: more than any buffer holds
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        sender = threading.Thread(target=connection.sendall, args=(payload,))
        sender.start()
        assert read(connection, len(payload)) == payload
        sender.join()
    traffic = proxy.traffic("a")
    assert (traffic.up, traffic.down, traffic.connections) == (len(payload), len(payload), 1)


def test_cut_counts_what_a_device_had_sent_and_nobody_had_read(proxy: Proxy) -> None:
    """On a loaded machine the proxy's thread is often late: here it waits for its lock."""
    port = proxy.add("a")
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(b"x")
    assert connection.recv(1) == b"x"
    with proxy._lock:
        connection.sendall(bytes(1000))
        waiting = socket.create_connection(("127.0.0.1", port), timeout=10)
        waiting.sendall(bytes(300))
        proxy._cut_off("a")
    traffic = proxy.traffic("a")
    assert (traffic.up, traffic.down) == (1301, 1)
    connection.close()
    waiting.close()


def test_cut_resets_and_refuses_until_mended(proxy: Proxy) -> None:
    port = proxy.add("a")
    other = socket.create_connection(("127.0.0.1", proxy.add("b")), timeout=10)
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(b"x")
    assert connection.recv(1) == b"x"
    proxy.cut("a")
    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    proxy.mend("a")
    again = socket.create_connection(("127.0.0.1", port), timeout=10)
    for living in (again, other):
        living.sendall(b"y")
        assert living.recv(1) == b"y"
        living.close()
