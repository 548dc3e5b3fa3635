"""Section 10, symbols and rANS: integers k to 16-bit words, and back."""

from dataclasses import dataclass

import numpy as np

from tests.native.reference.tables import TOTAL, Subset

START, WORD, BITS, RAW_BITS = 2**16, 16, 14, 15


@dataclass(frozen=True)
class Symbol:
    """What is coded for an integer k; raw: -1 for none."""

    frequency: int
    start: int
    raw: int


def symbol(subset: Subset, k: int) -> Symbol:
    f, most, size = subset.frequency, subset.most, abs(k)
    if size > most:
        raw = min(2 * (size - most - 1) + (k < 0), 2**RAW_BITS - 1)
        return Symbol(int(f[-1]), TOTAL - int(f[-1]), raw)
    before = int(f[0] + 2 * f[1:size].sum()) if size else 0
    return Symbol(int(f[size]), before + (int(f[size]) if k < 0 else 0), -1)


def write(symbols: list[tuple[int, Symbol]]) -> tuple[tuple[int, int], list[int]]:
    """The states at the end, and the words in the order in which they are read.

    symbols: in the order in which they are read, each with the state that says it
    """
    states, words = [START, START], list[int]()
    for i, s in reversed(symbols):
        state = states[i]
        if s.raw >= 0:
            state = _made_room(state, 1, RAW_BITS, words) * 2**RAW_BITS + s.raw
        state = _made_room(state, s.frequency, BITS, words)
        states[i] = (state // s.frequency << BITS) + state % s.frequency + s.start
        assert START <= states[i] < 2**32
    return (states[0], states[1]), words[::-1]


def _made_room(state: int, frequency: int, bits: int, words: list[int]) -> int:
    if state >= frequency << 32 - bits:
        words.append(state & 0xFFFF)
        state >>= WORD
    return state


class Unreadable(Exception):
    """No encoder wrote this message."""


class Reader:
    def __init__(self, states: tuple[int, int], words: list[int]) -> None:
        self.states: list[int] = list(states)
        self.words = iter(words)

    def read(self, i: int, subset: Subset) -> int:
        """The next integer that state i says."""
        f, most = subset.frequency, subset.most
        state = self.states[i]
        slot = state & TOTAL - 1
        ends = np.cumsum(np.concatenate([f[:1], np.repeat(f[1 : most + 1], 2), f[-1:]]))
        j = int(np.searchsorted(ends, slot, side="right"))
        size = (j + 1) // 2
        own = int(f[size])
        self._take(i, own * (state >> BITS) + slot - (int(ends[j]) - own))
        if size <= most:
            return size if j & 1 else -size
        state = self.states[i]
        self._take(i, state >> RAW_BITS)
        raw = state & 2**RAW_BITS - 1
        size = int(most) + 1 + raw // 2
        return int(-size if raw & 1 else size)

    def _take(self, i: int, state: int) -> None:
        if state < START:
            word = next(self.words, None)
            if word is None:
                raise Unreadable
            state = state * 2**WORD + word
        self.states[i] = state

    def end(self) -> None:
        if self.states != [START, START] or next(self.words, None) is not None:
            raise Unreadable
