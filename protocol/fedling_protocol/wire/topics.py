"""Every topic of the wire, spelled and parsed in one place (SPEC.md section 1)."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fedling_protocol.wire.limits import MAX_U32
from fedling_protocol.wire.refused import Reason, Refused

WIRE_VERSION: Final = 1
AGGREGATOR: Final = "aggregator"  # the id of the aggregator's certificate

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_DEVICE = re.compile(r"[a-z2-7]{16}")
_PLAN_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_ROOT = re.compile(r"[A-Za-z0-9_.-]{1,32}(/[A-Za-z0-9_.-]{1,32}){0,3}")
_RESERVED = frozenset({"state", "keys"})  # they stand where a task's name stands


class Kind(StrEnum):
    """What a topic carries: its own word in the topic."""

    KEYS = "keys"
    STATE = "state"
    PLAN = "plan"  # Plan or Rest
    MODEL = "model"
    JOIN = "join"
    TICKET = "ticket"
    UPDATE = "up"
    RECEIPT = "receipt"


FROM_DEVICES: Final = frozenset({Kind.JOIN, Kind.UPDATE, Kind.STATE})


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed topic; None is what its kind does not have."""

    kind: Kind
    task: str | None = None
    device: str | None = None  # of KEYS: a device, or "aggregator"
    plan_id: bytes | None = None
    version: int | None = None  # of MODEL
    chunk: int | None = None  # of UPDATE


def is_name(text: str) -> bool:
    """Whether it may name a fleet or a stream."""
    return _NAME.fullmatch(text) is not None


def is_task(text: str) -> bool:
    """Whether it may name a task."""
    return is_name(text) and text not in _RESERVED


def is_device(text: str) -> bool:
    """Whether it has the form of a device id."""
    return _DEVICE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one fleet. A wrong name is a ValueError here; a wrong topic is Refused."""

    root: str
    fleet: str

    def __post_init__(self) -> None:
        if not _ROOT.fullmatch(self.root):
            raise ValueError(f"{self.root!r} is not a topic root: 1 to 4 words of [A-Za-z0-9_.-]")
        if not is_name(self.fleet):
            raise ValueError(f"{self.fleet!r} is not a fleet: [a-z0-9][a-z0-9-]{{0,31}}")

    def keys(self, owner: str) -> str:
        """Certificate of a device, or of "aggregator". Retained."""
        return self._of_fleet(Kind.KEYS, owner if owner == AGGREGATOR else _device(owner))

    def state(self, device: str) -> str:
        """State of a device. Retained, and its last will."""
        return self._of_fleet(Kind.STATE, _device(device))

    def plan(self, task: str) -> str:
        """Plan or Rest of a task. Retained, never empty."""
        return self._of_task(task, Kind.PLAN, "train")

    def model(self, task: str, version: int) -> str:
        """One version of the model. Retained while it is of use."""
        return self._of_task(task, Kind.MODEL, _number(version))

    def join(self, task: str, device: str) -> str:
        """Join of a device."""
        return self._of_task(task, Kind.JOIN, _device(device))

    def ticket(self, task: str, device: str) -> str:
        """Ticket for a device."""
        return self._of_task(task, Kind.TICKET, _device(device))

    def update(self, task: str, device: str, plan_id: bytes, chunk: int = 0) -> str:
        """Update of a device for one plan."""
        if len(plan_id) != 16:
            raise ValueError("a plan id has 16 bytes")
        return self._of_task(task, Kind.UPDATE, _device(device), plan_id.hex(), _number(chunk))

    def receipt(self, task: str, device: str) -> str:
        """Receipt for a device."""
        return self._of_task(task, Kind.RECEIPT, _device(device))

    def plan_subscriptions(self, tasks: tuple[str, ...] = ()) -> list[str]:
        """Where the plans of these tasks are, of every task if none is named."""
        if not tasks:
            return [self._of_fleet("+", Kind.PLAN, "train")]
        return [self.plan(task) for task in tasks]

    def device_subscriptions(self, device: str, tasks: tuple[str, ...] = ()) -> list[str]:
        """What a device keeps subscribed, of every task if none is named. Models come and go."""
        topics = [self.keys(AGGREGATOR), self.keys(device)]
        for task in tasks:
            topics += [self.plan(task), self.ticket(task, device), self.receipt(task, device)]
        if not tasks:
            mine = (f"{Kind.PLAN}/train", f"{Kind.TICKET}/{device}", f"{Kind.RECEIPT}/{device}")
            topics += [self._of_fleet("+", words) for words in mine]
        return topics

    def aggregator_subscriptions(self) -> list[str]:
        """What the aggregator keeps subscribed, for every task of the fleet."""
        theirs = (f"+/{Kind.JOIN}/+", f"+/{Kind.UPDATE}/+/+/+", f"{Kind.STATE}/+")
        return [self._of_fleet(words) for words in theirs]

    def bound(self, topic: str) -> bytes:
        """What a signature on this topic covers besides the message: the topic without its root."""
        if not topic.startswith(f"{self.root}/"):
            raise Refused(Reason.TOPIC, "another root")
        return topic[len(self.root) + 1 :].encode()

    def parse(self, topic: str) -> Address:
        """Where a message came from, or Refused(topic), Refused(version)."""
        if not topic.startswith(f"{self.root}/"):
            raise Refused(Reason.TOPIC, "another root")
        version, *words = topic[len(self.root) + 1 :].split("/")
        if version != str(WIRE_VERSION):
            raise Refused(Reason.VERSION, "of the topic")
        if len(words) < 3 or words[0] != self.fleet:
            raise Refused(Reason.TOPIC, "another fleet")
        address = _of_fleet(words[1:]) if words[1] in _RESERVED else _of_task(words[1], words[2:])
        if address is None:
            raise Refused(Reason.TOPIC, "not one of SPEC.md section 1")
        return address

    def _of_fleet(self, *words: str) -> str:
        return "/".join((self.root, str(WIRE_VERSION), self.fleet, *words))

    def _of_task(self, task: str, *words: str) -> str:
        if not is_task(task):
            raise ValueError(f"{task!r} is not a task: [a-z0-9][a-z0-9-]{{0,31}}")
        return self._of_fleet(task, *words)


def _device(text: str) -> str:
    if not is_device(text):
        raise ValueError(f"{text!r} is not a device id: 16 of [a-z2-7]")
    return text


def _number(value: int) -> str:
    if not 0 <= value <= MAX_U32:
        raise ValueError(f"{value} is not in 0..{MAX_U32}")
    return str(value)


def _read_number(text: str) -> int | None:
    """Only as _number() writes it, so that a topic has one spelling."""
    if not _NUMBER.fullmatch(text) or int(text) > MAX_U32:
        return None
    return int(text)


def _of_fleet(words: list[str]) -> Address | None:
    match words:
        case ["keys", owner] if owner == AGGREGATOR or is_device(owner):
            return Address(Kind.KEYS, device=owner)
        case ["state", device] if is_device(device):
            return Address(Kind.STATE, device=device)
    return None


def _of_task(task: str, words: list[str]) -> Address | None:
    if not is_task(task):
        return None
    match words:
        case ["plan", "train"]:
            return Address(Kind.PLAN, task)
        case ["model", text] if (version := _read_number(text)) is not None:
            return Address(Kind.MODEL, task, version=version)
        case ["join" | "ticket" | "receipt" as kind, device] if is_device(device):
            return Address(Kind(kind), task, device)
        case ["up", device, plan, text] if is_device(device) and _PLAN_ID.fullmatch(plan):
            chunk = _read_number(text)
            if chunk is not None:
                return Address(Kind.UPDATE, task, device, bytes.fromhex(plan), chunk=chunk)
    return None
