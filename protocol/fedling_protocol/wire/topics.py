"""Every topic of the wire, built and parsed as the table of kinds says (SPEC.md section 1)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache
from itertools import product
from string import Formatter
from typing import Final

from fedling_protocol.classes import dataclass
from fedling_protocol.wire import names
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_U32
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY, NAME, WIRE_VERSION, is_name
from fedling_protocol.wire.refused import Reason, Refused

Value = str | int | bytes
REMEMBERED: Final = 16_384  # topics, each way, in 300 bytes each: those of a fleet come each round
_ANY: Final = ("+",)  # MQTT's word for any one part

_ROOT = re.compile(r"[A-Za-z0-9_.-]{1,32}(/[A-Za-z0-9_.-]{1,32}){0,3}")


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed topic; None is what the pattern of its kind does not have."""

    kind: Kind
    task: str | None = None
    device: str | None = None
    owner: str | None = None  # of a certificate: a device, "aggregator" or "authority"
    plan_kind: str | None = None  # one of PlanKind, or of a later version
    plan_id: bytes | None = None
    version: int | None = None
    chunk: int | None = None
    whole: str | None = None  # the word of the kind whose messages are cut: "model" or "change"


@dataclass(frozen=True, slots=True)
class _Part:
    """The one spelling of a part in braces. read: None if it is not one after all."""

    shape: re.Pattern[str]
    read: Callable[[str], Value | None]

    def spell(self, value: Value) -> str:
        """Spell a topic with these values for its parts. Raises ValueError."""
        text = value.hex() if isinstance(value, bytes) else str(value)
        if not self.shape.fullmatch(text) or self.read(text) != value:
            raise ValueError(f"{value!r} is not a part of a topic like {self.shape.pattern}")
        return text


def _number(text: str) -> int | None:
    value = int(text)
    return value if value <= MAX_U32 else None


_PARTS: Final[Mapping[str, _Part]] = {
    "task": _Part(NAME, lambda text: None if text in _PATTERNS.of_fleet else text),
    "device": _Part(names.DEVICE, str),
    "owner": _Part(names.OWNER, str),
    "plan_kind": _Part(NAME, str),
    "plan_id": _Part(re.compile("[0-9a-f]{32}"), bytes.fromhex),
    "version": _Part(re.compile("0|[1-9][0-9]{0,9}"), _number),
    "whole": _Part(re.compile("model|change"), str),
    "chunk": _Part(re.compile("0|[1-9][0-9]{0,9}"), _number),
}


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Builds and parses the topics of a kind, without what stands before the pattern."""

    kind: Kind
    parts: tuple[str, ...]  # in order
    shape: re.Pattern[str]
    form: str  # for str.format, with {} for each part
    readers: tuple[tuple[str, Callable[[str], Value | None]], ...]  # of the parts

    @classmethod
    def of(cls, kind: Kind) -> "_Pattern":
        parts = tuple(name for _, name, _, _ in Formatter().parse(kind.topic) if name)
        groups = {name: f"({_PARTS[name].shape.pattern})" for name in parts}
        form = kind.topic.format_map(dict.fromkeys(parts, "{}"))
        readers = tuple((name, _PARTS[name].read) for name in parts)
        return cls(kind, parts, re.compile(kind.topic.format_map(groups)), form, readers)

    def parse(self, text: str) -> Address | None:
        found = self.shape.fullmatch(text)
        if found is None:
            return None
        values = {
            name: read(part)
            for (name, read), part in zip(self.readers, found.groups(), strict=True)
        }
        if None in values.values():
            return None
        return Address(self.kind, **values)  # type: ignore[arg-type]  # as Address names them

    def build(self, values: Iterable[str]) -> str:
        return self.form.format(*values)


class _Patterns:
    """The patterns of a table of kinds, by kind and by the literal word that tells them apart."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.of_kind = {kind: _Pattern.of(kind) for kind in kinds}
        self.of_fleet: dict[str, _Pattern] = {}  # by their first word, which no task may have
        self.of_task: dict[str, _Pattern] = {}  # by their second word, behind the task
        for kind, pattern in self.of_kind.items():
            first, second, *_ = kind.topic.split("/")
            if first == "{task}":
                self.of_task[second] = pattern
            else:
                self.of_fleet[first] = pattern

    def find(self, text: str) -> _Pattern | None:
        """Find the pattern that may fit these words."""
        first, _, rest = text.partition("/")
        if first in self.of_fleet:
            return self.of_fleet[first]
        return self.of_task.get(rest.partition("/")[0])


_PATTERNS: _Patterns = _Patterns(Kind)


def is_task(text: str) -> bool:
    """Whether it may name a task."""
    return is_name(text) and text not in _PATTERNS.of_fleet


@lru_cache(maxsize=REMEMBERED)
def _address(text: str) -> Address:
    """Parse what stands behind the prefix, or raise Refused: only good ones are remembered."""
    pattern = _PATTERNS.find(text)
    address = None if pattern is None else pattern.parse(text)
    if address is None:
        raise Refused(Reason.TOPIC, "not one of SPEC.md section 1")
    return address


@lru_cache(maxsize=REMEMBERED, typed=True)
def _spelled(kind: Kind, *values: Value) -> str:
    """Build what stands behind the prefix. Raises ValueError."""
    pattern = _PATTERNS.of_kind[kind]
    if len(values) != len(pattern.parts):
        raise ValueError(f"{values!r} is not a value for each part of {kind.topic}")
    parts = zip(pattern.parts, values, strict=True)
    return pattern.build(_PARTS[name].spell(value) for name, value in parts)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one fleet. A wrong name is a ValueError here; a wrong topic is Refused."""

    root: str
    fleet: str
    _prefix: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _ROOT.fullmatch(self.root):
            raise ValueError(f"{self.root!r} is not a topic root: 1 to 4 words of [A-Za-z0-9_.-]")
        if not is_name(self.fleet):
            raise ValueError(f"{self.fleet!r} is not a fleet: {NAME.pattern}")
        object.__setattr__(self, "_prefix", f"{self.root}/{WIRE_VERSION}/{self.fleet}/")

    @property
    def prefix(self) -> str:
        """The words that every topic of the fleet begins with, up to its last slash."""
        return self._prefix

    def of(self, kind: Kind, *values: Value) -> str:
        """Build the topic of a kind, with a value for each part in braces, in the table's order."""
        return self._prefix + _spelled(kind, *values)

    def device_subscriptions(self, device: str, tasks: Sequence[str] = ()) -> list[str]:
        """What a device keeps subscribed, of every task if none is named."""
        kinds = [k for k in _PATTERNS.of_kind if k.standing and not k.from_device]
        return [t for kind in kinds for t in self.subscriptions(kind, device=device, tasks=tasks)]

    def aggregator_subscriptions(self) -> list[str]:
        """What the aggregator keeps subscribed, for every task of the fleet."""
        kinds = [k for k in _PATTERNS.of_kind if k.standing and k.from_device]
        return [topic for kind in kinds for topic in self.subscriptions(kind)]

    def subscriptions(
        self, kind: Kind, *, device: str | None = None, tasks: Sequence[str] = ()
    ) -> list[str]:
        """Tell where messages of a kind are: for this device, of these tasks, or of all of them."""
        known: dict[str, Sequence[str]] = {"task": tasks} if tasks else {}
        if device is not None:
            known |= {"device": [device], "owner": [AGGREGATOR, AUTHORITY, device]}
        pattern = _PATTERNS.of_kind[kind]
        choices = [
            [_PARTS[name].spell(value) for value in known[name]] if name in known else _ANY
            for name in pattern.parts
        ]
        return [self._prefix + pattern.build(values) for values in product(*choices)]

    def bound(self, topic: str) -> bytes:
        """What a signature on this topic covers besides the message: the topic without its root."""
        if not topic.startswith(f"{self.root}/"):
            raise Refused(Reason.TOPIC, "another root")
        return topic[len(self.root) + 1 :].encode()

    def parse(self, topic: str) -> Address:
        """Tell where a message came from, or raise Refused(topic), Refused(version)."""
        if not topic.startswith(self._prefix):
            raise self._elsewhere(topic)
        return _address(topic[len(self._prefix) :])

    def largest(self, topic: str) -> int:
        """How many bytes a message on this topic has at most; 0 if it is none of the fleet's."""
        pattern = _PATTERNS.find(topic[len(self._prefix) :])
        if pattern is None or not topic.startswith(self._prefix):
            return 0
        return pattern.kind.largest

    def _elsewhere(self, topic: str) -> Refused:
        """Tell why a topic does not begin as those of this fleet do."""
        if not topic.startswith(f"{self.root}/"):
            return Refused(Reason.TOPIC, "another root")
        if topic[len(self.root) + 1 :].partition("/")[0] != str(WIRE_VERSION):
            return Refused(Reason.VERSION, "of the topic")
        return Refused(Reason.TOPIC, "another fleet")
