"""An ext4 file system on a file, whose power is cut under whoever writes there.

A cut: the writers stand still, what ext4 had handed to the device by then is copied, the writers
are killed, and the copy is mounted in the place of the first, with ext4's own recovery. So what
nobody had synced is lost as far as ext4 had kept it back, and names and bytes part as ext4 lets
them. What a device keeps in a cache of its own and loses is not tried: fsync is believed.
"""

import ctypes
import os
import subprocess
import time
from itertools import count
from pathlib import Path

BUSY_S = 5.0
SIZE = 64 * 2**20  # bytes; they are holes
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000

# How early ext4 writes names, and whether bytes go first. The first is what systems come with.
WAYS = ("", "data=writeback,noauto_da_alloc,commit=1", "noauto_da_alloc,commit=1", "commit=300")


def own_mounts() -> None:
    """Mount for this process and its children alone: whatever ends them ends the mounts.

    Raises OSError: not root.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        number = ctypes.get_errno()
        raise OSError(number, f"mounts of one's own: {os.strerror(number)} (run as root)")


class Disk:
    """One machine's disk. Its files are below `root`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.root = directory / "root"
        self.root.mkdir()
        self._directory = directory
        self._images = (directory / f"image-{number}" for number in count())
        self._image = next(self._images)
        with self._image.open("wb") as file:
            file.truncate(SIZE)
        _run("mkfs.ext4", "-q", "-F", "-b", "4096", str(self._image))
        self._mount("")

    def sync(self) -> None:
        """What is there from before the first cut."""
        _run("sync", "-f", str(self.root))

    def copy(self, way: str) -> None:
        """Cut the power, first part: nobody may write until `replace`. way: one of WAYS"""
        kept = next(self._images)
        while True:
            before = self._writes()
            _run("cp", "--sparse=always", str(self._image), str(kept))
            if before == self._writes():  # ext4 itself may have been at work
                break
        self._way, self._kept = way, kept

    def replace(self) -> None:
        """Second part: whoever had files open is gone, the power is back."""
        self._unmount()
        self._image.unlink()
        self._image = self._kept
        self._mount(self._way)

    def close(self) -> None:
        """Nobody uses it any more."""
        self._unmount()
        self._image.unlink()

    def _unmount(self) -> None:
        """Whoever looks for a socket there is through in a moment."""
        late = time.monotonic() + BUSY_S  # nothing tells when a mount is free
        while True:
            try:
                return _run("umount", str(self.root))
            except OSError:
                if time.monotonic() > late:  # it is in use for good
                    raise
                time.sleep(0.001)  # then it is tried again

    def _mount(self, way: str) -> None:
        options = ",".join(filter(None, ("loop", "noatime", way)))
        _run("mount", "-t", "ext4", "-o", options, str(self._image), str(self.root))

    def _writes(self) -> tuple[str, str]:
        """How many the device has done; how many requests it has now."""
        device = os.stat(self.root).st_dev
        path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        fields = path.read_text().split()
        return fields[4], fields[8]


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
