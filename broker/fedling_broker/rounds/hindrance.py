"""Why an open round cannot end with the devices that there are."""

from collections.abc import Collection, Mapping

from fedling_broker.rounds.events import Decision
from fedling_broker.rounds.synchronous import Synchronous
from fedling_protocol.wire.messages import Verdict


def hindrance(
    policy: Synchronous, decisions: Mapping[str, Decision], enrolled: Collection[str]
) -> str:
    """Empty: it can end. decisions: of the round, by device. enrolled: who has a certificate.

    Who was refused, or was late, takes part in a round no more.
    """
    cohort = enrolled if policy.members is None else policy.members
    accepted = sum(d.verdict is Verdict.ACCEPTED for d in decisions.values())
    able = sum(device in enrolled and device not in decisions for device in cohort)
    needed = policy.goal if policy.deadline_ms is None else policy.minimum
    if accepted + able >= needed:
        return ""
    gone = sorted(device for device in cohort if device not in enrolled)
    missing = f"; not enrolled: {', '.join(gone)}" if gone else ""
    return f"needs {needed} updates, has {accepted}, and {able} devices can send one{missing}"
