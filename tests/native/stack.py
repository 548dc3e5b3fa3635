"""How many bytes of stack a call needs, from the call graphs that gcc writes (-fcallgraph-info=su).

A call through a pointer is followed by the names on its line: a member of fdl_kernels leads to that
member of the table in use, the callback `use` to all functions that are made to be called so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.native.compiler import ROOT, SOURCES, compile_objects

# A call of any public function stays below, return address included. Vectors are for machines whose
# threads have a thousand times as much.
BOUNDS = {"fdl_plain": 4096, "fdl_dsp": 2048}
BOUND_OF_VECTORS = 32768
OUTSIDE = 64  # bytes that memcpy, memset or a division of the compiler's own may take

GRAPH_FLAG = "-fcallgraph-info=su"
HEADER = ROOT / "native/include/fedling.h"
NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?\\n(\d+) bytes \(([a-z,]+)\)')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"(?: label: "([^"]+)")?')
WORD = re.compile(r"(?:fdl_\w+\.|->)?\w+")
TABLE = re.compile(r"^const fdl_kernels (\w+) = \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)
MEMBER = re.compile(r"^    \.(\w+) = (\w+),$", re.MULTILINE)
CALLBACK = re.compile(r"^static void (\w+)\(void \*context, const fdl_slice", re.MULTILINE)
PUBLIC = re.compile(r"^(?:int|size_t|const char \*)\s?\*?(fdl_\w+)\(", re.MULTILINE)


@dataclass
class Graph:
    """Functions by gcc's title of them: file:name for one that is static."""

    frames: dict[str, int] = field(default_factory=dict)
    calls: dict[str, set[str]] = field(default_factory=dict)
    lines: dict[str, set[str]] = field(default_factory=dict)  # that call through a pointer
    unbounded: list[str] = field(default_factory=list)  # frames of no fixed size

    def tables(self) -> list[str]:
        """The tables of inner loops that this build has."""
        compiled = {title.rpartition(":")[2] for title in self.frames}
        return [name for name, members in _tables().items() if members["dot"] in compiled]

    def depths(self, table: str) -> dict[str, int]:
        """Bytes of stack of all public functions with a table of inner loops, deepest first."""
        depths = {name: self.depth(name, table) for name in PUBLIC.findall(HEADER.read_text())}
        return dict(sorted(depths.items(), key=lambda pair: -pair[1]))

    def depth(self, title: str, table: str, above: tuple[str, ...] = ()) -> int:
        """Bytes of stack from a function on."""
        assert title not in above, f"{title} calls itself"
        if title not in self.frames:
            return OUTSIDE
        callees = set(self.calls.get(title, ()))
        for line in self.lines.get(title, ()):
            callees |= self.pointed_at(line, table)
        below = [self.depth(callee, table, (*above, title)) for callee in callees]
        return self.frames[title] + max(below, default=0)

    def pointed_at(self, line: str, table: str) -> set[str]:
        """What a line of code can reach by its calls through pointers."""
        words = WORD.findall(line)
        pointers = _pointers(table)
        names = set(words).union(*(pointers.get(word, set()) for word in words))
        reached = {title for title in self.frames if title.rpartition(":")[2] in names}
        known = reached or not pointers.keys().isdisjoint(words)
        assert known, f"a call of nothing that is known: {line}"
        return reached


def measure(compiler: str, flags: Sequence[str], folder: Path) -> Graph:
    """Compile the library and read its graph."""
    compile_objects(compiler, [*flags, GRAPH_FLAG], folder)
    return read(folder)


def read(folder: Path) -> Graph:
    """The graph of what was compiled in a folder with GRAPH_FLAG."""
    text = "".join(path.read_text() for path in folder.glob("*.ci"))
    graph = Graph()
    for title, size, kind in NODE.findall(text):
        graph.frames[title] = int(size)
        if kind == "dynamic":
            graph.unbounded.append(title)
    for caller, callee, place in EDGE.findall(text):
        if callee == "__indirect_call":
            graph.lines.setdefault(caller, set()).add(_line(place))
        else:
            graph.calls.setdefault(caller, set()).add(callee)
    return graph


def _line(place: str) -> str:
    """The code at file:line:column."""
    path, line, _ = place.rsplit(":", 2)
    return Path(path).read_text().splitlines()[int(line) - 1]


@cache
def _tables() -> dict[str, dict[str, str]]:
    """Each table of inner loops: member and function."""
    return {name: dict(MEMBER.findall(members)) for name, members in TABLE.findall(_code())}


@cache
def _pointers(table: str) -> dict[str, set[str]]:
    """The functions that a pointer can hold: `use`, `->dot` of the table, `fdl_plain.dot`.

    A member that the table has not is NULL: it is not called.
    """
    pointers = {"use": set(CALLBACK.findall(_code()))}
    pointers |= {f"->{member}": set() for members in _tables().values() for member in members}
    pointers |= {f"->{member}": {function} for member, function in _tables()[table].items()}
    for name, members in _tables().items():
        pointers |= {f"{name}.{member}": {function} for member, function in members.items()}
    return pointers


def _code() -> str:
    paths = [*SOURCES, *sorted((ROOT / "native/src").rglob("*.h"))]
    return "".join(path.read_text() for path in paths)
