"""Growth of a firmware image that nobody has accepted is found."""

from pathlib import Path

import pytest

from bench import firmware_sizes
from bench.support import baseline
from bench.support.baseline import OTHER_COMPILER, SAME, Change, Measured

BEFORE = Measured("gcc 12", {"selftest cortex-m0": {"text": 10_000, "stack": 600}})


def with_sizes(text: int, stack: int, compiler: str = "gcc 12") -> Measured:
    return Measured(compiler, {"selftest cortex-m0": {"text": text, "stack": stack}})


@pytest.mark.parametrize(
    ("before", "now", "same", "other"),
    [
        (10_000, 10_064, False, False),
        (10_000, 10_065, True, False),  # over 64 bytes
        (600, 612, False, False),
        (600, 613, True, False),  # over 2 %
        (600, 665, True, True),  # over 64 bytes as well as 10 %
        (10_000, 11_000, True, False),
        (10_000, 11_001, True, True),
        (0, 8, True, False),
        (10_000, 100, False, False),
    ],
)
def test_exceeds_at_the_margins(before: int, now: int, same: bool, other: bool) -> None:
    change = Change("selftest cortex-m0", "text", before, now)
    assert change.exceeds(SAME) is same
    assert change.exceeds(OTHER_COMPILER) is other


def test_changes_names_what_differs() -> None:
    assert list(baseline.changes(BEFORE, BEFORE)) == []
    [change] = baseline.changes(BEFORE, with_sizes(10_000, 640))
    assert (change.image, change.what, change.growth) == ("selftest cortex-m0", "stack", 40)


def test_an_image_that_one_side_lacks_is_too_much() -> None:
    more = Measured("gcc 12", {**BEFORE.images, "dense cortex-m0": {"text": 1}})
    for pair in ((BEFORE, more), (more, BEFORE)):
        assert [change.exceeds(OTHER_COMPILER) for change in baseline.changes(*pair)] == [True]


def test_baseline_is_read_as_it_was_saved(tmp_path: Path) -> None:
    BEFORE.save(tmp_path / "sizes.json")
    assert baseline.load(tmp_path / "sizes.json") == BEFORE


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the baseline, in a place of the test's own."""
    path = tmp_path / "sizes.json"
    BEFORE.save(path)
    monkeypatch.setattr(firmware_sizes, "BASELINE", path)
    return path


def checked(monkeypatch: pytest.MonkeyPatch, now: Measured) -> int:
    monkeypatch.setattr(firmware_sizes, "measured", lambda: now)
    return firmware_sizes.main(["--check"])


@pytest.mark.usefixtures("kept")
def test_check_fails_where_an_image_grew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(monkeypatch, with_sizes(10_300, 590)) == 1
    said = capsys.readouterr().out
    grown, shrunk = (next(x for x in said.splitlines() if word in x) for word in ("text", "stack"))
    assert "selftest cortex-m0" in grown
    assert "+300" in grown
    assert "+3.0" in grown
    assert "TOO MUCH" in grown
    assert "TOO MUCH" not in shrunk
    assert "`make baseline`" in said


@pytest.mark.usefixtures("kept")
def test_check_only_tells_what_shrank(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(monkeypatch, with_sizes(9_000, 600)) == 0
    assert "-1000" in capsys.readouterr().out


@pytest.mark.usefixtures("kept")
def test_check_says_that_the_compiler_is_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(monkeypatch, with_sizes(10_900, 600, "gcc 14")) == 0
    assert "ANOTHER COMPILER" in capsys.readouterr().out
    assert checked(monkeypatch, with_sizes(11_100, 600, "gcc 14")) == 1


def test_write_makes_today_the_baseline(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = with_sizes(12_000, 700)
    monkeypatch.setattr(firmware_sizes, "measured", lambda: now)
    firmware_sizes.main(["--write"])
    assert baseline.load(kept) == now
    assert checked(monkeypatch, now) == 0


def test_committed_baseline_has_every_image() -> None:
    images = baseline.load(firmware_sizes.BASELINE).images
    assert list(images) == [image.title for image in firmware_sizes.IMAGES]
    assert all(set(x) == {"text", "data", "bss", "kernel", "stack"} for x in images.values())
