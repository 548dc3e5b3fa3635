"""Files named by the hash of what they hold, in one directory a kind."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing


class Damaged(Exception):
    """A file of the store is missing or its bytes are not those that its name promises."""


def sha256(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


class Draft:
    """A file of a shelf that is being made; its name is known at its end."""

    def __init__(self, shelf: "Shelf", name: str, file: BinaryIO) -> None:
        self.file = file
        self._shelf = shelf
        self._name = name

    def keep(self, name: bytes) -> None:
        """It is on disk under its hash when this returns. Raises OSError."""
        durable.keep_draft(self.file, self._name, self._shelf.path(name))


class Shelf:
    """put() returns when the bytes are on disk under their hash; get() checks them again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: bytes) -> Path:
        return self.directory / name.hex()

    def put(self, data: bytes | memoryview, name: bytes | None = None) -> bytes:
        """Write, unless it is there; the name, by default SHA-256. Raises CannotWrite."""
        name = sha256(data) if name is None else name
        if not self._has(name, data):
            with writing(str(self.path(name))):
                durable.write_file(self.path(name), data)
        return name

    def _has(self, name: bytes, data: bytes | memoryview) -> bool:
        """Whether it is there, whole: a file that was damaged is written anew."""
        try:
            return self.path(name).read_bytes() == data
        except OSError:
            return False

    @contextmanager
    def draft(self, name: str) -> Iterator[Draft]:
        """A file to be made piece by piece; unless it is kept, nothing of it stays.

        name: no other draft of this shelf may have it at the same time. Raises CannotWrite.
        """
        with writing(f"{self.directory}/{name}"), durable.draft(self.directory, name) as file:
            yield Draft(self, name, file)

    def open(self, name: bytes) -> BinaryIO:
        """To read it; its bytes are not checked. Raises Damaged."""
        try:
            return self.path(name).open("rb")
        except FileNotFoundError as error:
            raise Damaged(f"{self.path(name)}: is missing") from error
        except OSError as error:
            raise Damaged(f"{self.path(name)}: cannot be read: {error.strerror}") from error

    def get(self, name: bytes, hash_of: Callable[[bytes], bytes] = sha256) -> bytes:
        """The bytes whose hash is the name. Raises Damaged."""
        with self.open(name) as file:
            try:
                data = file.read()
            except OSError as error:
                raise Damaged(f"{self.path(name)}: cannot be read: {error.strerror}") from error
        if hash_of(data) != name:
            raise self.another_hash(name)
        return data

    def another_hash(self, name: bytes) -> Damaged:
        """What to raise about a file that is not what it is called."""
        return Damaged(f"{self.path(name)}: its bytes have another hash than its name")

    def erase(self, *names: bytes) -> None:
        """Remove for good; they need not be there. Raises CannotWrite."""
        with writing(str(self.directory)):
            durable.remove_files([self.path(name) for name in names])

    def keep_only(self, names: Iterable[bytes]) -> None:
        """Erase what no fact in the database speaks of: a crash left it. Raises CannotWrite."""
        wanted = {name.hex() for name in names}
        with writing(str(self.directory)):
            found = [path for path in self.directory.iterdir() if not path.is_dir()]
            left = [path for path in found if path.name not in wanted]
            if left:
                durable.remove_files(left)
