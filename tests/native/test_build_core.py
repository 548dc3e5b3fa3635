"""The header that C compiles is the header that Python sees."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def build_core(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("build_core", ROOT / "native/build_core.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_declarations_keeps_what_cffi_parses(build_core: ModuleType) -> None:
    header = """
#ifndef H
#define H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#define FDL_MAX 32u /* layers */
#define FDL_SUM(a) ((a) + 1)
int f(int x); // a comment
#ifdef __cplusplus
}
#endif
#endif
"""
    kept = [x.strip() for x in build_core.declarations(header).splitlines() if x.strip()]
    assert kept == ["#define FDL_MAX 32", "int f(int x);"]


def test_flags_are_those_of_make(build_core: ModuleType) -> None:
    assert "-ffp-contract=off" in build_core.flags("FDL_CFLAGS")


def test_flags_missing_names_the_file(build_core: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"native/flags\.mk: NONE is missing"):
        build_core.flags("NONE")
