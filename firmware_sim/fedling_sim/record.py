"""What a simulated federation did, as one JSON file: the source of the report."""

import json
from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path

from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput, Missing

FILE = "run.json"

Confusion = dict[str, dict[str, int]]  # by the label of a window, by what was said of it


@dataclass(slots=True)
class Round:
    """One round of the aggregator; seconds count from the start of the run."""

    number: int
    version: int  # of the model that came out
    opened_s: float
    closed_s: float
    goal: int
    accepted: list[str]  # names of devices
    late: list[str]
    accuracy: float | None = None  # share of test windows, of the model that came out; None: none


@dataclass(slots=True)
class Event:
    """Something worth telling about one device: "left", "back", "late"."""

    second: float
    device: str
    what: str
    detail: str


@dataclass(slots=True)
class Sample:
    """What one device said of itself at one moment."""

    second: float
    device: str
    doing: str  # "training", "paused", "talking" or "waiting"
    why: str  # the first reason not to train, without its numbers; empty while it trains


@dataclass(slots=True)
class DeviceBytes:
    """TCP payload of one device over the whole run, by two counts."""

    device: str
    agent_up: int
    agent_down: int
    proxy_up: int
    proxy_down: int
    updates: int = 0  # that it sent
    update_bytes: int = 0  # of these, whole messages
    connections: int = 0  # by the proxy's count


@dataclass(slots=True)
class Alone:
    """How right a device is that learned from its own examples only, as many rounds."""

    device: str
    own: float | None  # of its own test windows; None: it has none
    all: float | None  # of those of all devices


@dataclass(slots=True)
class Record:
    """A whole run."""

    task: str
    seed: int
    devices: list[str]
    parameters: int  # of the model
    test_windows: int
    tests_by_label: dict[str, int] = field(default_factory=dict)  # windows; all labels of the task
    notes: list[str] = field(default_factory=list)  # of the data: what is not learned, not tested
    interrupted: bool = False  # then there is no final test and no audit
    first_round_s: float = 0.0  # until the first round opened, from the start of the command
    accuracy: float | None = None  # final model, through `predict` of each device; None: no test
    accuracy_by_device: dict[str, float] = field(default_factory=dict)
    training_by_device: dict[str, int] = field(default_factory=dict)  # windows
    tests_by_device: dict[str, int] = field(default_factory=dict)  # windows
    alone: list[Alone] = field(default_factory=list)
    confusion: Confusion = field(default_factory=dict)  # of the final model
    example: str = ""  # one answer of the final model, in a sentence
    rounds: list[Round] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    bytes: list[DeviceBytes] = field(default_factory=list)
    verified: str = ""  # what `fedling-broker round verify --all` found, in a sentence
    verified_well: bool = False
    faults: list[str] = field(default_factory=list)  # of the accounts; empty: all agree

    @property
    def learning_s(self) -> float:
        """Seconds from the first round's start to the last one's end."""
        return self.rounds[-1].closed_s - self.rounds[0].opened_s if self.rounds else 0.0

    @property
    def sound(self) -> bool:
        """Whether audit and accounts are clean."""
        return self.verified_well and not self.faults

    @property
    def accounts(self) -> str:
        """Say in a sentence whether the accounts agree."""
        if self.faults:
            return f"{len(self.faults)} faults: {self.faults[0]}"
        updates = sum(len(r.accepted) + len(r.late) for r in self.rounds)
        return f"{updates} updates, receipts and byte counts agree, one to one"

    @property
    def alone_on_all(self) -> float | None:
        """The mean accuracy, on everybody's windows, of devices that learned alone."""
        return _mean([row.all for row in self.alone])

    @property
    def alone_on_own(self) -> float | None:
        """The mean accuracy, on their own windows, of devices that learned alone."""
        return _mean([row.own for row in self.alone])

    @property
    def majority(self) -> tuple[str, float] | None:
        """The commonest label of the test, and the accuracy of saying it always."""
        counts = self.tests_by_label
        if not any(counts.values()):
            return None
        label = max(counts, key=lambda label: counts[label])
        return label, counts[label] / sum(counts.values())

    @property
    def last_accuracy(self) -> float | None:
        """The accuracy of the newest model that was tested."""
        known = [r.accuracy for r in self.rounds if r.accuracy is not None]
        return self.accuracy if self.accuracy is not None else known[-1] if known else None

    @property
    def participation(self) -> float:
        """The mean share of the devices whose update was accepted in a round."""
        if not self.rounds:
            return 0.0
        accepted = sum(len(r.accepted) for r in self.rounds)
        return accepted / len(self.rounds) / len(self.devices)

    @property
    def left(self) -> set[str]:
        """The devices that stopped, or were cut off, in mid-training."""
        return self.devices_with("left")

    @property
    def came_back(self) -> set[str]:
        """The devices of `left` that were seen to go on."""
        return self.left & self.devices_with("back")

    @property
    def bytes_a_round(self) -> float:
        """The bytes of a device and round, both ways, as it counts them at its socket."""
        total = sum(b.agent_up + b.agent_down for b in self.bytes)
        return total / max(1, len(self.rounds)) / max(1, len(self.devices))

    @property
    def bytes_an_update(self) -> float:
        """The bytes of an update, the whole message."""
        sent = sum(b.updates for b in self.bytes)
        return sum(b.update_bytes for b in self.bytes) / max(1, sent)

    def devices_with(self, *what: str) -> set[str]:
        """The devices that have an event of one of these kinds."""
        return {e.device for e in self.events if e.what in what}


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None


def save(record: Record, directory: Path) -> Path:
    """Write the record into `directory`; returns the file."""
    path = directory / FILE
    path.write_text(json.dumps(asdict(record)) + "\n")
    return path


def load(directory: Path) -> Record:
    """Read what save() wrote. Raises Missing, OSError, or BadInput for a file that is no record."""
    path = directory / FILE
    if not path.exists():
        raise Missing(f"{path}: there is no such file; fedling-sim run writes one")
    try:
        raw = json.loads(path.read_bytes())
        return Record(
            **{
                **raw,
                "alone": [Alone(**a) for a in raw.get("alone", [])],
                "rounds": [Round(**r) for r in raw["rounds"]],
                "events": [Event(**e) for e in raw["events"]],
                "samples": [Sample(**s) for s in raw["samples"]],
                "bytes": [DeviceBytes(**b) for b in raw["bytes"]],
            }
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not a record of a run: {error}") from error
