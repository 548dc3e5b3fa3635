"""A transcript in a document: lines that are typed, and what they answer.

An answer agrees with the document up to what differs by nature: ids, tokens, times, sizes, shares,
versions, how wide a column is. A line of the document that is `...` stands for any lines. What asks
is asked again until it answers so: what services do by themselves takes a moment.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile

from fedling_agent.commands import volatile
from tests.support.machine import Machine
from tests.support.waiting import until

PROMPT = "$ "
LEFT_OUT = "..."
USER = "pi"
PATIENCE_S = 180.0  # until the services have brought about what the document says
ASKS = re.compile(r"(sudo )?fedling-\w+ (status|conditions|predict|check|\w+ list)\b")
TOKEN = re.compile(r"\b(?:[A-Z2-7]{4}-){8,}[A-Z2-7]{4}\b")
DIFFERS = (
    (TOKEN, "TOKEN"),
    (re.compile(r"\b\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?\b"), "TIME"),
    (re.compile(r"(?<![.\d])\d+\.\d+\.\d+(\+[a-z]+)?(?![.\d])"), "VERSION"),
    (re.compile(r"\b\d[\d,.]* (s|min|h|days?)\b"), "FOR"),
    (re.compile(r"\b\d[\d,.]* ?(B|[kMG]B)\b"), "SIZE"),
    (re.compile(r"\b[01]\.\d\d\b"), "SHARE"),
    (re.compile(r"\bat batch \d+ of\b"), "at batch N of"),
    (re.compile(r"\b[0-9a-f]{8,64}\b"), "HASH"),
    (re.compile(r"\b[a-z2-7]{16}\b"), "DEVICE"),
    (re.compile(r"\b([UG])ID \d+"), r"\1ID"),
    (re.compile(r"_(amd64|arm64|armhf)\b"), "_ARCH"),
    (re.compile(r"\(then [^;]*;"), "(then LABELS;"),
    (re.compile(r"( folded .*) \d+$"), r"\1 BYTES"),
    (re.compile(r"[ \t]+"), " "),
)
NOISE = ("(Reading database", "debconf:")  # of a dpkg without a terminal, on a small Debian
OF_MEMORY = "is on tmpfs: "  # a machine of the tests may lie there, that of a document does not
SECTION = re.compile(r"^## (.*)\n", re.MULTILINE)
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """A line, and what the document says that it answers."""

    line: str
    answer: tuple[str, ...]


def steps(text: str) -> list[Step]:
    """What a text has to type, block after block."""
    return [step for block in BLOCK.findall(text) for step in _of_block(block.splitlines())]


def section(text: str, name: str) -> str:
    """A part of a document, from its heading to the next."""
    parts = SECTION.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[name]


def sections(text: str) -> list[str]:
    """The headings of a document."""
    return SECTION.findall(text)


def agrees(shown: tuple[str, ...], said: tuple[str, ...]) -> bool:
    """Whether this was said, up to what differs by nature."""
    lines = (r"(.*\n)*" if x == LEFT_OUT else f"{re.escape(_same(x))}\n" for x in shown)
    return re.fullmatch("".join(lines), "".join(f"{_same(x)}\n" for x in said)) is not None


class Teller:
    """Types what a document holds; `text` becomes the document as it was answered."""

    def __init__(
        self, pi: Machine, text: str, *, patience_s: float = PATIENCE_S, anew: bool = False
    ) -> None:
        """anew: what does not agree takes the place of the document's answer, and nothing fails"""
        self._pi = pi
        self._patience_s = patience_s
        self._anew = anew
        self._meant: dict[str, str] = {}  # tokens of the document: what was printed here
        self._untold = sections(text)
        self._at = 0  # where the document goes on
        self.text = text

    @property
    def untold(self) -> list[str]:
        """The sections that were not typed."""
        return [name for name in self._untold if steps(section(self.text, name))]

    def tell(self, name: str) -> None:
        """Type a section of the document."""
        self._untold.remove(name)
        for step in steps(section(self.text, name)):
            self._type(step)

    def _type(self, step: Step) -> None:
        line = TOKEN.sub(lambda found: self._meant.get(found[0], found[0]), step.line)
        said = self._ask(line, step) if ASKS.match(line) else self._said(line)
        old, new = (TOKEN.findall("\n".join(lines)) for lines in (step.answer, said))
        meant = dict(zip(old, new, strict=False))
        self._meant |= meant
        if not agrees(step.answer, said):
            assert self._anew, f"the document has not what this says:\n{_shown(Step(line, said))}"
            step = self._write(step, said, {there: here for here, there in meant.items()})
        self._at = self.text.index(_shown(step), self._at) + len(_shown(step))

    def _ask(self, line: str, step: Step) -> tuple[str, ...]:
        """Ask until it agrees; what it says at last."""
        said: tuple[str, ...] = ()

        def it_agrees() -> bool:
            nonlocal said
            said = self._said(line)
            return agrees(step.answer, said)

        with suppress(AssertionError):  # told by who compares
            until(it_agrees, look_s=0.5, patience_s=self._patience_s)
        return said

    def _said(self, line: str) -> tuple[str, ...]:
        """What it prints, on both outputs, as on a terminal."""
        said = self._pi.run(f"{{ {line}\n}} 2>&1", USER, None).stdout
        lines = (x.rstrip() for x in said.splitlines() if not x.startswith(NOISE))
        in_memory = volatile.warning(self._pi.root) != ""
        return tuple(x for x in lines if not (in_memory and OF_MEMORY in x))

    def _write(self, step: Step, said: tuple[str, ...], tokens: dict[str, str]) -> Step:
        """Have the document say this, with the tokens that it has elsewhere."""
        answer = tuple(TOKEN.sub(lambda found: tokens.get(found[0], found[0]), x) for x in said)
        new = Step(step.line, answer)
        before, after = self.text[: self._at], self.text[self._at :]
        self.text = before + after.replace(_shown(step), _shown(new), 1)
        return new


def _shown(step: Step) -> str:
    return "".join(f"{x}\n" for x in (PROMPT + step.line, *step.answer))


def _of_block(lines: list[str]) -> Iterator[Step]:
    for number, line in enumerate(lines):
        if line.startswith(PROMPT):
            after = takewhile(lambda x: not x.startswith(PROMPT), lines[number + 1 :])
            yield Step(line.removeprefix(PROMPT), tuple(after))


def _same(line: str) -> str:
    for pattern, word in DIFFERS:
        line = pattern.sub(word, line)
    return line.strip()
