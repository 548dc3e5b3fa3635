"""Files that a person names: what cannot be looked at is told as what cannot be written."""

from pathlib import Path

import pytest

from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.disk.given import check_target


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/y"])
def test_a_name_that_no_disk_takes_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(CannotWrite, match="too long"):
        check_target(tmp_path / name)


def test_a_folder_that_is_closed_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(CannotWrite, match="Permission denied"):
        check_target(tmp_path / "x")
