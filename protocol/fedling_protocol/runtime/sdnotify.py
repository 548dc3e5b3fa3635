"""Words to systemd's service manager: ready, alive, what it is doing."""

import os
import socket
import time


def managed() -> bool:
    """Whether a service manager asked to hear of us."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(*words: str) -> bool:
    """Send READY=1, WATCHDOG=1, STATUS=... lines. False: nobody asked for them."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(words).encode(), address)
        except OSError:  # a deaf service manager is no reason to stop working
            return False
    return True


def ready(status: str) -> bool:
    """The service works; `systemctl status` shows the status line."""
    return notify("READY=1", _status(status))


def status(text: str) -> bool:
    """Set the line that `systemctl status` shows."""
    return notify(_status(text))


def alive() -> bool:
    """Feed the watchdog. From the main loop only: a thread would feed it during a hang."""
    return notify("WATCHDOG=1")


def working(seconds: float) -> bool:
    """The service lives, and wants so many seconds more until it is ready."""
    return notify("WATCHDOG=1", f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")


def reloading() -> bool:
    """The service lets go of everything, to take it up anew; ready() tells the end of that."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> bool:
    """The service is on its way out."""
    return notify("STOPPING=1")


def watchdog_s() -> float | None:
    """Within how many seconds alive() is wanted again; None: there is no watchdog on us."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 if microseconds.strip("0").isdecimal() else None


def _status(text: str) -> str:
    return "STATUS=" + text.replace("\n", " ")
