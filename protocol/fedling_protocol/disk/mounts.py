"""Which file system a directory is on."""

import os
from pathlib import Path
from typing import Final

MOUNTS = Path("/proc/self/mountinfo")  # proc(5): id, parent, major:minor, ... - type, source, ...
WITHOUT_MODES: Final = ("vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk")


def kind(directory: Path) -> str:
    """The type of the file system, as "ext4"; empty if it cannot be told."""
    try:
        device = os.stat(directory).st_dev
        mounts = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for words in map(str.split, mounts):
        if words[2] == f"{os.major(device)}:{os.minor(device)}" and "-" in words:
            return words[words.index("-") + 1]
    return ""
