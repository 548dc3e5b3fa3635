import hashlib
from pathlib import Path

import pytest

from fedling_broker.store.shelf import Damaged, Shelf, sha256


def test_put_names_a_file_by_its_hash(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    name = shelf.put(b"data")
    assert name == hashlib.sha256(b"data").digest()
    assert [path.name for path in tmp_path.iterdir()] == [name.hex()]
    assert shelf.get(name) == b"data"
    assert shelf.put(b"data") == name


def test_get_finds_a_flipped_byte(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    name = shelf.put(b"data")
    shelf.path(name).write_bytes(b"dbta")
    with pytest.raises(Damaged, match="another hash"):
        shelf.get(name)
    shelf.erase(name)
    with pytest.raises(Damaged, match="is missing"):
        shelf.get(name)
    shelf.erase(name)


def test_a_name_of_another_hash(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(b"data", b"\1" * 32)
    assert shelf.get(b"\1" * 32, lambda data: bytes([len(data) - 3]) * 32) == b"data"


def test_keep_only_erases_the_rest_and_what_a_crash_left(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    names = [shelf.put(bytes([i])) for i in range(3)]
    (tmp_path / f".{sha256(b'x').hex()}.1.tmp").write_bytes(b"half")
    shelf.keep_only(names[:1])
    assert [path.name for path in tmp_path.iterdir()] == [names[0].hex()]


def test_a_draft_has_no_name_before_it_is_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with shelf.draft("tiny") as draft:
        draft.file.write(b"half")
    assert list(tmp_path.iterdir()) == []
    with shelf.draft("tiny") as draft:
        draft.file.write(b"data")
        draft.keep(sha256(b"data"))
    assert shelf.get(sha256(b"data")) == b"data"
    assert [path.name for path in tmp_path.iterdir()] == [sha256(b"data").hex()]
