"""The owner's floor: what agent.toml asks of a plan, whoever signed it. A plan may ask for more."""

from fedling_agent.conditions.used import MB
from fedling_native import weights_size
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import TaskSpec, Training

ROUND_TRIP = 2  # a model comes, an update of its size goes


@dataclass(frozen=True, slots=True)
class Floor:
    """Empty tuples allow all."""

    tasks: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    min_examples: int = 1
    traffic_mb: int = 1_000_000  # that a day may cost, as policy.traffic

    def forbids(self, spec: TaskSpec) -> str:
        """Why the owner wants no part in a task; empty: nothing forbids it."""
        if self.tasks and spec.task not in self.tasks:
            return "agent.toml names other tasks"
        strange = [label for label in spec.labels if label not in self.labels]
        if self.labels and strange:
            return f'agent.toml allows no label "{strange[0]}"'
        megabytes = ROUND_TRIP * weights_size(spec.layers) / MB
        if megabytes > self.traffic_mb:
            given = f"policy.traffic gives {self.traffic_mb:,} a day"
            return f"one round moves {megabytes:,.1f} MB, and {given}"
        return ""

    def examples(self, training: Training) -> int:
        """The fewest examples that may be trained on."""
        return max(1, self.min_examples, training.min_examples)
