"""A whole federation whose updates are coded: it learns, is verified, and can be played again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedling_agent.store import identity
from fedling_agent.store.store import Store as DeviceStore
from fedling_agent.training.replay import replay
from fedling_broker.service.running_sum import opened
from fedling_broker.store.store import Store
from fedling_native import coded
from fedling_protocol.wire import digest
from fedling_protocol.wire.codecs import Codec
from fedling_sim import run
from fedling_sim.federation import FLEET
from fedling_sim.progress import Silence
from fedling_sim.record import Record
from tests.support import small_task
from tests.support.tools import need

pytestmark = pytest.mark.first

TARGET, DEVICES, ROUNDS, GOAL = 150, 5, 6, 4
RAW = 2 * (20 * 16 + 16 * 3) + 4 * (16 + 3)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    need("mosquitto")
    directory = tmp_path_factory.mktemp("coded")
    file = small_task.write(directory, devices=DEVICES, rounds=ROUNDS, goal=GOAL)
    file.write_text(file.read_text() + f"[compression]\ntarget_bytes = {TARGET}\n")
    scenario, data = run.prepare(file, 7, None, None)
    return run.run(scenario, data, directory / "run", Silence()), directory / "run"


def aggregator(directory: Path) -> Path:
    (state,) = {path.parent for path in directory.rglob("fedling-broker.sqlite")}
    return state


def test_it_learns_and_every_sum_is_made_again_from_the_updates(
    played: tuple[Record, Path],
) -> None:
    record, _ = played
    assert record.faults == []
    assert record.last_accuracy is not None
    assert record.last_accuracy > 0.85
    assert record.verified_well
    assert f"{ROUNDS} of them from the devices' updates" in record.verified
    assert record.bytes_an_update < TARGET + 250 < RAW


def test_each_update_is_read_by_its_own_seed_and_played_again(
    played: tuple[Record, Path],
) -> None:
    """What `replay` compares is the vector before it was coded."""
    _, directory = played
    store = Store(aggregator(directory))
    devices = {}
    for path in directory.rglob(identity.SECRET_FILE):
        me = identity.load(path.parent)
        assert me is not None
        devices[me.device] = path.parent, me.secret
    seen = 0
    for plan in store.rounds.plans("tiny"):
        assert (plan.codec, plan.target) == (Codec.CODED, TARGET)
        for member in store.rounds.members("tiny", plan.plan_id):
            update = opened(store.rounds.update(plan.plan_id, member))
            seed = digest.codec_seed(plan.plan_id, member.device)
            row = store.models.find("tiny", plan.base_version)
            assert row is not None
            where, secret = devices[member.device]
            own = DeviceStore(where, read_only=True)
            assert replay(own, FLEET, secret, plan.plan_id).same
            layers = own.plans.find(plan.plan_id).plan.spec.layers  # type: ignore[union-attr]
            own.close()
            coded.decode(layers, row.exponents, update.vector, TARGET, seed)
            assert len(update.vector) < 1.3 * TARGET
            seen += 1
    store.close()
    assert seen >= GOAL * ROUNDS


def test_round_show_and_counters_tell_what_updates_cost(played: tuple[Record, Path]) -> None:
    _, directory = played
    state = aggregator(directory)
    store = Store(state)
    plan = store.rounds.plans("tiny")[-1]
    size = sum(row.size for row in store.rounds.decisions("tiny", plan.plan_id))
    counters = store.ledger.counters()
    store.close()
    assert counters["bytes received: update"] >= size
    assert counters["bytes sent: model"] > 0
    config = next(state.parent.rglob("broker.toml"), None) or next(directory.rglob("broker.toml"))
    command = [sys.executable, "-m", "fedling_broker", "round", "show", "tiny", str(plan.round)]
    command += ["--config", str(config), "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    shown: dict[str, Any] = json.loads(said.stdout)
    assert (shown["target"], shown["bytes"]) == (TARGET, size)
