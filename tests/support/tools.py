"""What a test needs of the machine: absent in CI is a failure, elsewhere a skip with its reason."""

import os
import shutil
from functools import cache
from subprocess import run
from typing import NoReturn

import pytest

SYSTEM_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def absent(reason: str) -> NoReturn:
    """End the test: failed in CI (which installs everything), skipped elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must provide this: {reason}", pytrace=False)
    pytest.skip(reason)


def need(tool: str, package: str | None = None) -> str:
    """Path of a program, or `absent`."""
    found = shutil.which(tool, path=SYSTEM_PATH)
    if found is None:
        absent(f"{tool} is missing: install the package {package or tool}")
    return found


@cache
def unshare_works(option: str) -> bool:
    """Whether this user may make namespaces: -rn a network, -rm mounts of its own."""
    tool = shutil.which("unshare", path=SYSTEM_PATH)
    return tool is not None and run([tool, option, "true"], capture_output=True).returncode == 0


def own_network() -> list[str]:
    """Prefix of a command that runs in a network of its own with nothing but a loopback."""
    _need_unshare("-rn")
    up = f'"{need("ip", "iproute2")}" link set lo up && exec "$@"'
    return [need("unshare", "util-linux"), "-rn", "sh", "-c", up, "sh"]


def own_tmpfs(mountpoint: str, size: str) -> list[str]:
    """Prefix of a command that finds a tmpfs of that size (as "1m") at mountpoint."""
    _need_unshare("-rm")
    mount = f'mount -t tmpfs -o size={size},mode=700 none {mountpoint} && exec "$@"'
    return [need("unshare", "util-linux"), "-rm", "sh", "-c", mount, "sh"]


def own_loops() -> None:
    """Whether this user may mount a file system that lies in a file, or `absent`."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        absent("a file system in a file is not to be mounted here (run as root, with /dev/loop*)")


def only_processes() -> list[str]:
    """Prefix of a command whose /proc shows processes and nothing else: ProcSubset=pid."""
    mount = 'mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec "$@"'
    words = ["-rmpf", "--kill-child", "--mount-proc", "sh", "-c", mount, "sh"]
    prefix = [need("unshare", "util-linux"), *words]
    if run([*prefix, "true"], capture_output=True).returncode != 0:
        absent("a /proc of processes only is refused here (run as root)")
    return prefix


def as_nobody() -> list[str]:
    """Prefix of a command that runs as user nobody, when we are root; else of nothing.

    nobody may read everything here (a virtual environment often lies below a closed home), and
    write, connect or signal nothing that is not its own.
    """
    if os.geteuid() != 0:
        return []
    read = "-all,+dac_read_search"
    return [
        need("setpriv", "util-linux"),
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        f"--inh-caps={read}",
        f"--ambient-caps={read}",
        f"--bounding-set={read}",
    ]


def _need_unshare(option: str) -> None:
    if not unshare_works(option):
        absent(f"unshare {option} is refused here (run as root, or allow user namespaces)")
