"""Whether a directory lies where a boot, or a new container, begins anew."""

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # proc(5): id, parent, major:minor, ... - type, source, ...
VOLATILE = ("tmpfs", "ramfs", "overlay")


def warning(directory: Path) -> str:
    """Say what is lost with such a directory; empty if it lies on a disk, or nobody tells."""
    kind = file_system(directory)
    if kind not in VOLATILE:
        return ""
    return (
        f"{directory} is on {kind}: if that does not outlive a boot, the device is another one "
        "then, with no examples; name a directory on a disk in state_dir"
    )


def file_system(directory: Path) -> str:
    """The type of the file system that a directory is on; empty if it cannot be told."""
    try:
        device = os.stat(directory).st_dev
        mounts = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for words in map(str.split, mounts):
        if words[2] == f"{os.major(device)}:{os.minor(device)}" and "-" in words:
            return words[words.index("-") + 1]
    return ""
