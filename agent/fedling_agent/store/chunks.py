"""Chunks of messages that are on their way here, on disk: a restart asks for the rest only."""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import Missing, writing
from fedling_protocol.wire.chunks import Whole
from fedling_protocol.wire.digest import message_hash


class Chunks:
    """A folder a task, in it one folder for the message that is wanted, in it a file a chunk.

    A file has its name when all of it is on disk. The whole is believed by its hash.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def missing(self, task: str, whole: Whole) -> list[int]:
        """Tell which chunks are not here, in order; those of another message of the task go.

        Raises CannotWrite.
        """
        folder = self._folder(task, whole)
        with writing("the folder of chunks"):
            self._forget(task, but=folder.name)
            for made in (folder.parent, folder):
                durable.make_folder(made)
                durable.sync_directory(made.parent)
            durable.remove_leftovers(folder)
            here = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
        return [n for n in range(whole.count) if here.get(str(n)) != whole.length(n)]

    def put(self, task: str, whole: Whole, number: int, data: bytes) -> None:
        """Store a chunk durably. Raises CannotWrite."""
        with writing(f"a chunk for {task}"):
            durable.write_file(self._folder(task, whole) / str(number), data)

    def join(self, task: str, whole: Whole) -> bytes:
        """Read the whole message. Raises Missing if its chunks do not make it."""
        folder = self._folder(task, whole)
        try:
            data = b"".join((folder / str(n)).read_bytes() for n in range(whole.count))
        except OSError as error:
            raise Missing(f"a chunk for {task} cannot be read: {error.strerror}") from error
        if message_hash(data) != whole.hash:
            raise Missing(f"the chunks for {task} are not those of the message that was named")
        return data

    def forget(self, task: str) -> None:
        """Remove the chunks of a task. Raises CannotWrite."""
        with writing("the folder of chunks"):
            self._forget(task)

    def keep_only(self, tasks: Collection[str]) -> None:
        """Remove the chunks of all other tasks. Raises CannotWrite."""
        for name in os.listdir(self._directory):
            if name not in tasks:
                self.forget(name)

    def _forget(self, task: str, *, but: str = "") -> None:
        folder = self._directory / task
        if not folder.is_dir():
            return
        for entry in list(os.scandir(folder)):
            if entry.name != but:
                shutil.rmtree(entry.path)
        if not but:
            folder.rmdir()

    def _folder(self, task: str, whole: Whole) -> Path:
        return self._directory / task / f"{whole.hash.hex()}.{whole.each}"
