"""The owner's floor: what agent.toml asks of a plan, whoever signed it. A plan may ask for more."""

from dataclasses import dataclass

from fedling_protocol.wire.messages import TaskSpec, Training


@dataclass(frozen=True, slots=True)
class Floor:
    """Empty tuples allow all."""

    tasks: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    min_examples: int = 1

    def forbids(self, spec: TaskSpec) -> str:
        """Why the owner wants no part in a task; empty: nothing forbids it."""
        if self.tasks and spec.task not in self.tasks:
            return "agent.toml names other tasks"
        strange = [label for label in spec.labels if label not in self.labels]
        if self.labels and strange:
            return f'agent.toml allows no label "{strange[0]}"'
        return ""

    def examples(self, training: Training) -> int:
        """The fewest examples that may be trained on."""
        return max(1, self.min_examples, training.min_examples)
