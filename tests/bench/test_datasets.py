import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.support.datasets import DatasetError, Examples, Package, fetched, split
from bench.support.pairs import deal_by_label

CONTENT = b"what the index has"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """A package whose index is a folder."""
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "package.tgz").write_bytes(CONTENT)
    return Package("package.tgz", SHA256, ("cp", str(tmp_path / "index" / "package.tgz"), "."))


def test_fetched_downloads_once(package: Package, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert fetched(package, folder).read_bytes() == CONTENT
    (tmp_path / "index" / "package.tgz").unlink()
    assert fetched(package, folder).read_bytes() == CONTENT


def test_fetched_replaces_a_damaged_file(package: Package, tmp_path: Path) -> None:
    path = fetched(package, tmp_path / "data")
    path.write_bytes(CONTENT[:-1])
    assert fetched(package, tmp_path / "data").read_bytes() == CONTENT


def test_fetched_refuses_another_hash(package: Package, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="SHA-256"):
        fetched(replace(package, sha256="0" * 64), tmp_path / "data")


@pytest.mark.parametrize(
    ("command", "message"),
    [(("no-such-program",), "is missing"), (("cp", "nowhere", "."), "could not be downloaded")],
)
def test_fetched_says_why_it_failed(
    package: Package, tmp_path: Path, command: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        fetched(replace(package, command=command), tmp_path / "data")


def examples(classes: list[int]) -> Examples:
    """Each with a value of its own."""
    x = np.arange(len(classes), dtype=np.int8)[:, None]
    return Examples(x, x.astype(np.float32), np.array(classes, np.uint8))


def test_split_keeps_each_example_once_and_whole() -> None:
    whole = examples([0, 1] * 10)
    parts = split(whole.x, whole.floats, whole.y)
    assert (len(parts.train), len(parts.test)) == (16, 4)
    values = np.concatenate([parts.train.x, parts.test.x]).ravel()
    assert sorted(values) == list(range(20))
    assert not np.array_equal(values, np.arange(20))
    for part in (parts.train, parts.test):
        assert np.array_equal(part.x, part.floats)
        assert np.array_equal(part.y, part.x.ravel() % 2)


def test_deal_by_label_gives_each_example_to_one_device() -> None:
    whole = examples([0] * 40 + [1] * 40 + [2] * 40)
    hands = deal_by_label(whole, 5, 0.5, np.random.default_rng(0))
    assert sorted(np.concatenate([hand.x for hand in hands]).ravel()) == list(range(120))
    assert all(len(hand) for hand in hands)


@pytest.mark.parametrize(("concentration", "even"), [(0.1, False), (1000.0, True)])
def test_deal_by_label_is_as_uneven_as_asked(concentration: float, even: bool) -> None:
    whole = examples([0] * 60 + [1] * 60)
    hands = deal_by_label(whole, 4, concentration, np.random.default_rng(0))
    largest = max(int(np.bincount(hand.y).max()) for hand in hands)
    assert (largest < 20) is even  # of 60 for 4 devices
