"""Which filters match a topic, at a cost that grows with the shapes of filters, not their number.

Filters of one shape have their wildcards at the same levels. What is left of a filter is the key
by which a topic of that many levels finds its subscribers, and a filter its retained topics. A
fleet has five shapes or so, however many devices. OASIS MQTT 3.1.1, section 4.7.
"""

from collections.abc import Callable, Hashable, Iterable
from operator import itemgetter
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)  # a subscriber

Key = str | tuple[str, ...]


class _Shape(Generic[S]):
    """Filters with wildcards at the same levels."""

    def __init__(self, words: list[str]) -> None:
        self.open = words[-1] == "#"  # it also matches the level above
        self.levels = len(words) - self.open
        places = [i for i in range(self.levels) if words[i] != "+"]
        self.hidden = not places or places[0] != 0  # begins with a wildcard: not for $SYS
        self.key: Callable[[list[str]], Key] = itemgetter(*places) if places else _whole
        self.subscribers: dict[Key, dict[S, None]] = {}
        self.retained: dict[Key, dict[str, None]] = {}  # topics

    def fits(self, levels: int, system: bool) -> bool:
        """Whether topics of so many levels can match."""
        if system and self.hidden:
            return False
        return levels >= self.levels if self.open else levels == self.levels


class Subscriptions(Generic[S]):
    """Who is subscribed to what; and which retained topics a filter matches."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[S, None]] = {}
        self._shapes: dict[tuple[int, ...], _Shape[S]] = {}
        self._fitting: dict[tuple[int, bool], list[_Shape[S]]] = {}  # by levels and $
        self._topics: dict[str, None] = {}  # retained

    def add(self, filter_: str, subscriber: S) -> None:
        """Idempotent."""
        if not _wild(filter_):
            self._exact.setdefault(filter_, {})[subscriber] = None
            return
        words = filter_.split("/")
        shape = self._shape(words)
        shape.subscribers.setdefault(shape.key(words), {})[subscriber] = None

    def remove(self, filter_: str, subscriber: S) -> None:
        """It may never have been there."""
        if not _wild(filter_):
            _remove(self._exact, filter_, subscriber)
            return
        words = filter_.split("/")
        shape = self._shape(words)
        _remove(shape.subscribers, shape.key(words), subscriber)

    def matching(self, topic: str) -> Iterable[S]:
        """Subscribers of a topic, each once. Do not add or remove while you look at them."""
        found = self._exact.get(topic)
        fitting = self._fit(topic)
        if fitting:
            words = topic.split("/")
            for shape in fitting:
                more = shape.subscribers.get(shape.key(words))
                if more:
                    found = more if found is None else {**found, **more}
        return found or ()

    def retain(self, topic: str) -> None:
        """A message is retained under the topic."""
        if topic not in self._topics:
            self._topics[topic] = None
            words = topic.split("/")
            for shape in self._fit(topic):
                shape.retained.setdefault(shape.key(words), {})[topic] = None

    def forget(self, topic: str) -> None:
        """None is any more."""
        if topic in self._topics:
            del self._topics[topic]
            words = topic.split("/")
            for shape in self._fit(topic):
                _remove(shape.retained, shape.key(words), topic)

    def retained(self, filter_: str) -> list[str]:
        """Topics that match a filter and have a retained message, oldest first."""
        if not _wild(filter_):
            return [filter_] if filter_ in self._topics else []
        words = filter_.split("/")
        shape = self._shape(words)
        return list(shape.retained.get(shape.key(words), ()))

    def _fit(self, topic: str) -> list[_Shape[S]]:
        kind = topic.count("/") + 1, topic.startswith("$")
        fitting = self._fitting.get(kind)
        if fitting is None:
            fitting = [shape for shape in self._shapes.values() if shape.fits(*kind)]
            self._fitting[kind] = fitting
        return fitting

    def _shape(self, words: list[str]) -> _Shape[S]:
        name = (len(words), *(i for i, word in enumerate(words) if word in ("+", "#")))
        name += (-1,) if words[-1] == "#" else ()
        shape = self._shapes.get(name)
        if shape is None:
            shape = self._shapes[name] = _Shape(words)
            self._fitting.clear()
            for topic in self._topics:
                if shape.fits(topic.count("/") + 1, topic.startswith("$")):
                    shape.retained.setdefault(shape.key(topic.split("/")), {})[topic] = None
        return shape


def _wild(filter_: str) -> bool:
    return "+" in filter_ or "#" in filter_


def _whole(_words: list[str]) -> Key:
    """The key of a shape without a literal word."""
    return ()


T = TypeVar("T", bound=Hashable)
K = TypeVar("K", bound=Hashable)


def _remove(table: dict[K, dict[T, None]], key: K, value: T) -> None:
    """Leave no empty row: a fleet that comes and goes leaves nothing."""
    row = table.get(key)
    if row is not None:
        row.pop(value, None)
        if not row:
            del table[key]
