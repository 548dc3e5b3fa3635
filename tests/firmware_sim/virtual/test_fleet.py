"""The real services of both ends hold rounds in virtual time, the same ones for the same seed."""

from pathlib import Path

from bench.virtual import TASK, examples
from fedling_agent.store.store import Store
from fedling_protocol.wire.messages import Verdict
from fedling_sim.virtual.fleet import RoundReport, Setup, VirtualFleet

DEVICES = 3


def make(directory: Path, seed: int = 1) -> VirtualFleet:
    directory.mkdir()
    fleet = VirtualFleet(
        Setup(DEVICES, (TASK.format(goal=DEVICES, rounds=3),), examples(), seed), directory
    )
    fleet.start(1.0)
    return fleet


def history(fleet: VirtualFleet) -> list[bytes]:
    process = fleet.service
    assert process is not None
    return [fold.sum_hash for fold in process.store.models.folds("watch")]


def test_rounds_of_a_fleet(tmp_path: Path) -> None:
    fleet = make(tmp_path / "fleet")
    assert fleet.run(fleet.over)
    weight = DEVICES * 8  # windows
    assert fleet.rounds() == [RoundReport("watch", n, DEVICES, weight) for n in (1, 2, 3)]
    fleet.run(lambda: False, limit_s=30)  # receipts arrive
    fleet.close()
    store = Store(tmp_path / "fleet" / "device-0", read_only=True)
    assert [receipt.verdict for receipt in store.spool.receipts()] == [Verdict.ACCEPTED] * 3
    store.close()


def test_same_seed_same_sums(tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fleet = make(tmp_path / name, seed)
        assert fleet.run(fleet.over)
        found.append((history(fleet), fleet.world.now_us, fleet.world.events))
        fleet.close()
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]


def test_aggregator_killed_in_every_second_goes_on_from_its_disk(tmp_path: Path) -> None:
    fleet = make(tmp_path / "fleet")
    for _ in range(5):
        fleet.run(lambda: False, limit_s=1)
        fleet.aggregator.crash(reboot=True, again_s=0.5)
    assert fleet.run(fleet.over)
    assert [report.members for report in fleet.rounds()] == [DEVICES] * 3
    fleet.close()
