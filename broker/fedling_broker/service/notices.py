"""What the running service tells commands beside the database: a small file that it replaces."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from fedling_broker.service.holding import Notice
from fedling_protocol.disk import durable

FILE = "notices.json"


def write(directory: Path, notices: Mapping[str, Notice]) -> None:
    """Replace what was told before. Raises CannotWrite."""
    facts = {task: asdict(notice) for task, notice in notices.items()}
    durable.write_file(directory / FILE, json.dumps(facts).encode())


def read(directory: Path) -> dict[str, Notice]:
    """Read what the service told last, by task; nothing if that is of no use."""
    try:
        facts = json.loads((directory / FILE).read_bytes())
        return {task: Notice(str(f["says"]), float(f["until"])) for task, f in facts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
