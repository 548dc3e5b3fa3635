"""Files that a person names on a command line, to be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fedling_protocol.disk.errors import BadInput, Missing


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open such a file. Raises Missing (there is none), BadInput (it cannot be read)."""
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise Missing(f"{path}: there is no such file") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        yield file
