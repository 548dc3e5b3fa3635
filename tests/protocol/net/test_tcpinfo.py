"""The kernel's count of a connection's bytes is what was sent, no byte more."""

import socket
from collections.abc import Iterator

import pytest

from fedling_protocol.net.tcpinfo import Meter, Traffic, of_socket
from tests.support.waiting import receive


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        with client, peer:
            yield client, peer


def test_of_socket_counts_both_ways(pair: tuple[socket.socket, socket.socket]) -> None:
    client, peer = pair
    client.sendall(b"x" * 10_000)
    receive(peer, 10_000)
    peer.sendall(b"y" * 777)  # carries the acknowledgement of all that came before
    receive(client, 777)
    assert of_socket(client) == Traffic(10_000, 777)


def test_of_socket_after_reset_still_tells(pair: tuple[socket.socket, socket.socket]) -> None:
    client, peer = pair
    peer.sendall(b"y" * 777)
    receive(client, 777)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert of_socket(client).received == 777


def test_take_gives_each_byte_once(pair: tuple[socket.socket, socket.socket]) -> None:
    client, peer = pair
    meter = Meter(client)
    assert not meter.take()
    peer.sendall(b"abc")
    receive(client, 3)
    assert meter.take() == Traffic(0, 3)
    assert meter.take() == Traffic()
