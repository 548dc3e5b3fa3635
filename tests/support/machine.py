"""A Debian in a folder, with a systemd that really runs, to do there what people do."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.as_root import need_root
from tests.support.distributions import build, copy_tree, project
from tests.support.tools import absent, need
from tests.support.waiting import until

ROOT = Path(__file__).parent.parent.parent
DEBIANS = ("bookworm", "trixie")  # 12, 13
# No fsync for each file; nobody reads documents there.
FAST = ["--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*"]
PACKAGES = "systemd,systemd-sysv,dbus,sudo,mosquitto"
BOOT_S, COMMAND_S = 60.0, 180.0
WHEELS, DEBS, HOME = "wheels", "debs", "home/pi"
VERSIONS = ("0.1.0", "0.1.0+later")  # of the packages
PIP = f"[global]\nno-index = true\nfind-links = /{WHEELS}\ndisable-pip-version-check = true\n"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is on a machine beside a minimal Debian with mosquitto."""

    packages: str
    bring: Callable[[Path], None]  # makes files in the folder that it is given
    place: str  # where that folder is on the machine


class Machine:
    """A machine with the users pi, who may sudo, and guest, who may not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._nspawn: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Start it, with a network of its own, until everything that is enabled runs."""
        words = ["--boot", "--register=no", "--keep-unit", "--private-network"]
        with (self.root.parent / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                [need("systemd-nspawn", "systemd-container"), "-q", "-D", str(self.root), *words],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self.until(lambda: self.init() > 0, "a first process")
        self.until(lambda: self("systemctl is-system-running") == "running", "systemd runs")

    def off(self, number: signal.Signals | int = signal.SIGRTMIN + 4) -> None:
        """Shut it down in good order; by SIGKILL as a power cut does."""
        assert self._nspawn is not None
        os.kill(self.init(), number)
        self._nspawn.wait(BOOT_S)
        self._nspawn = None

    def close(self) -> None:
        """End it, however it is: without nspawn alone its first process would live on."""
        if self._nspawn is not None:
            with suppress(OSError):  # both are gone
                if init := self.init():
                    os.kill(init, signal.SIGKILL)
            self._nspawn.kill()
            self._nspawn.wait()
            self._nspawn = None

    def run(
        self, line: str, user: str = "root", code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Type a line into a login shell. code: how it must end; None: any."""
        shell = ["runuser", "-l", user, "-c", line] if user != "root" else ["bash", "-lc", line]
        done = subprocess.run(
            [need("nsenter", "util-linux"), "-t", str(self.init()), "-a", *shell],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert code in (None, done.returncode), f"$ {line}\n{done.stdout}{done.stderr}{self.log()}"
        return done

    def __call__(self, line: str, user: str = "root") -> str:
        """What a line prints, however it ends."""
        return self.run(line, user, None).stdout.strip()

    def log(self) -> str:
        """The last lines of the services, for who must find out."""
        words = ["journalctl", "-D", str(self.root / "var/log/journal"), "-n", "40", "--no-pager"]
        units = ["-u", "fedling-*", "-u", "mosquitto"]
        return subprocess.run([*words, *units], capture_output=True, text=True).stdout

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something that the machine does by itself."""

        def holds_and_it_runs() -> bool:
            assert self._nspawn is not None
            assert self._nspawn.poll() is None, (self.root.parent / "console").read_text()
            return holds()

        def says() -> str:
            return f"it was: {what}\n{self.log()}"

        until(holds_and_it_runs, says=says, look_s=0.1, patience_s=BOOT_S)

    def init(self) -> int:
        """The first process of the machine, seen from here; 0: there is none yet."""
        assert self._nspawn is not None
        pid = self._nspawn.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else 0


@contextmanager
def machine(folder: Path, kind: Kind, debian: str = DEBIANS[0]) -> Iterator[Machine]:
    """A machine that is on, made anew. What it takes is installed in CI, elsewhere it is named."""
    need_root()
    if os.environ.get("CI"):
        subprocess.run([ROOT / "packaging" / "need", "boot"], check=True)
    for tool, package in (("systemd-nspawn", "systemd-container"), ("mmdebstrap", "mmdebstrap")):
        need(tool, package)
    made = Machine(folder / "root")
    _install(made.root, kind, debian)
    try:
        made.boot()
        yield made
    finally:
        made.close()
        shutil.rmtree(made.root, ignore_errors=True)


def _install(root: Path, kind: Kind, debian: str) -> None:
    """A minimal Debian with two users, and no way to a package index."""
    making = subprocess.Popen(
        [
            "mmdebstrap",
            "-q",
            "--variant=minbase",
            *FAST,
            f"--include={PACKAGES},{kind.packages}",
            debian,
            str(root),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    brought = root.parent / "brought"
    kind.bring(brought)
    _, said = making.communicate()
    if making.returncode != 0:
        absent(f"mmdebstrap cannot fetch a Debian here: {said[-300:]}")
    shutil.move(brought, root / kind.place)
    (root / "etc/pip.conf").write_text(PIP)
    (root / "etc/sudoers.d/pi").write_text("pi ALL=(ALL) NOPASSWD: ALL\n")
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("pi\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 pi\n")
    (root / "var/log/journal").mkdir(exist_ok=True)
    for user in ("pi", "guest"):
        words = ["useradd", "--root", str(root), "--create-home", "--shell", "/bin/bash", user]
        subprocess.run(words, check=True, capture_output=True)


def _make_wheels(folder: Path) -> None:
    """This tree's wheels for device and server, and what they need."""
    tree = copy_tree(folder.parent / "tree")
    for source in (tree, tree / "broker"):
        build("wheel", source, folder)
    device, server = project("fedling"), project("fedling-broker")
    extra = device["optional-dependencies"]["agent"]
    needs = [*device["dependencies"], *extra, *server["dependencies"]]
    pip = [sys.executable, "-m", "pip", "-q", "download", "-d", str(folder)]
    python = ["--only-binary=:all:", "--python-version", "3.11"]
    wanted = [word for word in needs if not word.startswith("fedling")]
    done = subprocess.run([*pip, *python, *wanted], capture_output=True, text=True)
    if done.returncode != 0:
        absent(f"pip cannot fetch what fedling needs: {done.stderr[-300:]}")


def _make_debs(folder: Path) -> None:
    """This tree's packages, and the same as a later version of them."""
    if os.environ.get("CI"):
        subprocess.run([ROOT / "packaging" / "need", "deb"], check=True)
    need("dh_python3", "dh-python")
    words = [ROOT / "packaging/deb", Path(sys.executable).parent]
    for version in VERSIONS:
        out = folder / version
        done = subprocess.run(
            [*words, out, folder.parent / "build"],
            env={**os.environ, "VERSION": version}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


WITH_PIP = Kind("python3-venv", _make_wheels, WHEELS)
WITH_APT = Kind(
    "python3-cbor2,python3-cffi-backend,python3-cryptography,python3-nacl,"
    "python3-numpy,python3-paho-mqtt,python3-segno",
    _make_debs,
    DEBS,
)

# --- what a document says to type ----------------------------------------------------------------

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[str]:
    """The blocks of a document that have lines to type."""
    return [block for kind, block in BLOCK.findall(text) if not kind]


def lines(block: str) -> list[str]:
    """The lines of a block, as one types them."""
    return [line for line in block.splitlines() if line.strip()]
