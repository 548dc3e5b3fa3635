"""What a task costs, told before anybody pays: bytes of a device, and of the aggregator's disk."""

from fedling_broker.tasks.task_file import Task
from fedling_native import parameter_counts, weights_size
from fedling_protocol.classes import dataclass

DAY_S = 86_400
MESSAGES = 1_200  # bytes of join, ticket, receipt and plan, and of envelopes
SUM = 8  # bytes a parameter that a round's sum has
PACKED = 1  # bytes a parameter that a whole model on its grid has, at most


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one round; `rounds_a_day` at most, None: as many as devices can answer."""

    update: int  # bytes of what an update says of the parameters, about
    update_not_coded: int  # the same if it is sent as it is
    device_sends: int
    device_receives: int  # at most: a change of the model has less than the model
    aggregator_keeps: int  # model and sum, for ever
    rounds_a_day: int | None

    @property
    def sentence(self) -> str:
        """For a person."""
        return f"{self._update}; {self._rounds}"

    @property
    def _update(self) -> str:
        if self.update == self.update_not_coded:
            return f"an update has {size(self.update)}"
        return f"an update has {size(self.update)} instead of {size(self.update_not_coded)}"

    @property
    def _rounds(self) -> str:
        if self.rounds_a_day is None:
            return f"a round: {self._of(1)}; rounds follow one another without a rest"
        return f"at most {self.rounds_a_day} rounds a day: {self._of(self.rounds_a_day)}"

    def _of(self, rounds: int) -> str:
        sends, receives, keeps = (
            size(rounds * n)
            for n in (self.device_sends, self.device_receives, self.aggregator_keeps)
        )
        return (
            f"a device sends {sends} and receives at most {receives},"
            f" the aggregator keeps {keeps} more"
        )


def cost_of(task: Task) -> Cost:
    """What each round of a task costs."""
    spec, rules = task.spec, task.rules
    vector, parameters = weights_size(spec.layers), sum(parameter_counts(spec.layers))
    rounds = DAY_S // rules.pause_s if rules.pause_s else None
    if rules.rounds and rounds is not None:
        rounds = min(rounds, rules.rounds)
    sends = vector if task.target is None else task.target
    model = parameters * PACKED if task.optimiser.on_grid else vector
    return Cost(
        sends, vector, sends + MESSAGES, model + MESSAGES, vector + SUM * parameters, rounds
    )


def size(count: int) -> str:
    """Write bytes as people do."""
    for unit, factor in (("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
