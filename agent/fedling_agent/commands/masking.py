"""What stands in a report for others in place of the owner's words: labels, hosts, users, reasons.

Structure decides where it can: a text of the configuration is told only where its key is known to
hold nothing private. Sentences are searched for words that are known to be private.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from fedling_agent.conditions import pause
from fedling_agent.conditions.table import PAUSE
from fedling_agent.service.report import BY_OPERATOR
from fedling_protocol.common_settings import is_loopback

HIDDEN = "(hidden)"
TOLD = (  # texts of agent.toml that anybody may read
    *("fleet", "tasks", "streams", "state_dir", "mqtt.topic_root", "paths.sys"),
    *("policy.", "store.", "training.", "retry."),
)
LABELS = "floor.labels"
SHORTEST = 3  # characters of a label that is looked for in sentences, unless it is a number

_QUOTED_LABEL = re.compile(r'(label )"[^"]*"')
_PAUSED = re.compile(f"({pause.WORDS}|{BY_OPERATOR}).*", re.DOTALL)
_HOME = re.compile(r"(/(?:home|srv|mnt|media)/|~)[^/\s]+")
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*::?[0-9A-Fa-f:.]+)"
)
_WAY = re.compile(r"(connect(?:ed|ion) to )([^\s:/,]+)")
_KEY, _QUOTED = re.compile(r"\s*([\w.\-]+)\s*="), re.compile(r"[\"']([^\"']+)[\"']")
_SECRET = re.compile("password|secret|token")


class Masks:
    """Private words, and what is written in their place."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._words: dict[str, str] = {}

    def hide(self, word: str, meaning: str) -> None:
        """Have a word hidden wherever it stands. meaning: is told instead, as "mqtt.host" """
        if word.strip():
            self._words.setdefault(word, f"({meaning})")
            self.__dict__.pop("_pattern", None)

    def hide_labels(self, labels: Iterable[str]) -> None:
        """Have labels told as numbers, the same label as the same number."""
        for label in labels:
            if label and label not in self._labels:
                self._labels[label] = f"(label {len(self._labels) + 1})"
                if len(label) >= SHORTEST and not label.isdigit():
                    self.hide(label, self._labels[label].strip("()"))

    def learn(self, value: object) -> None:
        """Learn the labels, and what people call this device, out of what `status` tells."""
        if isinstance(value, list):
            for one in value:
                self.learn(one)
        if isinstance(value, dict):
            for key, below in value.items():
                if key in ("labels", "wanted") and isinstance(below, dict | list):
                    self.hide_labels(below)
                if key == "certificate" and isinstance(below, dict):
                    self.hide(str(below["name"]), "its name")
                self.learn(below)

    def settings(self, values: Mapping[str, object]) -> dict[str, object]:
        """Tell a configuration, of tables within tables, by whole keys."""
        return {key: self._setting(key, value) for key, value in _flat(values, "")}

    def settings_text(self, text: str) -> None:
        """Learn the private words of a configuration that is no TOML."""
        for line in text.splitlines():
            key = _KEY.match(line)
            if key is not None:
                for value in _QUOTED.findall(line):
                    self.hide(value, key[1])

    def hosts_of(self, log: object) -> None:
        """Learn the hosts that a log names as the other end, those of an older configuration."""
        for _, host in _WAY.findall(str(log)):
            self.hide(host, "host")

    def applied(self, value: object, within: str = "") -> object:
        """Tell a value as others may read it. within: the key that it stands under"""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list | tuple):
            return [self._item(one, within) for one in value]
        if not isinstance(value, dict):
            return value
        paused = within == "pause" or value.get("code") == PAUSE.code
        told: dict[str, object] = {}
        for key, below in value.items():
            private = paused and key in ("reason", "detail")
            label = self._labels.get(key) if within == "labels" else None
            told[label or str(key)] = HIDDEN if private and below else self.applied(below, key)
        return told

    def _item(self, value: object, within: str) -> object:
        if within in ("wanted", LABELS) and isinstance(value, str):
            return self._labels.get(value, HIDDEN)
        return self.applied(value, within)

    def _setting(self, key: str, value: object) -> object:
        if key == LABELS and isinstance(value, list):
            self.hide_labels(str(one) for one in value)
            return [self._labels.get(str(one), HIDDEN) for one in value]
        if isinstance(value, list):
            return [self._setting(key, one) for one in value]
        number = not isinstance(value, str) and not _SECRET.search(key)
        told = number or any(
            key == one or (one.endswith(".") and key.startswith(one)) for one in TOLD
        )
        if told or (key == "mqtt.host" and is_loopback(str(value))):
            return value
        self.hide(str(value), key)
        return HIDDEN

    def _text(self, text: str) -> str:
        text = _QUOTED_LABEL.sub(rf'\1"{HIDDEN}"', text)
        text = _PAUSED.sub(r"\1", text)
        if self._words:
            text = self._pattern.sub(lambda found: self._words[found[0]], text)
        text = _ADDRESS.sub(_address, _HOME.sub(rf"\1{HIDDEN}", text))
        return _WAY.sub(r"\1(host)", text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        words = "|".join(map(re.escape, sorted(self._words, key=len, reverse=True)))
        return re.compile(rf"(?<!\w)(?:{words})(?!\w)")


def _flat(values: Mapping[str, object], prefix: str) -> Iterable[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _address(found: re.Match[str]) -> str:
    """Hide an address, but for one within the machine; what only looks like one is left."""
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]
    return found[0] if address.is_loopback or address.is_unspecified else "(address)"
