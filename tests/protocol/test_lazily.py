"""Modules that are read when something of them is used."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from fedling_protocol import lazily

SOON_S = 0.5  # nobody waits for more: a thread that is let in is done by then
LARGE = "print('read')\nSIZE = 3\n__all__ = ['SIZE']\n"


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that says when it is read, in a package."""
    folder = tmp_path / "some_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "large.py").write_text(LARGE)
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(sys.modules)
    yield "some_package.large"
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


WAYS = (
    "import some_package.large; large = some_package.large",
    "from some_package import large",
    "import some_package.large as large",
    "import importlib; large = importlib.import_module('some_package.large')",
)


@pytest.mark.parametrize("way", WAYS)
def test_it_is_read_once_when_it_is_used(
    large: str, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it is imported, and by several: Python's LazyLoader reads it at the second import."""
    lazily.load(large)
    names: dict[str, ModuleType] = {}
    exec("import some_package.large")
    exec(way, names)
    assert capsys.readouterr().out == ""
    assert names["large"].SIZE == names["large"].SIZE == 3
    assert not hasattr(names["large"], "other")
    exec(way, names)
    assert names["large"].SIZE == 3
    assert names["large"] is sys.modules[large]
    assert capsys.readouterr().out == "read\n"


def test_names_of_it_are_had_at_once(large: str, capsys: pytest.CaptureFixture[str]) -> None:
    lazily.load(large)
    names: dict[str, object] = {}
    exec("from some_package.large import *; from some_package.large import SIZE", names)
    assert names["SIZE"] == 3
    assert capsys.readouterr().out == "read\n"


def test_what_was_read_already_stays(large: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec("import some_package.large")
    module = sys.modules[large]
    lazily.load(large)
    assert sys.modules[large] is module
    assert capsys.readouterr().out == "read\n"


class Between:
    """sys.modules: while one thread has looked into it, another uses the module."""

    def __init__(self, use: Callable[[], object]) -> None:
        self.other = threading.Thread(target=use)

    def get(self, name: str) -> ModuleType | None:
        found = sys.modules.get(name)
        if self.other.ident is None:
            self.other.start()
            self.other.join(SOON_S)
        return found

    def __delitem__(self, name: str) -> None:
        del sys.modules[name]


def test_two_threads_that_use_it_at_once_have_the_same(
    large: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One found it gone between its look and its deletion: KeyError."""
    lazily.load(large)
    module, found = sys.modules[large], list[int]()
    between = Between(lambda: found.append(module.SIZE))
    monkeypatch.setattr(lazily, "sys", SimpleNamespace(modules=between))
    found.append(module.SIZE)
    between.other.join()
    assert found == [3, 3]
    assert capsys.readouterr().out == "read\n"


def test_one_that_is_not_there_is_missed_when_it_is_used(large: str) -> None:
    lazily.load("some_package.absent")
    names: dict[str, ModuleType] = {}
    exec("from some_package import absent", names)
    with pytest.raises(ModuleNotFoundError, match=r"some_package\.absent"):
        _ = names["absent"].SIZE
    with pytest.raises(ModuleNotFoundError, match="no_package"):
        lazily.load("no_package.absent")
