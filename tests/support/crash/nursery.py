"""A process that has imported the product and forks it: a start costs milliseconds, not a second.

One line of JSON in for each process: {"program", "words", "log", "environment", "forks"};
one out: {"pid"}, and one when it has ended: {"pid", "code"}. The end of the input ends them all.
"""

import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

import sitecustomize  # type: ignore[import-not-found]  # of this folder: PYTHONPATH names it

import fedling_agent
import fedling_broker
from fedling_broker.mosquitto.process import die_with_parent
from tests.support.crash import forked

PROGRAMS = {"agent": "fedling_agent.cli", "broker": "fedling_broker.cli"}
FAILED = 1


def main() -> None:
    """Serve until the end of the input."""
    for package in (fedling_agent, fedling_broker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # a fork shares these pages for longer
    wake, wake_write = socket.socketpair()
    for end in (wake, wake_write):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write.fileno())
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        serve(selector, wake)


def serve(selector: selectors.BaseSelector, wake: socket.socket) -> None:
    """Fork what is asked for, tell what has ended."""
    rest = b""
    while True:
        ready = [key.fd for key, _ in selector.select()]
        if wake.fileno() in ready:
            wake.recv(4096)
            tell_ended()
        if 0 not in ready:
            continue
        data = os.read(0, 65_536)
        if not data:
            return  # PR_SET_PDEATHSIG ends what still runs
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            tell({"pid": fork(json.loads(line))})


def tell(message: dict[str, int]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def tell_ended() -> None:
    """All that have ended: signals may have fallen together."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        tell({"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def fork(request: dict[str, Any]) -> int:
    """Run a program in a child; its pid."""
    pid = os.fork()
    if pid == 0:
        become(request)
    return pid


def become(request: dict[str, Any]) -> NoReturn:
    """In the child: what exec would have made of it. Never returns to the nursery's code."""
    code = FAILED
    try:
        os.setsid()
        die_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 64)  # nothing of the nursery's
        os.environ.update(request["environment"])
        sitecustomize.arm()
        if request["forks"]:
            forked.install()
        code = importlib.import_module(PROGRAMS[request["program"]]).main(request["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else FAILED
    except BaseException:  # noqa: BLE001  an interpreter would print it, too
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
