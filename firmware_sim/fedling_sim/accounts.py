"""Whether journal, receipts held by devices and byte counts agree, one to one."""

from collections.abc import Iterator

from fedling_broker.store.rounds import DecisionRow
from fedling_sim.aggregator import Aggregator
from fedling_sim.device import Device, Held
from fedling_sim.record import DeviceBytes

MOST_OFF = 0.02  # of the bytes at the socket


def faults(aggregator: Aggregator, devices: list[Device], traffic: list[DeviceBytes]) -> list[str]:
    """Say in sentences what does not add up; once everything has stopped."""
    decided = _decided(aggregator)
    return [
        *(f for device in devices for f in _of_device(device, decided, aggregator.task.name)),
        *_of_bytes(traffic),
    ]


def _decided(aggregator: Aggregator) -> dict[tuple[str, bytes], DecisionRow]:
    """List decisions by device and plan."""
    return {
        (row.device, plan.plan_id): row
        for plan in aggregator.plans()
        for row in aggregator.decisions(plan.plan_id)
    }


def _of_device(
    device: Device, decided: dict[tuple[str, bytes], DecisionRow], task: str
) -> Iterator[str]:
    """Compare a device's receipts with the decisions about it, one to one."""
    held = device.held(task)
    for (owner, plan_id), row in decided.items():
        if owner == device.id and row.update_hash is not None:
            yield from _of_update(device, plan_id, row, held)
    for plan_id in held:
        if (device.id, plan_id) not in decided:
            yield f"{device.name}: a receipt of plan {plan_id.hex()[:8]} that nobody gave"


def _of_update(
    device: Device, plan_id: bytes, row: DecisionRow, held: dict[bytes, Held]
) -> Iterator[str]:
    what = f"{device.name}, plan {plan_id.hex()[:8]}"
    own = held.get(plan_id)
    if own is None:
        yield f"{what}: {row.verdict}, and the device holds no receipt"
        return
    if own.update_hash != row.update_hash or own.verdict != row.verdict:
        yield f"{what}: {row.verdict}, and the device's receipt says {own.verdict}"
    if row.size and own.sizes != {row.size}:
        yield f"{what}: {row.size} bytes came, the device says it sent {sorted(own.sizes)}"


def _of_bytes(traffic: list[DeviceBytes]) -> Iterator[str]:
    for row in traffic:
        for way, own, proxy in (
            ("up", row.agent_up, row.proxy_up),
            ("down", row.agent_down, row.proxy_down),
        ):
            if abs(own - proxy) > MOST_OFF * proxy:
                yield (
                    f"{row.device}: {own} bytes {way} by its own count, {proxy} by the proxy's"
                    f" in {row.connections} connections"
                )
