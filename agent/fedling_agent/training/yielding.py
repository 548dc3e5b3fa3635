"""How a process yields to all others, and how long it has waited for a processor."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

NICEST = 19
AUTOGROUP = "/proc/{}/autogroup"  # of sched(7)
IOPRIO_WHO_PROCESS = 1
IOPRIO_IDLE = 3 << 13  # the class; it has no levels
# No libc has a function for it. Its number for programs of 32 bits, and of 64 (ioprio_set(2)).
IOPRIO_SET = {"x86_64": (289, 251), "i686": (289, 0), "aarch64": (314, 30), "riscv64": (0, 30)}
ARM = (314, 0)  # armv6l, armv7l, armv8l


def yield_to_others(pid: int) -> list[str]:
    """Have a process take only what others leave of processors and disks.

    It leads a session of its own: one that is others' too is left as it is. Returns what the system
    refuses, as a container's does: then it goes without.
    """
    calls: dict[str, Callable[[], object]] = {
        "nice": lambda: os.setpriority(os.PRIO_PROCESS, pid, NICEST),
        "SCHED_IDLE": lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
        "autogroup": lambda: _be_the_nicest_session(pid),
        "ioprio_set": lambda: _ioprio_set(pid),
    }
    refused = []
    for name, call in calls.items():
        try:
            call()
        except OSError as error:
            refused.append(f"{name}: {error.strerror}")
    return refused


def waited_s(pid: int) -> float | None:
    """Tell how long a process was ready to run and did not, a wait that goes on not yet counted.

    None: the kernel does not tell (proc_pid_schedstat(5)), or it is gone.
    """
    try:
        _, waited_ns, _ = Path(f"/proc/{pid}/schedstat").read_bytes().split()
    except (OSError, ValueError):
        return None
    return int(waited_ns) / 1e9


def _be_the_nicest_session(pid: int) -> None:
    """Where the kernel shares processors by session, policy and nice count within one only."""
    if os.getsid(pid) != pid:
        raise OSError(errno.EBUSY, "its session is not its own")
    try:
        handle = os.open(AUTOGROUP.format(pid), os.O_RDWR)
    except FileNotFoundError:  # it shares them by process
        return
    try:
        if os.read(handle, 1):  # empty: it is of no session's group, as what the kernel starts is
            os.write(handle, b"%d" % NICEST)
    finally:
        os.close(handle)


def _ioprio_set(pid: int) -> None:
    import ctypes  # a service that trains nothing does without

    number = _number(os.uname().machine)
    if not number:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(number), IOPRIO_WHO_PROCESS, pid, IOPRIO_IDLE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _number(machine: str) -> int:
    """A 64-bit kernel runs programs of 32 bits, whose numbers are others."""
    of_32, of_64 = IOPRIO_SET.get(machine, ARM if machine.startswith("arm") else (0, 0))
    return of_64 if sys.maxsize > 2**32 else of_32
