"""How many windows that had a label were told right."""

from collections import Counter
from dataclasses import field

from fedling_agent.service.control import Json
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.labels import tidy


@dataclass(slots=True)
class Score:
    """Right and wrong answers up to now, by the label that a window had."""

    answers: dict[str, Counter[str]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)  # labels of windows that the model has not
    mixed: int = 0  # windows without one label in all of their rows, which are not counted

    def add(self, answer: Json) -> bool | None:
        """Count an answer about a window that may have had a label. None: it does not count."""
        if "given" not in answer:
            return None
        given, said = answer["given"], answer["label"]
        known = answer["probabilities"]
        assert isinstance(said, str)
        assert isinstance(known, dict)
        if not isinstance(given, str):
            self.mixed += 1
            return None
        if given not in map(tidy, known):
            self.unknown.add(given)
        self.answers.setdefault(given, Counter())[tidy(said)] += 1
        return given == tidy(said)

    @property
    def windows(self) -> int:
        return sum(said.total() for said in self.answers.values())

    @property
    def right(self) -> int:
        return sum(said[label] for label, said in self.answers.items())

    def json(self) -> Json:
        """Tell it to a program: what was said of the windows of each label, how often."""
        return {
            "right": self.right,
            "windows": self.windows,
            "mixed": self.mixed,
            "said": {label: dict(said) for label, said in self.answers.items()},
        }

    def sentences(self) -> list[str]:
        """Tell it to a person; nothing if no window had a label."""
        if not self.answers and not self.mixed:
            return []
        labels = ", ".join(self._label(label) for label in self.answers)
        lines = [f"{self.right} of {self.windows} right{': ' if labels else ''}{labels}"]
        if self.mixed:
            lines.append(f"{self.mixed} windows have not one label in all rows and do not count")
        if self.unknown:
            lines.append(f"labels that the model does not have: {', '.join(sorted(self.unknown))}")
        return lines

    def _label(self, label: str) -> str:
        said = self.answers[label]
        wrong = ", ".join(f"{n} as {x}" for x, n in said.most_common() if x != label)
        return f"{label} {said[label]} of {said.total()}{f' ({wrong})' if wrong else ''}"
