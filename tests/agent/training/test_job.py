"""A job's files that were damaged, or that another version of fedling has left."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fedling_agent.training.job import Damaged, Job
from tests.support.device import make_device


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's, as it was frozen."""
    device = make_device(tmp_path / "state")
    job = device.freeze()
    device.store.close()
    return job.directory


def write(path: Path, data: bytes) -> None:
    """With the right checksum."""
    path.write_bytes(hashlib.sha256(data).digest() + data)


def without(*keys: str) -> Callable[[dict[str, object]], object]:
    def change(fields: dict[str, object]) -> object:
        inner: object = fields
        for key in keys[:-1]:
            assert isinstance(inner, dict)
            inner = inner[key]
        assert isinstance(inner, dict)
        del inner[keys[-1]]
        return fields

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(without(name) for name in ("plan_id", "layers", "training", "normaliser", "seed")),
        without("training", "epochs"),
        lambda fields: fields | {"unknown": 1},
        lambda fields: fields | {"seed": "no hex"},
        lambda fields: fields | {"loss": 99},
        lambda fields: fields | {"layers": [[1]]},
        lambda fields: fields | {"layers": None},
        lambda _: [],
        lambda _: 5,
    ],
)
def test_job_of_another_version_is_damaged(
    folder: Path, change: Callable[[dict[str, object]], object]
) -> None:
    fields = json.loads((folder / "job").read_bytes()[32:])
    write(folder / "job", json.dumps(change(fields)).encode())
    with pytest.raises(Damaged, match="job: "):
        Job.open(folder)


@pytest.mark.parametrize("name", ["job", "base", "examples", "checkpoint", "result"])
@pytest.mark.parametrize("kind", ["empty", "short", "zeros", "folder"])
def test_file_that_is_none_is_damaged(folder: Path, name: str, kind: str) -> None:
    job, path = Job.open(folder), folder / name
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "short": b"x" * 36, "zeros": bytes(500)}[kind])
    if name == "result":
        assert job.result() is None
        return
    with pytest.raises(Damaged, match=name):
        read(job, folder, name)


def read(job: Job, folder: Path, name: str) -> None:
    if name == "job":
        Job.open(folder)
    elif name == "base":
        job.base()
    elif name == "checkpoint":
        job.checkpoint()
    else:
        with job.examples():
            pass


def test_checkpoint_of_four_bytes_is_damaged(folder: Path) -> None:
    job = Job.open(folder)
    write(folder / "checkpoint", job._identity + b"1234")
    with pytest.raises(Damaged, match="checkpoint"):
        job.checkpoint()
    assert job.done_steps() == 0
