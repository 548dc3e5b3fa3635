"""What hinders a task: a sentence below the rows that commands print."""

import time
from collections.abc import Mapping, Sequence

from fedling_broker.config import Config
from fedling_broker.rounds.hindrance import hindrance
from fedling_broker.rounds.synchronous import Synchronous
from fedling_broker.service import notices
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_broker.tasks import task_file
from fedling_protocol.command import output
from fedling_protocol.moments import moment
from fedling_protocol.settings import SettingsError

CANNOT_END = "cannot end"


def hindrances(found: Config, store: Store) -> dict[str, str]:
    """Tell why the open round of a task cannot end, or it is stopped or held back, by task."""
    certified = Devices(store.database, found.topics).certified()
    enrolled = {device.id for device in certified}
    reasons = {}
    for row in store.tasks.rows():
        plan = store.rounds.unfolded(row.name)
        try:
            policy = task_file.parse_task(row.text, f"task {row.name}").rules.policy
        except SettingsError as error:  # of another version; the list names it all the same
            reasons[row.name] = str(error)
            continue
        if plan is None or plan.closed or not isinstance(policy, Synchronous):
            continue
        rows = store.rounds.decisions(row.name, plan.plan_id)
        why = hindrance(policy, {d.device: d.decision for d in rows}, enrolled)
        if why:
            reasons[row.name] = f"{plan.words} of {row.name} {CANNOT_END}: {why}"
    for task, notice in notices.read(found.state_dir, time.time()).items():
        reasons[task] = f"{task} {notice.says}; next try at {moment(notice.until)}"
    return reasons


def print_with_hindrances(
    rows: Sequence[Mapping[str, object]], *, empty: str, as_json: bool
) -> None:
    """Print rows that have a `hindrance`: in JSON as it is, else below them, with what to do."""
    if as_json:
        output.print_json(list(rows))
        return
    shown = [{k: v for k, v in row.items() if k != "hindrance"} for row in rows]
    output.print_rows(shown, empty=empty)
    reasons = [str(row["hindrance"]) for row in rows if row["hindrance"]]
    for reason in reasons:
        print(output.paint(reason, output.YELLOW))
    if any(CANNOT_END in reason for reason in reasons):
        print("enrol devices (fedling-broker device invite), or lower cohort.goal or name other")
        print("cohort.devices in the task file, and run: fedling-broker task update TASK FILE")
