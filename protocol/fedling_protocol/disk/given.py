"""Files that a person names on a command line, to be read or written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fedling_protocol.disk.errors import BadInput, CannotWrite, Missing, writing


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


def check_target(path: Path) -> None:
    """Check a name that a file is to be made under, or replaced: nothing else is ever replaced.

    Raises BadInput (a folder, a device, a pipe), CannotWrite (there is no such folder, or it is
    not to be looked into, or the name is too long).
    """
    with writing(str(path)):
        if path.is_dir():
            raise BadInput(f"{path}: is a folder: name a file in it")
        if path.exists() and not path.is_file():
            raise BadInput(f"{path}: is no file, and is not replaced by one: name another")
        if not path.parent.is_dir():
            raise CannotWrite(str(path), "there is no such folder")
