"""What firmware images may grow by: sizes of today against those that were committed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

Sizes = Mapping[str, int]  # what is measured of an image, and its bytes


@dataclass(frozen=True, slots=True)
class Measured:
    """All images of one compiler."""

    compiler: str  # what its --version says first
    images: Mapping[str, Sizes]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Margin:
    """How much one size may grow: the one of percent and bytes that is less, or more."""

    percent: int
    bytes: int
    more: bool = False

    def allows(self, before: int) -> float:
        """Bytes of growth."""
        choose = max if self.more else min
        return choose(before * self.percent / 100, self.bytes)

    def __str__(self) -> str:
        which = "more" if self.more else "less"
        return f"{self.percent} % or {self.bytes} bytes, whichever is {which}"


SAME = Margin(2, 64)
OTHER_COMPILER = Margin(10, 64, more=True)  # it lays out code and frames in its own way


@dataclass(frozen=True, slots=True)
class Change:
    """One size of an image that is no longer what it was; None: there is no such image."""

    image: str
    what: str
    before: int | None
    now: int | None

    @property
    def growth(self) -> int:
        return (self.now or 0) - (self.before or 0)

    @property
    def percent(self) -> float:
        return 100 * self.growth / self.before if self.before else 100.0

    def exceeds(self, margin: Margin) -> bool:
        """Whether it must not pass unseen; an image that only one side has is such a change."""
        if self.before is None or self.now is None:
            return True
        return self.growth > 0 and self.growth > margin.allows(self.before)


def load(path: Path) -> Measured:
    """What was committed."""
    kept = json.loads(path.read_text())
    return Measured(str(kept["compiler"]), kept["images"])


def margin(before: Measured, now: Measured) -> Margin:
    """Another version of the compiler has more room: its code is not ours to change."""
    return SAME if before.compiler == now.compiler else OTHER_COMPILER


def changes(before: Measured, now: Measured) -> Iterator[Change]:
    """Every size that differs, in the order of the images."""
    for image in {**before.images, **now.images}:
        old, new = before.images.get(image, {}), now.images.get(image, {})
        for what in {**old, **new}:
            if old.get(what) != new.get(what):
                yield Change(image, what, old.get(what), new.get(what))
