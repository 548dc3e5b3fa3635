"""What a command of root's has systemd do: make a user of ours, enable and start our services."""

import pwd
import subprocess
import sys
from pathlib import Path

from fedling_protocol.exits import Exit, Failure

BOOTED = Path("/run/systemd/system")  # sd_booted(3)
SHARED = Path(sys.prefix)  # units and users come along with the package
USERS, UNITS = SHARED / "lib/sysusers.d", SHARED / "lib/systemd/system"


def booted() -> bool:
    """Whether systemd is what runs this machine."""
    return BOOTED.is_dir()


def has_user(name: str) -> bool:
    """Whether the system knows a user of this name."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def make_user(name: str) -> None:
    """Make the user that a service of ours runs as; who is there stays. Raises Failure."""
    call("systemd-sysusers", str(USERS / f"{name}.conf"))


def is_active(unit: str) -> bool:
    """Whether it runs now."""
    return _says_yes("is-active", unit)


def runs(*units: str) -> bool:
    """Whether all of them run, and will after the next boot."""
    return all(is_active(unit) and _says_yes("is-enabled", unit) for unit in units)


def begin(service: str) -> None:
    """Run a service of ours with its files as they are now, from every boot on. Raises Failure."""
    unit = UNITS / service
    call("systemctl", "enable", str(unit) if unit.exists() else service)
    call("systemctl", "restart", service)


def call(*command: str) -> None:
    """Run a program to its end. Raises Failure with what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Failure(f"{command[0]} is not installed", Exit.FAILED) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise Failure(f"{' '.join(command)}: {said}", Exit.FAILED)


def _says_yes(word: str, unit: str) -> bool:
    return subprocess.run(["systemctl", "--quiet", word, unit], capture_output=True).returncode == 0
