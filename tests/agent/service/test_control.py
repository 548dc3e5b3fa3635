"""The control socket answers good requests and survives everything else."""

import json
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fedling_agent.service import control
from fedling_agent.service.control import (
    Answer,
    Client,
    Json,
    Peer,
    RequestFailed,
    Server,
    Unavailable,
)
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.loop import READ, Loop
from tests.support import as_root
from tests.support.waiting import until


class Verbs:
    """A handler that answers at once, later, or not before somebody else asks."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._kept: list[Answer] = []

    def handle(self, request: Json, peer: Peer, answer: Answer) -> None:
        match request.get("do"):
            case "echo":
                answer({"said": request.get("word")})
            case "later":
                self._loop.after(0.01, lambda: answer({"late": request.get("word")}))
            case "later failed":
                self._loop.after(0.01, lambda: answer(RequestFailed("it broke", Exit.FAILED)))
            case "keep":
                self._kept.append(answer)
            case "kept":
                answer({"kept": len(self._kept)})
            case "release":
                for kept in self._kept:
                    kept({"kept": True})
                answer({"released": len(self._kept)})
            case "count":
                peer.memory["n"] = int(str(peer.memory.get("n", 0))) + 1
                answer({"n": peer.memory["n"]})
            case "large":
                answer({"text": "x" * 3_000_000})
            case _:
                raise RequestFailed("no such verb", Exit.NOT_FOUND)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where a server listens, driven by a thread of its own. Longer than a socket's name may be."""
    long = tmp_path / ("d" * 120)
    long.mkdir()
    loop = Loop()
    server = Server(loop, long, Verbs(loop).handle)
    left, right = socket.socketpair()
    loop.watch(left.fileno(), READ, lambda _events: loop.stop())
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield long
    right.send(b"x")
    thread.join()
    server.close()
    loop.close()
    left.close()
    right.close()


def raw(directory: Path) -> socket.socket:
    """A connection that may say anything."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    with control._short_path(directory) as path:
        sock.connect(path)
    return sock


def test_ask_gives_the_answer(directory: Path) -> None:
    with Client(directory) as client:
        assert client.ask({"do": "echo", "word": "ä"}) == {"said": "ä"}


def test_ask_again_on_one_connection_remembers(directory: Path) -> None:
    with Client(directory) as first, Client(directory) as second:
        assert [first.ask({"do": "count"})["n"] for _ in range(3)] == [1, 2, 3]
        assert second.ask({"do": "count"}) == {"n": 1}


def test_ask_large_answer_comes_whole(directory: Path) -> None:
    with Client(directory) as client:
        assert len(str(client.ask({"do": "large"})["text"])) == 3_000_000
        assert client.ask({"do": "echo", "word": 1}) == {"said": 1}


def test_requests_sent_together_are_answered_in_order(directory: Path) -> None:
    with raw(directory) as sock, sock.makefile("rb") as file:
        sock.sendall(b'{"do":"large"}\n{"do":"count"}\n{"do":"count"}\n')
        assert len(json.loads(file.readline())["text"]) == 3_000_000
        assert [json.loads(file.readline())["n"] for _ in range(2)] == [1, 2]


def until_kept(other: Client) -> None:
    """The server has read the request of somebody who waits."""
    until(lambda: other.ask({"do": "kept"})["kept"])


def test_answer_that_comes_later_keeps_the_order(directory: Path) -> None:
    with raw(directory) as sock, sock.makefile("rb") as file:
        sock.sendall(
            b'{"do":"later","word":1}\n{"do":"count"}\n{"do":"later failed"}\n{"do":"count"}\n'
        )
        answers = [json.loads(file.readline()) for _ in range(4)]
    assert answers == [
        {"ok": True, "late": 1},
        {"ok": True, "n": 1},
        {"ok": False, "error": "it broke", "exit": int(Exit.FAILED)},
        {"ok": True, "n": 2},
    ]


def test_peer_that_waits_holds_no_other_up(directory: Path) -> None:
    with raw(directory) as waiting, waiting.makefile("rb") as file, Client(directory) as other:
        waiting.sendall(b'{"do":"keep"}\n{"do":"count"}\n')
        until_kept(other)
        assert other.ask({"do": "release"}) == {"released": 1}
        assert json.loads(file.readline()) == {"ok": True, "kept": True}
        assert json.loads(file.readline()) == {"ok": True, "n": 1}


def test_answer_to_a_peer_that_has_gone_is_dropped(directory: Path) -> None:
    with Client(directory) as other:
        with raw(directory) as gone:
            gone.sendall(b'{"do":"keep"}\n')
            until_kept(other)
        assert other.ask({"do": "release"}) == {"released": 1}
        assert other.ask({"do": "echo", "word": 2}) == {"said": 2}


def test_many_requests_in_one_write_are_answered(directory: Path) -> None:
    """Each is answered at once: no recursion, however many there are."""
    with raw(directory) as sock, sock.makefile("rb") as file:
        sock.sendall(b'{"do":"count"}\n' * 5000)
        assert [json.loads(file.readline())["n"] for _ in range(5000)] == list(range(1, 5001))


def test_ask_unknown_verb_fails_with_code(directory: Path) -> None:
    with Client(directory) as client, pytest.raises(RequestFailed, match="no such verb") as failed:
        client.ask({"do": "fly"})
    assert failed.value.code is Exit.NOT_FOUND


@pytest.mark.parametrize(
    "line",
    [
        *(b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"", b"NaN"),
        b'{"do":"echo","word":"\\ud800"}',
        b'{"do":"echo","\\udc00":1}',
        b'{"do":"echo","word":["\xed\xa0\x80"]}',
        '{"do":"echo"}'.encode("utf-16-le"),
    ],
)
def test_nonsense_is_answered_with_an_error(directory: Path, line: bytes) -> None:
    with raw(directory) as sock, sock.makefile("rb") as file:
        sock.sendall(line + b"\n")
        assert json.loads(file.readline())["ok"] is False
        sock.sendall(b'{"do":"echo","word":"still here"}\n')
        assert json.loads(file.readline())["said"] == "still here"


def test_pairs_of_surrogates_are_text(directory: Path) -> None:
    with raw(directory) as sock, sock.makefile("rb") as file:
        sock.sendall(b'{"do":"echo","word":"\\ud83d\\ude00 \\\\ud800"}\n')
        assert json.loads(file.readline())["said"] == "\U0001f600 \\ud800"


def test_line_without_end_is_cut_off(directory: Path) -> None:
    with raw(directory) as sock, pytest.raises(OSError, match=r"Broken pipe|reset"):
        sock.sendall(bytes(control.LONGEST_LINE + 64 * 65_536))
    with Client(directory) as client:
        assert client.ask({"do": "echo", "word": 2}) == {"said": 2}


def test_peer_that_asks_much_and_reads_late_gets_all_answers(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an answer is on its way nothing more is read: it would be taken for one long line."""
    monkeypatch.setattr(control, "LONGEST_LINE", 2 * control.CHUNK)
    many = 20_000
    requests = b'{"do": "large"}\n' + b'{"do": "echo", "word": 1}\n' * many

    def send() -> None:
        with suppress(OSError):  # the assertions tell
            sock.sendall(requests)

    with raw(directory) as sock, sock.makefile("rb") as file:
        sender = threading.Thread(target=send)
        sender.start()
        assert len(file.readline()) > 3_000_000
        assert [json.loads(file.readline())["said"] for _ in range(many)] == [1] * many
        sender.join()


def test_one_peer_too_many_puts_out_the_longest_silent(directory: Path) -> None:
    clients = [Client(directory) for _ in range(control.MOST_PEERS)]
    for client in clients:
        client.ask({"do": "count"})
    assert clients[0].ask({"do": "count"}) == {"n": 2}
    with Client(directory) as late:
        assert late.ask({"do": "count"}) == {"n": 1}
    with pytest.raises(Unavailable):
        clients[1].ask({"do": "count"})
    assert clients[0].ask({"do": "count"}) == {"n": 3}
    for client in clients:
        client.close()


def test_socket_is_its_owners_alone(directory: Path) -> None:
    assert stat.S_IMODE(os.stat(directory / control.NAME).st_mode) == 0o600


def test_client_without_service_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Client(tmp_path)
    with pytest.raises(Unavailable):
        Client(tmp_path / "nowhere")


def test_server_replaces_the_socket_of_a_killed_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead, control._short_path(tmp_path) as path:
        dead.bind(path)
    loop = Loop()
    server = Server(loop, tmp_path, Verbs(loop).handle)
    server.close()
    loop.close()
    assert not (tmp_path / control.NAME).exists()


# --- when no descriptor is left --------------------------------------------------------------


@pytest.fixture
def no_descriptors() -> Iterator[Callable[[], Callable[[], None]]]:
    """Takes all descriptors of this process; what is returned gives them back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []

    def give_back() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        while taken:
            os.close(taken.pop())

    def take() -> Callable[[], None]:
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        return give_back

    yield take
    give_back()


@pytest.mark.parametrize("silent", [True, False])
def test_peer_is_served_when_descriptors_are_there_again(
    tmp_path: Path,
    no_descriptors: Callable[[], Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
    silent: bool,
) -> None:
    """accept() raised EMFILE, and that ended the service. The one silent the longest goes; without
    one the loop looks again later, and sleeps until then."""
    monkeypatch.setattr(control, "AGAIN_S", 0.01)
    loop = Loop()
    server = Server(loop, tmp_path, Verbs(loop).handle)
    others = [raw(tmp_path)] * silent
    until(lambda: len(server._peers) >= len(others), loop.turn)
    waiting = raw(tmp_path)
    waiting.sendall(b'{"do":"echo","word":"x"}\n')
    give_back = no_descriptors()
    until(lambda: not server._peers if silent else server._retry is not None, loop.turn)
    give_back()
    waiting.setblocking(False)
    answer = bytearray()

    def turn(seconds: float) -> None:
        loop.turn(seconds)
        with suppress(BlockingIOError):
            answer.extend(waiting.recv(1000))

    until(lambda: b"\n" in answer, turn)
    assert json.loads(answer)["said"] == "x"
    for sock in others:
        assert sock.recv(1) == b""
    for sock in (*others, waiting):
        sock.close()
    server.close()
    loop.close()


# --- who may connect -------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o177])
def test_socket_is_open_to_a_group_that_alone_may_enter_the_directory(
    tmp_path: Path, umask: int
) -> None:
    """Of all modes that the owner can work with."""
    for mode in range(0o700, 0o1000):
        tmp_path.chmod(mode)
        loop, before = Loop(), os.umask(umask)
        try:
            server = Server(loop, tmp_path, Verbs(loop).handle)
        finally:
            os.umask(before)
        found = stat.S_IMODE((tmp_path / control.NAME).stat().st_mode)
        server.close()
        loop.close()
        shared = bool(mode & 0o010) and not mode & 0o007
        assert found == (0o660 if shared else 0o600), oct(mode)


@pytest.mark.parametrize(
    ("mode", "group", "says"),
    [
        (0o710, 4243, None),
        (0o710, 4244, "sudo usermod -aG 4243 4245, then log in anew; or put sudo before"),
        (0o700, 4243, "is for user 4242 alone; put sudo before the command"),
    ],
)
def test_user_of_the_group_speaks_to_the_service_others_are_told_how(
    mode: int, group: int, says: str | None
) -> None:
    as_root.need_root()
    with as_root.open_folder() as folder:
        os.chown(folder, 4242, 4243)
        folder.chmod(mode)
        loop = Loop()
        server = Server(loop, folder, Verbs(loop).handle)
        os.chown(folder / control.NAME, 4242, -1)
        assert (folder / control.NAME).stat().st_gid == (4243 if mode == 0o710 else os.getegid())
        groups = os.getgroups()
        os.setgroups([group])
        os.setegid(4245)
        os.seteuid(4245)
        try:
            if says is None:
                Client(folder).close()
            else:
                with pytest.raises(control.Forbidden, match=says):
                    Client(folder)
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)
            server.close()
            loop.close()
