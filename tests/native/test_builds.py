"""The same bits from every build: sanitised, unoptimised, for size, for one processor."""

from pathlib import Path

import pytest

from tests.native import driver

BUILDS = {
    "asan-ubsan": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "O0": ["-O0"],
    "Os": ["-Os"],
    "O2-unsigned-char": ["-O2", "-funsigned-char"],
    "O3-native": ["-O3", "-march=native"],
}


@pytest.fixture(scope="module")
def script() -> driver.Script:
    return driver.whole_script()


@pytest.mark.parametrize("build", BUILDS)
def test_golden_vectors(build: str, script: driver.Script, tmp_path: Path) -> None:
    program = tmp_path / "driver"
    driver.compile_sources(BUILDS[build], program, driver.DRIVER)
    lines = driver.run(program, script.data(), tmp_path)
    assert len(lines) == len(script.expected)
    for number, (line, expected) in enumerate(zip(lines, script.expected, strict=True)):
        assert expected is None or line == expected, f"line {number + 1}"
