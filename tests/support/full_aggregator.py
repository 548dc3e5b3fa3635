"""Run by tests/broker/test_full_disk.py in a mount namespace where the state is a small tmpfs.

python -m tests.support.full_aggregator DIRECTORY MQTT_PORT
"""

import sys
from pathlib import Path

from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire.messages import Receipt, Ticket, Verdict
from tests.support.fleet import Aggregator, Device
from tests.support.waiting import until


def fill(directory: Path) -> Path:
    """Take what is left of a disk."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 512):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def scenario(loop: Loop, aggregator: Aggregator, first: Device, second: Device) -> None:
    aggregator.add_task(rounds=1, goal=2)
    for device in (first, second):
        aggregator.enrol(device)
    aggregator.start()
    plan = first.wait_plan(1)
    early = first.make_update(plan, 3)
    assert first.deliver(early).verdict is Verdict.ACCEPTED
    assert isinstance(second.ask(plan.plan_id), Ticket)

    ballast = fill(aggregator.directory / "broker-state")
    late = second.make_update(plan, 4)
    have = second.send_update(late)
    until(lambda: "nothing is accepted" in aggregator.log_text(), loop.turn)
    assert "the disk is full; nothing is accepted" in aggregator.log_text()
    assert second.receipts == []
    # More than a page of the disk, whatever is free at the end of the write-ahead log.
    other = aggregator.directory / "other.toml"
    text = (aggregator.directory / "tiny.toml").read_text().replace('"tiny"', '"other"')
    other.write_text(f"{text}\n# {'x' * 10_000}\n")
    assert "full" in aggregator.run("task", "add", str(other), code=73)

    ballast.unlink()
    receipt = second.receipt_for(have, lambda: second.send_update(late))
    assert receipt.verdict is Verdict.ACCEPTED
    until(lambda: first.rest, loop.turn)
    assert "the disk can be written again" in aggregator.log_text()
    kept = first.ask(plan.plan_id)
    assert isinstance(kept, Receipt)
    assert kept.verdict is Verdict.ACCEPTED
    assert aggregator.stop() == 0
    aggregator.run("round", "verify", "--all")
    assert aggregator.json("round", "show", "tiny", "1")["weight"] == 14


def main(directory: Path, port: int) -> None:
    loop = Loop()
    aggregator = Aggregator(directory, port)
    devices = [Device(loop, port, number) for number in (1, 2)]
    try:
        scenario(loop, aggregator, *devices)
    finally:
        print(aggregator.log_text()[-4000:])
        aggregator.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
