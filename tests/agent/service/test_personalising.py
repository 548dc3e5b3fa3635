"""A personal model: made behind every round, kept if it is better, never sent."""

from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.commands import predict as command
from fedling_agent.commands import status
from fedling_agent.conditions.condition import LONGEST_LEASE_S
from fedling_agent.service import operations, report
from fedling_agent.service.control import Json, Peer, RequestFailed
from fedling_agent.service.desk import Desk
from fedling_agent.service.personalising import LOOK_S, REST_S
from fedling_agent.service.predict import Predictor
from fedling_agent.training.job import Job
from fedling_agent.training.local_sgd import LocalSgd
from fedling_agent.training.process import Asked, Step
from fedling_native import Net, dense
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Moment, Plan, PlanKind, Rest, Verdict
from fedling_sim.world import Weather
from tests.support.device import (
    SPEC,
    STREAM,
    TRAINING,
    csv_lines,
    hash_of,
    make_model,
    make_plan,
    parse,
)
from tests.support.service import GOOD, ID, TOPICS, HandProcess, HandService, examine

UNPLUGGED = Weather(mains=False, battery=5, temperature=40, network=True)
WINDOW = [f"{x},0\n" for x in ("1.0", "0.8", "1.2", "0.9", "1.1") * 2]


def switch(device: HandService, *, on: bool) -> None:
    """Another start with another agent.toml."""
    training = replace(device.config.training, personal=on)
    device.config = replace(device.config, training=training)
    device.crash()
    device.connect()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[HandService]:
    """Its owner wants personal models; it is connected, and nothing has happened yet."""
    device = HandService(tmp_path)
    switch(device, on=True)
    yield device
    device.close()


def personal_child(device: HandService) -> HandProcess:
    """The child that makes a personal model, once it runs."""

    def found() -> list[HandProcess]:
        last = [] if device.service.slot.free else device.children[-1:]
        return [one for one in last if one.job.recipe.personal and one.did[-1:] == ["start"]]

    for _ in range(3):
        device.settle(found)
        if running := found():
            return running[0]
        device.clock.move(LOOK_S)
    raise AssertionError(device.runner.personal.doing)


def none_begins(device: HandService, seconds: float = 3 * LOOK_S) -> bool:
    before = len(device.children)
    device.clock.move(seconds)
    device.settle()
    return len(device.children) == before


def trained(job: Job) -> bytes:
    """What the child would make."""
    with job.examples() as examples:
        run = LocalSgd(job.recipe, job.base(), examples)
        while not run.finished:
            run.step()
        weights = run.weights()
        run.close()
    return weights


def offer(device: HandService, number: int = 1) -> None:
    device.offer(number, model=make_model(number, seed=2))


def round_comes(device: HandService) -> tuple[HandProcess, Plan]:
    """While a personal model is made: the child that stopped for it, and the round's plan."""
    child = personal_child(device)
    plan = device.offer(2, model=make_model(1, seed=2))
    device.go(plan)
    device.settle(lambda: child.did[-1] == "stop")
    child.exit(0)
    device.settle(lambda: not device.children[-1].job.recipe.personal)
    return child, plan


def make(device: HandService, number: int = 1) -> bytes:
    """The fleet's model, and a personal one that is better; its weights."""
    offer(device, number)
    child = personal_child(device)
    weights = trained(child.job)
    child.finish(weights)
    device.settle(lambda: device.store.personal.last("watch"))
    device.clock.settle()
    return weights


def answer(device: HandService) -> Json:
    predictor = Predictor(device.store)
    streams = {"wrist": STREAM}
    lines = ["x,y\n", *WINDOW]
    return finish(operations.predict(device.store, predictor, streams, "watch", lines, "csv"))


def told(device: HandService) -> dict[str, int]:
    facts = report.of_task(device.store, "watch")["personal"]
    assert isinstance(facts, dict)
    return facts


def files(device: HandService) -> list[str]:
    return sorted(path.name for path in device.store.personal.directory.iterdir())


def test_a_better_one_answers_from_now_on(device: HandService) -> None:
    weights = make(device)
    (child,) = device.children
    recipe = child.job.recipe
    assert (recipe.training.epochs, recipe.count, recipe.tests) == (20, 2 * 33, 2 * 11)
    facts = told(device)
    assert facts["in_use"] is True
    assert (facts["model"], facts["windows"], facts["examples"]) == (1, 22, 66)
    assert facts["right"] >= facts["fleets_right"] + 2
    said = answer(device)
    assert (said["model"], said["personal"]) == (1, True)
    net = Net(SPEC.layers, recipe.exponents, weights)
    counts = array("h", (round(float(v) * 1000) for line in WINDOW for v in line.split(",")))
    expected = net.predict(recipe.normaliser.apply(counts))
    assert said["label"] == SPEC.labels[expected.label]
    assert said["probabilities"] == {
        label: share / 2**15 for label, share in zip(SPEC.labels, expected.outputs, strict=True)
    }
    assert len(files(device)) == 1
    assert files(device)[0].endswith(".model")


def test_people_are_told_which_model_answers(device: HandService) -> None:
    make(device)
    assert "; personal, from model 1)" in command._sentence(dict(answer(device)), None)
    facts = report.of_store(device.store, None, "today")
    lines = dict(status.pairs(facts | {"doing": "", "streams": {}, "source": "store"}))
    right, fleets = told(device)["right"], told(device)["fleets_right"]
    assert lines["  personal"] == (
        f"in use, from model 1: {round(100 * right / 22)} % of 22 windows, "
        f"the fleet's {round(100 * fleets / 22)} %"
    )
    doing = report.of_live(device.runner, None, device.clock.now())["personal_doing"]
    assert doing == "made of the newest model and of what is here"


def test_nothing_of_it_is_sent(device: HandService) -> None:
    offer(device)
    personal_child(device)
    before = len(device.link.published)
    weights = trained(device.children[0].job)
    device.children[0].finish(weights)
    device.settle()
    device.clock.move(REST_S / 2)
    assert told(device)["in_use"]
    assert not any(weights[:64] in one.payload for one in device.link.published)
    assert {one.topic for one in device.link.published[before:]} <= {
        TOPICS.of(Kind.STATE, ID),
        TOPICS.of(Kind.JOIN, "watch", ID),
    }


def test_without_the_owner_s_word_nothing_is_made(device: HandService) -> None:
    switch(device, on=False)
    offer(device)
    assert none_begins(device, REST_S)
    assert device.runner.personal.doing == ""


def test_switched_off_again_nothing_of_it_stays(device: HandService) -> None:
    make(device)
    switch(device, on=False)
    device.settle()
    assert report.of_task(device.store, "watch")["personal"] is None
    assert files(device) == []
    assert answer(device)["personal"] is False


def test_one_that_is_no_better_is_not_used(device: HandService) -> None:
    offer(device)
    personal_child(device).finish()  # with the weights of the fleet's
    device.settle(lambda: device.store.personal.last("watch"))
    assert (told(device)["in_use"], told(device)["right"]) == (False, told(device)["fleets_right"])
    assert answer(device)["personal"] is False
    assert files(device) == []
    assert none_begins(device, 2 * REST_S)  # of the same model and the same examples


def test_a_round_comes_first_and_then_it_goes_on(device: HandService) -> None:
    offer(device)
    child, _ = round_comes(device)
    round_, again = device.children[-1], child.job.plan_id
    assert none_begins(device, 1.5 * LOOK_S)
    round_.finish()
    assert personal_child(device).job.plan_id == again


def test_it_pauses_when_conditions_go_and_goes_on_when_they_come(device: HandService) -> None:
    offer(device)
    child = personal_child(device)
    child.say(Asked())
    device.clock.move(1.0)
    lease_s = child.did[-1]
    assert isinstance(lease_s, float)
    assert 0 < lease_s <= LONGEST_LEASE_S
    device.world.show(UNPLUGGED)
    child.say(Asked())
    device.clock.move(1.0)
    assert child.did[-1:] == ["stop"]
    child.exit(0)
    assert none_begins(device)
    device.world.show(GOOD)
    device.clock.move(600)
    assert personal_child(device).job.plan_id == child.job.plan_id


def test_people_are_told_how_far_it_has_come(device: HandService) -> None:
    offer(device)
    child, personal = personal_child(device), device.runner.personal
    child.say(Step(3, child.job.total_steps))
    assert personal.doing == f"being made at batch 3 of {child.job.total_steps}"
    device.world.show(UNPLUGGED)
    child.say(Asked())
    device.clock.move(1.0)
    assert child.did[-1:] == ["stop"]
    child.exit(0)
    device.settle()
    assert personal.doing == f"paused at batch 3 of {child.job.total_steps}"


def test_after_a_crash_it_goes_on_with_the_same_job(device: HandService) -> None:
    offer(device)
    before = personal_child(device)
    (job,) = files(device)
    written = (device.store.personal.directory / job / "job").stat().st_ino
    device.crash()
    device.connect()
    offer(device)
    child = personal_child(device)
    assert child is not before
    assert child.job.recipe == before.job.recipe
    assert (child.job.directory / "job").stat().st_ino == written  # it was not made anew


def test_after_a_try_it_rests_and_until_then_the_one_before_answers(device: HandService) -> None:
    make(device)
    rests = make_model(2, seed=5)
    device.offer(2, model=rests)
    assert device.store.models.newest("watch").version == 2  # type: ignore[union-attr]
    assert none_begins(device, REST_S - 200)
    assert answer(device)["model"] == 1
    device.clock.move(200)
    child = personal_child(device)
    child.finish(trained(child.job))
    device.settle(lambda: told(device)["model"] == 2)
    assert answer(device)["model"] == told(device)["model"] == 2
    assert len(files(device)) == 1


def test_new_examples_make_it_anew_when_they_are_a_quarter(device: HandService) -> None:
    make(device)
    device.clock.move(REST_S)
    for prefix in "no":  # 60 samples each; 66 windows, one every 5 samples, trained it
        assert none_begins(device)
        lines = csv_lines(1, 60, prefix=prefix)
        done = device.store.recordings.ingest(STREAM, parse(lines), 1000)
        device.service.runners.examples_changed(done.changes)
    assert personal_child(device).job.recipe.count > 66


@pytest.mark.parametrize("damage", ["zeroed", "short", "gone"])
def test_a_damaged_one_falls_back_to_the_fleet_s_and_is_made_again(
    device: HandService, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    weights = make(device)
    path = device.store.personal.directory / files(device)[0]
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(len(weights)) if damage == "zeroed" else weights[:-1])
    assert answer(device)["personal"] is False
    said = [m for m in caplog.messages if m.endswith("; the fleet's model answers")]
    assert len(said) == (damage != "gone")  # else it is known without a look into it
    assert report.of_task(device.store, "watch")["personal"] is None
    device.clock.move(REST_S)
    device.runner.look()
    child = personal_child(device)
    child.finish(trained(child.job))
    device.settle(lambda: device.store.personal.last("watch"))
    assert answer(device)["personal"] is True


def test_other_layers_fall_back_to_the_fleet_s(device: HandService) -> None:
    make(device)
    spec = replace(SPEC, layers=(dense(20, 8, relu=True), dense(8, 2)))
    other = make_model(2, spec=spec)
    device.store.models.put(other)
    device.store.remember("watch", make_plan(other, 2))
    assert (answer(device)["model"], answer(device)["personal"]) == (2, False)
    assert told(device)["in_use"] is False


def test_a_task_that_is_removed_takes_it_along(device: HandService) -> None:
    make(device)
    device.store.forget("watch", 0)
    assert files(device) == []
    assert device.store.personal.last("watch") is None


def test_a_task_that_had_the_name_takes_it_along(device: HandService) -> None:
    make(device)
    model = make_model(1, seed=9)
    rest = Rest(model.version, b"h" * 32, model.spec, 100, 0, generation=1)
    assert rest.moment > Moment(0, 0, 9, True)
    device.store.remember("watch", rest)
    assert device.store.personal.last("watch") is None
    assert files(device) == []


def test_of_a_task_that_had_the_name_none_is_kept(device: HandService) -> None:
    offer(device)
    child = personal_child(device)
    again = replace(make_plan(make_model(1, seed=2), 2), generation=1)
    device.hear(TOPICS.of(Kind.PLAN, "watch", again.kind), again)
    child.finish(trained(child.job))
    device.settle()
    assert device.store.personal.last("watch") is None
    assert files(device) == []


@pytest.mark.parametrize("why", ["fails", "chooses on nothing"])
def test_one_that_fails_again_and_again_rests_and_is_begun_anew(
    device: HandService, why: str
) -> None:
    offer(device)
    child = personal_child(device)
    (job,) = files(device)
    written = (device.store.personal.directory / job / "job").stat().st_ino
    if why == "fails":
        for _ in range(3):
            device.children[-1].exit(1)
            device.clock.move(10)
    else:
        (child.job.directory / "tests").unlink()
        child.job.write_result(child.job.base(), 0)
        child.exit(0)
    device.settle(lambda: not files(device))
    assert device.runner.personal.doing == "the last try was less than an hour ago"
    assert device.phase != "Idle"  # rounds go on
    device.clock.move(REST_S)
    again = personal_child(device)
    assert (again.job.directory / "job").stat().st_ino != written or again.job is not child.job


def test_after_a_try_that_failed_the_next_waits_for_nothing_but_the_rest(
    device: HandService,
) -> None:
    """No round goes on, and no message comes: nobody else would have it looked at."""
    offer(device)
    personal_child(device)
    last = make_model(2, seed=3)
    rest = Rest(2, hash_of(last), SPEC, 1000, 3 * 3600)
    device.hear(TOPICS.of(Kind.PLAN, "watch", PlanKind.TRAIN), rest)
    device.hear(TOPICS.of(Kind.MODEL, "watch", 2), last)
    for _ in range(3):
        device.children[-1].exit(1)
        device.clock.move(10)
    device.settle(lambda: not files(device))
    assert device.phase == "Idle"
    device.clock.move(REST_S + LOOK_S)
    assert personal_child(device).did == ["start"]


def forget(device: HandService) -> list[Json | RequestFailed]:
    answers: list[Json | RequestFailed] = []
    request: Json = {"do": "forget", "stream": "wrist", "recordings": ["r0"]}
    Desk(device.service).handle(request, Peer(), answers.append)
    device.settle(lambda: answers)
    return answers


def test_what_is_forgotten_takes_it_along(device: HandService) -> None:
    make(device)
    assert forget(device) == [{"forgotten": 1}]
    assert device.store.personal.last("watch") is None
    assert files(device) == []


def test_what_is_forgotten_ends_one_that_is_being_made(device: HandService) -> None:
    offer(device)
    child = personal_child(device)
    assert forget(device) == [{"forgotten": 1}]
    assert child.did[-1] == "kill"
    assert files(device) == []
    device.clock.move(LOOK_S)
    again = personal_child(device)
    assert again.job.plan_id != child.job.plan_id
    assert again.job.recipe.count < child.job.recipe.count


def test_what_is_forgotten_while_it_is_written_ends_it(device: HandService) -> None:
    device.disk.waits = True
    offer(device)
    device.clock.move(LOOK_S)
    while not files(device) and device.disk.waiting:
        device.disk.go(1)
        device.settle()
    device.disk.waits = False
    device.disk.go()
    forget(device)
    assert files(device) == []


def test_no_job_without_every_label(device: HandService) -> None:
    device.store.recordings.relabel("wrist", "r0", 0, 119, "down")
    for name in ("r1", "r2", "r3"):
        device.store.recordings.relabel("wrist", name, 0, 119, None)
    offer(device)
    assert none_begins(device)
    assert device.runner.personal.doing == "too few examples of a label"


def test_windows_that_are_held_out_of_rounds_train_none(device: HandService) -> None:
    held = replace(TRAINING, holdout=300, holdout_block=20)
    device.offer(1, model=make_model(1), training=held)
    child = personal_child(device)
    assert child.job.recipe.count + child.job.recipe.tests < 80


# --- when it is looked at, and when no more ------------------------------------------------------


def fail(device: HandService) -> None:
    """The child ends badly, again and again."""
    for _ in range(3):
        device.children[-1].exit(1)
        device.clock.move(10)
    device.settle(lambda: not files(device))


def test_rest_is_as_long_as_it_says_after_any_end(device: HandService) -> None:
    offer(device)
    personal_child(device)
    for _ in range(2):
        fail(device)
        rested = device.runner.personal._rest_until
        assert rested - REST_S <= device.clock.now() < rested
        device.clock.move_to(rested - 1)
        device.settle()
        assert device.runner.personal.doing == "the last try was less than an hour ago"
        device.clock.move(2)
        device.settle(lambda: not device.service.slot.free)
        assert device.children[-1].job.recipe.personal


def test_conditions_are_read_for_it_once_at_a_time(device: HandService) -> None:
    """Each step of a session looks; a slow sensor is asked once."""
    offer(device)
    personal_child(device)
    fail(device)
    device.clock.move(REST_S - 30)
    device.sensors.waits = True
    device.clock.move(60)
    waiting = device.sensors.waiting
    for _ in range(5):
        device.runner.personal.look()
        device.clock.settle()
    assert device.sensors.waiting == waiting
    device.sensors.waits = False
    device.sensors.go()


def test_without_a_plan_at_hand_the_last_one_that_was_trained_says_how(device: HandService) -> None:
    """After a restart, before anything is heard; a plan of statistics says nothing of it."""
    offer(device)
    _, plan = round_comes(device)
    device.children[-1].finish()
    device.settle(lambda: device.updates)
    device.receipt(plan, device.updates[-1][1], Verdict.ACCEPTED)
    device.settle()
    device.crash()
    runner = device.service.runners.find("watch") or device.service.runners._begin("watch")
    assert runner is not None
    runner.plan = None
    found = runner.personal._last_plan()
    assert found is not None
    assert found.plan_id == plan.plan_id
    runner.plan = replace(plan, plan_id=b"s" * 16, training=replace(TRAINING, epochs=0))
    found = runner.personal._last_plan()
    assert found is not None
    assert found.plan_id == plan.plan_id


def test_job_that_was_done_when_the_power_went_is_not_trained_again(device: HandService) -> None:
    offer(device)
    child = personal_child(device)
    weights = trained(child.job)
    process_examine(child, weights)
    device.crash()
    device.connect()
    offer(device)
    device.clock.move(2 * LOOK_S)
    device.settle(lambda: device.store.personal.last("watch"))
    assert told(device)["in_use"]
    assert [one.job.recipe.personal for one in device.children] == [True]


def process_examine(child: HandProcess, weights: bytes) -> None:
    """The child writes its result, and nobody hears of its end."""
    examine(child.job, child.job.base(), weights)
    child.job.write_result(weights, 0)


def test_what_is_stored_is_not_trained_or_made_again_meanwhile(device: HandService) -> None:
    offer(device)
    child = personal_child(device)
    device.disk.waits = True
    child.finish(trained(child.job))
    device.clock.settle()
    assert device.runner.personal.doing == "is stored"
    for _ in range(3):
        device.runner.personal.look()
        device.clock.move(LOOK_S)
    assert len(device.children) == 1
    device.disk.waits = False
    device.disk.go()
    device.settle(lambda: device.store.personal.last("watch"))


def test_fault_in_making_it_is_that_of_the_task(
    device: HandService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any other; what is not there, or does not suit, is no fault."""

    def broken(*_: object) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(device.store.personal, "put", broken)
    offer(device)
    child = personal_child(device)
    child.finish(trained(child.job))
    device.settle()
    assert "planted" in device.service.runners.halts.halted["watch"].says


def test_people_hear_what_came_of_it(device: HandService, caplog: pytest.LogCaptureFixture) -> None:
    make(device)
    own = told(device)
    assert [m for m in caplog.messages if "personal model" in m] == [
        f"watch: a personal model from model 1: {own['right']} of {own['windows']} windows right, "
        f"the fleet's {own['fleets_right']}; it answers from now on"
    ]
    device.clock.move(REST_S)
    device.offer(2, model=make_model(2, seed=5))
    personal_child(device)
    fail(device)
    (said,) = [m for m in caplog.messages if "no personal model" in m]
    assert said.startswith("watch: no personal model: ")


def test_disk_that_refuses_its_child_stops_all_and_is_named(
    device: HandService, caplog: pytest.LogCaptureFixture
) -> None:
    offer(device)
    personal_child(device).exit(Exit.CANNOT_WRITE)
    device.settle(lambda: device.service.stall)
    assert device.service.stall is not None
    assert "cannot write the personal model: the disk refuses" in caplog.text
