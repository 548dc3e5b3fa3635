"""The Unix socket by which commands talk to the running service: one JSON line each way.

Who may connect, the state directory says: its group, if that may enter it and others may not (mode
0710: the socket has 0660), else its owner alone (0600). A request is {"do": VERB, ...}; an answer
is {"ok": true, ...} or {"ok": false, "error": SENTENCE, "exit": CODE}. Lines and connections are
bounded: when there are too many, the one that was silent the longest is closed. A slow sensor may
keep its connection as long as it likes; nobody who connects can stop the service. An answer may
come later (a disk writes, a sensor is read): the next request of that connection waits for it.

    Unavailable
        no service answers
    Forbidden
        one would, to another user
"""

import errno
import json
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedling_protocol.disk.ownership import group_name, user_name
from fedling_protocol.exits import Exit, Failure
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.loop import READ, WRITE, Loop, Timer

log = logging.getLogger(__name__)

Json = dict[str, object]

NAME = "agent.sock"
LONGEST_LINE = 4 * 2**20  # a window of 65,535 values as text is well below
MOST_PEERS = 16
ANSWER_S = 30.0
AGAIN_S = 1.0  # until descriptors may be there again
CHUNK = 65_536


class Unavailable(Exception):
    """No service answers on this socket."""


class Forbidden(Unavailable):
    """A service is there, and it is another user's."""


class RequestFailed(Failure):
    """The service's answer is an error: its sentence and its exit code."""


class Peer:
    """One connection's memory, for verbs that take several requests."""

    def __init__(self) -> None:
        self.memory: dict[str, object] = {}


Answer = Callable[["Json | RequestFailed"], None]
"""Says what came of a request; once, at once or later."""

Handler = Callable[[Json, Peer, Answer], None]
"""Handles a request and calls the answer, or raises RequestFailed to refuse it at once."""


# --- the service's end -----------------------------------------------------------------------


class Server:
    """Listens on directory/agent.sock until close()."""

    def __init__(self, loop: Loop, directory: Path, handler: Handler) -> None:
        self._loop = loop
        self._directory = directory
        self._handler = handler
        self._peers: dict[_Connection, None] = {}  # the longest silent first
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with suppress(FileNotFoundError):  # left by a killed service; the store's lock is ours
            (directory / NAME).unlink()
        about = os.stat(directory)
        before = os.umask(0o117 if _is_shared(about) else 0o177)
        try:
            with _short_path(directory) as path:
                self._socket.bind(path)
                if _is_shared(about) and os.stat(path).st_gid != about.st_gid:
                    os.chown(path, -1, about.st_gid)
        finally:
            os.umask(before)
        self._socket.listen(MOST_PEERS)
        self._retry: Timer | None = None  # to listen again
        self._listen()

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        for peer in list(self._peers):
            peer.close()
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        with suppress(FileNotFoundError):
            (self._directory / NAME).unlink()

    def _on_peer(self, _events: int) -> None:
        try:
            sock, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor is left, or no memory
            self._make_room(error)
            return
        sock.setblocking(False)
        if len(self._peers) >= MOST_PEERS:
            next(iter(self._peers)).close()
        self._peers[_Connection(self._loop, sock, self._handler, self._moved)] = None

    def _make_room(self, error: OSError) -> None:
        """Give up who was silent the longest; without any, try again later: the loop must sleep."""
        log.warning("a command cannot be served: %s", error.strerror)
        if self._peers:
            next(iter(self._peers)).close()
            return
        self._loop.unwatch(self._socket.fileno())
        self._retry = self._loop.after(AGAIN_S, self._listen)

    def _listen(self) -> None:
        self._loop.watch(self._socket.fileno(), READ, self._on_peer)

    def _moved(self, peer: "_Connection", gone: bool) -> None:
        self._peers.pop(peer, None)
        if not gone:
            self._peers[peer] = None


class _Connection:
    """One peer: requests are answered one after another."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        handler: Handler,
        moved: Callable[["_Connection", bool], None],
    ) -> None:
        """moved: called when something came or went, with True when it was the end."""
        self._loop = loop
        self._socket = sock
        self._handler = handler
        self._moved = moved
        self._peer = Peer()
        self._waiting = False  # for the handler's answer
        self._going = False
        self._closed = False
        self._in = bytearray()
        self._out = bytearray()
        loop.watch(sock.fileno(), READ, self._on_ready)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._moved(self, True)

    def _on_ready(self, events: int) -> None:
        self._moved(self, False)
        try:
            if events & WRITE:
                self._send()
                self._go_on()
            elif not self._receive():
                self.close()
        except OSError:  # the peer has gone in the middle
            self.close()

    def _receive(self) -> bool:
        """Read, answer if a line is complete. False: the peer is done, or talks nonsense."""
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return True
        self._in += data
        if not data or len(self._in) > LONGEST_LINE:
            return False
        self._go_on()
        return True

    def _go_on(self) -> None:
        """Answer what is complete; while an answer is on its way, nothing more is read."""
        if self._going:  # an answer came at once: the loop below goes on
            return
        self._going = True
        while not self._closed and not self._out and not self._waiting and b"\n" in self._in:
            line, _, self._in = self._in.partition(b"\n")
            self._waiting = True
            self._handle(bytes(line))
        self._going = False
        if not self._closed:
            self._watch()

    def _handle(self, line: bytes) -> None:
        request = _decode(line)
        if not isinstance(request, dict):
            self._answer(
                RequestFailed(
                    "the request is not a line with a JSON object in Unicode", Exit.FAILED
                )
            )
            return
        try:
            self._handler(request, self._peer, self._answer)
        except RequestFailed as error:
            self._answer(error)
        except Exception as error:  # noqa: BLE001 (the boundary of a request)
            self._answer(RequestFailed(mishaps.sentence(error), Exit.FAILED))

    def _answer(self, answer: Json | RequestFailed) -> None:
        """Called by the handler, perhaps when the peer is long gone."""
        if self._closed:
            return
        self._waiting = False
        if isinstance(answer, RequestFailed):
            self._out += _failure(str(answer), answer.code)
        else:
            self._out += _encode({"ok": True, **answer})
        try:
            self._send()
            self._go_on()
        except OSError:  # the peer has gone in the middle
            self.close()

    def _send(self) -> None:
        with suppress(BlockingIOError):
            while self._out:
                del self._out[: self._socket.send(self._out)]

    def _watch(self) -> None:
        """Whoever waits for an answer is not read; that it has gone shows when it is answered."""
        if self._out:
            self._loop.watch(self._socket.fileno(), WRITE, self._on_ready)
        elif self._waiting:
            self._loop.unwatch(self._socket.fileno())
        else:
            self._loop.watch(self._socket.fileno(), READ, self._on_ready)


def _decode(line: bytes) -> object:
    """Read a line; None if it is no JSON, or has a text that no database could store."""
    try:
        text = line.decode()
        request: object = json.loads(text)
        if "\\u" in text:  # may be half a surrogate pair
            json.dumps(request, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return request


def _failure(sentence: str, code: Exit) -> bytes:
    return _encode({"ok": False, "error": sentence, "exit": int(code)})


# --- a command's end -------------------------------------------------------------------------


class Client:
    """A connection to the service. Raises Unavailable when there is none."""

    def __init__(self, directory: Path, timeout_s: float = ANSWER_S) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            with _short_path(directory) as path:
                self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            if error.errno in (errno.EACCES, errno.EPERM):
                raise Forbidden(f"{directory / NAME}: {_for_whom(directory)}") from error
            raise Unavailable(f"{directory / NAME}: no service answers") from error
        self._file = self._socket.makefile("rb")

    def ask(self, request: Json) -> Json:
        """Send one request and wait for its answer. Raises RequestFailed, Unavailable."""
        try:
            self._socket.sendall(_encode(request))
            line = self._file.readline(LONGEST_LINE)
        except OSError as error:
            raise Unavailable(f"the service does not answer: {error}") from error
        if not line.endswith(b"\n"):
            raise Unavailable("the service ended before it answered")
        answer: Json = json.loads(line)
        if answer.pop("ok"):
            return answer
        raise RequestFailed(str(answer["error"]), Exit(int(str(answer["exit"]))))

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _for_whom(directory: Path) -> str:
    """Say who may connect, and how one becomes such a one."""
    try:
        about = os.stat(directory)
    except OSError:
        return "is closed to you; put sudo before the command"
    owner = user_name(about.st_uid)
    if not _is_shared(about):
        return f"is for user {owner} alone; put sudo before the command"
    group, me = group_name(about.st_gid), user_name(os.geteuid())
    return (
        f"is for user {owner} and the group {group}; to join it: sudo usermod -aG {group} {me},"
        " then log in anew; or put sudo before the command"
    )


def _is_shared(directory: os.stat_result) -> bool:
    """Whether the group may enter, and others may not: a umask of 022 opens to both."""
    mode = directory.st_mode
    return bool(mode & stat.S_IXGRP) and not mode & stat.S_IRWXO


def _encode(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=str).encode() + b"\n"


@contextmanager
def _short_path(directory: Path) -> Iterator[str]:
    """The socket's path by way of a descriptor: a socket's name has at most 107 bytes."""
    try:
        handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "no such directory") from error
    try:
        yield f"/proc/self/fd/{handle}/{NAME}"
    finally:
        os.close(handle)
