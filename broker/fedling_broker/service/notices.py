"""What the running service tells commands beside the database: a small file that it replaces."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable

FILE = "notices.json"
OLD_S = 60.0  # past its time: whoever told it was killed


@dataclass(frozen=True, slots=True)
class Notice:
    """What hinders a task, as what is said of it: "is held back: ...", "is stopped: ..."."""

    says: str
    until: float  # Unix time


def write(directory: Path, notices: Mapping[str, Notice]) -> None:
    """Replace what was told before. Raises CannotWrite."""
    facts = {task: asdict(notice) for task, notice in notices.items()}
    durable.write_file(directory / FILE, json.dumps(facts).encode())


def read(directory: Path, now: float) -> dict[str, Notice]:
    """Read what the service told last, by task; nothing if that is of no use, or long over.

    now: Unix time
    """
    try:
        facts = json.loads((directory / FILE).read_bytes())
        told = {task: Notice(str(f["says"]), float(f["until"])) for task, f in facts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {task: notice for task, notice in told.items() if notice.until > now - OLD_S}
