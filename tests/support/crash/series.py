"""Kills the process under test at one point after another, until a point is not reached."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.support.crash import evidence, federation
from tests.support.crash.evidence import Evidence
from tests.support.crash.federation import Failed, Subject
from tests.support.crash.fleet import Fleet
from tests.support.crash.keeper import Keeper


@dataclass(frozen=True, slots=True)
class Hit:
    """A point where the process was killed."""

    at: int
    name: str
    mismatch: str  # what is not as in the undisturbed run; empty: nothing


@dataclass(frozen=True, slots=True)
class Reference:
    """The undisturbed runs, one for each process under test."""

    evidence: Evidence
    points: dict[Subject, int]


class Series:
    """A fleet, and what becomes of it undisturbed.

    directory: for the fleet and its runs; a run that failed is left there
    """

    def __init__(self, keeper: Keeper, directory: Path, port: int) -> None:
        """port: free, for the MQTT broker of one run after another."""
        self._keeper = keeper
        self._directory = directory
        self._fleet = Fleet(keeper, directory / "fleet", port)

    def undisturbed(self) -> Reference:
        """Raises Failed if anything is wrong without any crash.

        One run keeps all updates, so that `round verify` adds them up; the others, as every run
        with a crash, erase an update once it is in the sum.
        """
        self._fleet.keep("audit")
        audited = self._run(Subject.AGGREGATOR, 0, "audited")
        self._fleet.keep("fold")
        if wrong := list(evidence.flaws(audited.evidence)):
            raise Failed(f"undisturbed: {wrong}")
        points = {}
        for subject in Subject:
            result = self._run(subject, 0, f"{subject}-undisturbed")
            if wrong := list(result.evidence.differences(audited.evidence)):
                raise Failed(f"undisturbed: {wrong}")
            points[subject] = len(result.points)
        return Reference(audited.evidence, points)

    def hits(self, reference: Reference, subject: Subject, first: int, step: int) -> Iterator[Hit]:
        """A crash at points first, first + step, ...: ends before one that is not reached."""
        for at in count(first, step):
            name = f"{subject}-{at}"
            try:
                result = self._run(subject, at, name)
            except Failed as failed:
                yield Hit(at, "", str(failed))
                if not failed.killed:
                    return
                continue
            wrong = list(result.evidence.differences(reference.evidence))
            if wrong or result.killed:
                yield Hit(at, result.points[-1], "\n".join(wrong))
            if not result.killed:
                return

    def _run(self, subject: Subject, at: int, name: str) -> federation.Result:
        return federation.run(self._keeper, self._fleet, self._directory / name, subject, at)
