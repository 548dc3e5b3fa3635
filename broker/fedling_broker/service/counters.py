"""What the aggregator counts: refusals, stalls, bytes. Written to the store once a minute."""

from collections import Counter
from collections.abc import Mapping

from fedling_protocol.net.tcpinfo import Traffic


class Counters:
    """Counts that are not written yet."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """What is to be written: tell written() when it is."""
        return {name: more for name, more in self._counts.items() if more}

    def count(self, name: str, more: int = 1) -> None:
        self._counts[name] += more

    def written(self, counts: Mapping[str, int]) -> None:
        """They are on disk."""
        self._counts.subtract(counts)

    def on_traffic(self, traffic: Traffic) -> None:
        """Bytes that went through the socket."""
        self.count("bytes sent", traffic.sent)
        self.count("bytes received", traffic.received)
