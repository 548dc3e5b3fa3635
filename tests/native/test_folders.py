"""The folders of native/src include one way, so that each is read without those above it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.native.compiler import ROOT

SRC = ROOT / "native/src"
BELOW = {  # folder: what it may include from
    "numbers": set[str](),
    "loops": {"numbers"},
    "net": {"loops", "numbers"},
    "layers": {"net", "loops", "numbers"},
    "step": {"layers", "net", "loops", "numbers"},
    "bytes": {"net", "loops", "numbers"},
    "samples": {"numbers"},
    "codec": {"bytes", "net", "loops", "numbers"},
}
INCLUDE = re.compile(r'^\s*#\s*include "([^"]+)"', re.MULTILINE)


def wrong_includes(src: Path) -> Iterator[str]:
    """Every include from a folder that the including one does not stand on."""
    for path in sorted(src.rglob("*.[ch]")):
        folder = path.parent.name
        for name in INCLUDE.findall(path.read_text()):
            included = (path.parent / name).resolve()
            if not included.exists():  # fedling.h, by -I
                continue
            if included.parent not in (src, path.parent) and (
                folder not in BELOW or included.parent.name not in BELOW[folder]
            ):
                yield f"{path.relative_to(src)} includes {name}"


def test_folders_include_one_way() -> None:
    assert {path.parent.name for path in SRC.rglob("*.[ch]")} == {*BELOW, SRC.name}
    assert list(wrong_includes(SRC)) == []


@pytest.mark.parametrize(
    ("file", "header"), [("net/x.c", "layers/layers.h"), ("bytes/x.h", "layers/layers.h")]
)
def test_an_include_from_above_is_found(tmp_path: Path, file: str, header: str) -> None:
    for path in (tmp_path / file, tmp_path / header):
        path.parent.mkdir()
        path.touch()
    (tmp_path / file).write_text(f'#include "../{header}"\n')
    assert list(wrong_includes(tmp_path)) == [f"{file} includes ../{header}"]
