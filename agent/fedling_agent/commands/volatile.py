"""Whether a directory lies where a boot, or a new container, begins anew."""

from pathlib import Path

from fedling_protocol.disk import mounts

VOLATILE = ("tmpfs", "ramfs", "overlay")


def warning(directory: Path) -> str:
    """Say what is lost with such a directory; empty if it lies on a disk, or nobody tells."""
    kind = mounts.kind(directory)
    if kind not in VOLATILE:
        return ""
    return (
        f"{directory} is on {kind}: if that does not outlive a boot, the device is another one "
        "then, with no examples; name a directory on a disk in state_dir"
    )
