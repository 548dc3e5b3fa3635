"""What commands say of how good a model is; nothing where no device has tested it."""

from collections.abc import Collection, Sequence

from fedling_broker.aggregation.accuracy import add_up, total
from fedling_broker.aggregation.limits import UNLIMITED
from fedling_broker.store.rounds import PlanRow
from fedling_broker.store.store import Store
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output
from fedling_protocol.wire.messages import Hits

LOOKED_BACK = 10  # rounds, for the newest model that was tested
NAMED = 12  # labels for a person: the worst of more


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What devices said of one version of a model."""

    version: int
    tested: tuple[Hits, ...]  # each class
    devices: int

    @property
    def words(self) -> str:
        """For a person, in a column."""
        return share(total(self.tested))

    def sentence(self, labels: Sequence[str]) -> str:
        """For a person: what is right of what was tested, and of each label; the worst first."""
        hits = total(self.tested)
        each = [(label, one) for label, one in zip(labels, self.tested, strict=True) if one.windows]
        each.sort(key=lambda pair: pair[1].right / pair[1].windows)
        named = ", ".join(f"{label} {share(one)}" for label, one in each[:NAMED])
        more = f", {len(each) - NAMED} more labels" if len(each) > NAMED else ""
        return (
            f"model {self.version}: {share(hits)} of {hits.windows:,} windows that"
            f" {self.devices} devices kept out of training ({named}{more})"
        )

    @property
    def json(self) -> dict[str, object]:
        """For a program."""
        facts: dict[str, object] = {"version": self.version, "devices": self.devices}
        return facts | total(self.tested)._asdict()


def of_labels(tested: Sequence[Hits], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Tell a program of each label."""
    return {label: one._asdict() for label, one in zip(labels, tested, strict=True)}


def cell(accuracy: Accuracy | None, *, as_json: bool) -> object:
    """Make a cell of a list."""
    if accuracy is None:
        return None
    return accuracy.json if as_json else accuracy.words


def for_people(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Leave the column out where nobody has tested anything."""
    if any(row["accuracy"] is not None for row in rows):
        return list(rows)
    return [{name: cell for name, cell in row.items() if name != "accuracy"} for row in rows]


def share(hits: Hits) -> str:
    """Write how many were right."""
    return output.share(hits.right, hits.windows) if hits.windows else ""


def of_round(store: Store, task: str, plan: PlanRow) -> Accuracy | None:
    """Add up what the accepted updates of a round say of its base."""
    tests = store.rounds.tests(task, plan.plan_id)
    most = (plan.limits or UNLIMITED).examples
    added = add_up(tests, most)
    if not total(added).windows:
        return None
    return Accuracy(plan.base_version, added, len(tests))


def of_versions(
    store: Store, task: str, plans: Sequence[PlanRow], versions: Collection[int]
) -> dict[int, Accuracy]:
    """Find the newest test of each version that was tested. plans: of the task, by round."""
    found: dict[int, Accuracy] = {}
    for plan in reversed(plans):
        version = plan.base_version
        if version in versions and version not in found:
            accuracy = of_round(store, task, plan)
            if accuracy is not None:
                found[version] = accuracy
    return found


def newest(store: Store, task: str, plans: Sequence[PlanRow]) -> Accuracy | None:
    """Find the newest model that was tested, in the last rounds. plans: of the task, by round."""
    found = (of_round(store, task, plan) for plan in reversed(plans[-LOOKED_BACK:]))
    return next((accuracy for accuracy in found if accuracy is not None), None)
