"""Files named by the hash of what they hold, in one directory a kind."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing


class Damaged(Exception):
    """A file of the store is missing or its bytes are not those that its name promises."""


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Shelf:
    """put() returns when the bytes are on disk under their hash; get() checks them again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: bytes) -> Path:
        return self.directory / name.hex()

    def put(self, data: bytes, name: bytes | None = None) -> bytes:
        """Write, unless it is there; the name, by default SHA-256. Raises CannotWrite."""
        name = sha256(data) if name is None else name
        if not self.path(name).exists():
            with writing(str(self.path(name))):
                durable.write_file(self.path(name), data)
        return name

    def get(self, name: bytes, hash_of: Callable[[bytes], bytes] = sha256) -> bytes:
        """The bytes whose hash is the name. Raises Damaged."""
        try:
            data = self.path(name).read_bytes()
        except FileNotFoundError as error:
            raise Damaged(f"{self.path(name)}: is missing") from error
        except OSError as error:
            raise Damaged(f"{self.path(name)}: cannot be read: {error.strerror}") from error
        if hash_of(data) != name:
            raise Damaged(f"{self.path(name)}: its bytes have another hash than its name")
        return data

    def erase(self, name: bytes) -> None:
        """Remove for good; it need not be there. Raises CannotWrite."""
        if self.path(name).exists():
            with writing(str(self.path(name))):
                durable.remove_file(self.path(name))

    def keep_only(self, names: Iterable[bytes]) -> int:
        """Erase what no fact in the database speaks of: a crash left it. Returns how many.

        Raises CannotWrite.
        """
        wanted = {name.hex() for name in names}
        with writing(str(self.directory)):
            durable.remove_leftovers(self.directory)
            left = [path for path in self.directory.iterdir() if path.name not in wanted]
            for path in left:
                durable.remove_file(path)
        return len(left)
