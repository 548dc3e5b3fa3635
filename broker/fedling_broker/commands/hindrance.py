"""Why a task's rounds cannot end as things are: for people who wonder what it waits for."""

import time
from collections.abc import Mapping

from fedling_broker.rounds.synchronous import Synchronous
from fedling_broker.service.holding import Notice
from fedling_broker.store.store import Store
from fedling_broker.store.tasks import TaskRow
from fedling_broker.tasks import task_file
from fedling_protocol.wire.messages import Verdict

MOST_NAMED = 5  # devices


def of_task(
    store: Store, row: TaskRow, devices: frozenset[str], notices: Mapping[str, Notice]
) -> str:
    """Say what keeps the task from its next model; empty: nothing that is known here.

    devices: those with a certificate
    """
    notice = notices.get(row.name)
    if notice is not None:
        until = time.strftime("%H:%M", time.localtime(notice.until))
        return f"{notice.says}; next try at {until}"
    rules = task_file.parse_task(row.text, f"task {row.name}").rules
    done = 0 < rules.rounds <= store.models.folded(row.name)
    if row.paused or done or not isinstance(rules.policy, Synchronous):
        return ""
    return _too_few(rules.policy, devices, _accepted(store, row.name))


def _accepted(store: Store, task: str) -> frozenset[str]:
    """Whose updates the open round has: they count, whatever became of the device."""
    plans = store.rounds.plans(task)
    if not plans or plans[-1].closed:
        return frozenset()
    decisions = store.rounds.decisions(task, plans[-1].plan_id)
    return frozenset(d.device for d in decisions if d.verdict == Verdict.ACCEPTED)


def _too_few(policy: Synchronous, devices: frozenset[str], accepted: frozenset[str]) -> str:
    needs = policy.goal if policy.deadline_ms is None else policy.minimum
    named = policy.members
    may = accepted | (devices if named is None else devices & named)
    if len(may) >= needs:
        return ""
    words = f"a round needs {needs} updates, and {len(may)} devices can send one"
    if named is None:
        return f"{words}: enrol more (fedling-broker device pending), or ask for fewer"
    missing = sorted(named - may)
    more = ", ..." if len(missing) > MOST_NAMED else ""
    return f"{words}; not enrolled: {', '.join(missing[:MOST_NAMED])}{more}"
