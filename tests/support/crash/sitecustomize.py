"""Counts the points of a process where a crash could hurt, kills it at the k-th. No hook needed.

Python itself imports this module at start when its folder is in PYTHONPATH. When the product's
modules are imported, it wraps their functions; processes count together by appending to one file.

    CRASH_COUNT   the file; without it nothing counts
    CRASH_AT      the point that kills, from 1; 0: none
    CRASH_LEADER  set here: the process that is killed too when its child is at the point

Points: before each durable write; in the middle of each file written (its bytes are on disk, its
name is not); before each publish; after the last byte of a publish has left; at each receive. What
comes after a durable write is what comes before the next point.
"""

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

COUNT, AT, LEADER = "CRASH_COUNT", "CRASH_AT", "CRASH_LEADER"
RECORD = 64  # bytes that each point appends
PUBLISH = 3  # MQTT 3.1.1, section 2.2.1


class Counter:
    """Numbers the points of a process and its children."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._at = 0
        self._leader = 0

    def arm(self) -> None:
        """Begin to count, if the environment says so."""
        path = os.environ.get(COUNT)
        if path is None:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._at = int(os.environ[AT])
        self._leader = int(os.environ.setdefault(LEADER, str(os.getpid())))

    def point(self, name: str) -> None:
        """Where a crash could hurt. An append is atomic, and its end tells the number."""
        if self._file is None:
            return
        os.write(
            self._file, name[: RECORD - 1].ljust(RECORD - 1).encode("ascii", "replace") + b"\n"
        )
        if os.lseek(self._file, 0, os.SEEK_CUR) == self._at * RECORD:
            os.kill(self._leader, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


COUNTER = Counter()
arm = COUNTER.arm


def before(owner: Any, name: str, describe: Callable[..., str]) -> None:
    """Make the start of a function a point."""
    function = getattr(owner, name)

    def wrapper(*words: Any, **options: Any) -> Any:
        COUNTER.point(describe(*words, **options))
        return function(*words, **options)

    setattr(owner, name, wrapper)


def after(owner: Any, name: str, describe: Callable[..., str]) -> None:
    """Make the end of a function a point, unless `describe` (told its result, too) returns ""."""
    function = getattr(owner, name)

    def wrapper(*words: Any, **options: Any) -> Any:
        result = function(*words, **options)
        if described := describe(result, *words, **options):
            COUNTER.point(described)
        return result

    setattr(owner, name, wrapper)


def wrap_durable(durable: ModuleType) -> None:
    """A description takes whatever words its function may come to take."""
    for name in ("write_file", "create_file", "link_file", "remove_file", "append"):
        before(durable, name, lambda path, *_, _name=name, **__: f"{_name} {path.name}")
    before(durable, "keep_draft", lambda _file, name, *_, **__: f"keep_draft {name}")
    before(durable, "remove_files", lambda *_, **__: "remove_files")
    for name in ("commit", "forget_deleted"):
        before(durable, name, lambda *_, _name=name, **__: _name)
    base = os.path.basename
    after(durable, "_write_temporary", lambda _made, path, *_, **__: f"half of {base(path)}")
    after(durable, "_write_behind", lambda _made, _handle, path, *_, **__: f"half of {base(path)}")


def wrap_digest(digest: ModuleType) -> None:
    """Runs are compared bit by bit, and batches are drawn by the plan's id: it must not tell when
    the aggregator was started."""
    real = digest.plan_id

    def plan_id(secret: bytes, fleet: str, task: str, number: int, base: bytes, *_: int) -> bytes:
        made: bytes = real(secret, fleet, task, number, base, 0, 0)
        return made

    digest.plan_id = plan_id  # type: ignore[attr-defined]


def wrap_framing(framing: ModuleType) -> None:
    def sent(count: int, _socket: object, data: bytes) -> str:
        """Tiny packets leave in one piece."""
        return "sent" if count == len(data) and data[0] >> 4 == PUBLISH else ""

    after(framing.FilteredSocket, "send", sent)


def wrap_paho(client: ModuleType) -> None:
    before(client.Client, "publish", lambda _client, topic, *_, **__: f"publish {tail(topic)}")
    before(client.Client, "_handle_on_message", lambda _client, m: f"receive {tail(m.topic)}")


def tail(topic: str) -> str:
    """The words of a topic after the fleet's, which tell what it is."""
    return "/".join(topic.split("/")[2:])


WRAPPERS: dict[str, Callable[[ModuleType], None]] = {
    "fedling_protocol.disk.durable": wrap_durable,
    "fedling_protocol.net.framing": wrap_framing,
    "fedling_protocol.wire.digest": wrap_digest,
    "paho.mqtt.client": wrap_paho,
}


def wrapped(wrap: Callable[[ModuleType], None], module: ModuleType) -> str:
    """No point of its own."""
    wrap(module)
    return ""


class Finder:
    """Lets the others find a module, and wraps it when it has been executed."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        wrap = WRAPPERS.get(name)
        if wrap is None:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            after(spec.loader, "exec_module", lambda _none, module: wrapped(wrap, module))
        return spec


if __name__ == "sitecustomize":  # not when its names are imported by the supervisor
    sys.meta_path.insert(0, Finder())
    arm()
