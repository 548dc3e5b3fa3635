"""What both fuzzers are, and where they live."""

import hashlib
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from fedling_protocol.runtime import mishaps


class Fault(BaseException):
    """No boundary of a service stops it."""


SHARED = Path("/dev/shm")


class Fuzzer(Protocol):
    """Makes messages from a seed, and gives them to a whole service."""

    count: int
    reached: Counter[str]
    spoken: "hashlib._Hash"

    def run(self, messages: int) -> None:
        """Fuzz so many. Whatever is raised is a fault."""

    def close(self) -> None:
        """End the service, and remember what it has counted."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for state, a quiet log, services that stop at a fault instead of living on."""
    sentence = mishaps.sentence
    mishaps.sentence = _fault
    logging.disable()  # a line a minute and reason; a test would keep them all
    made = tempfile.mkdtemp(prefix="fedling-fuzz-", dir=SHARED if SHARED.is_dir() else None)
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        logging.disable(logging.NOTSET)
        mishaps.sentence = sentence


def _fault(error: BaseException) -> str:
    """What a service would meet in a line of its log, and live on."""
    raise Fault("a service met what nobody expected") from error
