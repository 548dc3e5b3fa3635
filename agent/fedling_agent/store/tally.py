"""Totals of each stream and label: kept as rows change, so that nobody counts rows to tell them."""

import sqlite3
from collections import Counter

COLUMNS = ("recordings", "samples", "bytes", "evicted", "no_room")


class Tally:
    """What one transaction adds to the totals. bytes: of all streams"""

    def __init__(self) -> None:
        self.bytes = 0
        self._totals: Counter[tuple[str, str]] = Counter()  # by stream and column
        self._labels: Counter[tuple[str, str]] = Counter()  # by stream and label: samples

    def add(self, stream: str, **counts: int) -> None:
        """Add to a stream's columns, by their names."""
        for column, count in counts.items():
            assert column in COLUMNS
            self._totals[stream, column] += count
        self.bytes += counts.get("bytes", 0)

    def label(self, stream: str, label: str, samples: int) -> None:
        """Samples have got this label, or lost it (below zero)."""
        self._labels[stream, label] += samples

    def write(self, connection: sqlite3.Connection) -> None:
        """Put all of it into the tables."""
        for (stream, column), count in self._totals.items():
            sql = f"UPDATE streams SET {column} = {column} + ? WHERE name = ?"  # noqa: S608 (of COLUMNS)
            connection.execute(sql, (count, stream))
        connection.executemany(
            "INSERT INTO labels (stream, label, samples) VALUES (?, ?, ?) "
            "ON CONFLICT (stream, label) DO UPDATE SET samples = samples + excluded.samples",
            [(*names, samples) for names, samples in self._labels.items()],
        )
        connection.executemany(
            "DELETE FROM labels WHERE stream = ? AND label = ? AND samples = 0",
            list(self._labels),
        )
