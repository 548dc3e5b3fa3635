"""`fedling-broker export` and `task add --start`: their words, JSON, files and exit codes."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from fedling_broker.onnx.compare import Agreement
from fedling_broker.store.models import STATISTICS, Fold
from fedling_broker.tasks import task_file
from fedling_protocol.exits import Exit
from fedling_protocol.wire import digest
from fedling_protocol.wire.messages import Scale
from tests.broker.conftest import Here
from tests.broker.onnx_cases import FILES, Part, graph
from tests.support.rounds_on_disk import TEXT, run_round

WATCH = """
[task]
name = "watch"
stream = "wrist"
window = 40
stride = 20
channels = 6
labels = ["rest", "wave", "turn"]
[model]
layers = [
  { conv = 8, kernel = 9, stride = 2 }, { conv = 5, kernel = 5, stride = 2 }, "average_pool", 3,
]
[training]
epochs = 1
batch = 4
learning_rate = 0.1
[cohort]
goal = 3
"""


FLAT = re.sub(r"layers = .*?^\]", "layers = [3]", WATCH, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def watch(here: Here) -> Here:
    """With a task file, and PyTorch's models beside it."""
    (here.directory / "watch.toml").write_text(WATCH)
    for path in FILES.iterdir():
        shutil.copy(path, here.directory)
    return here


# --- export --------------------------------------------------------------------------------------


def test_export_writes_an_exact_file_that_onnxruntime_agrees_with(watch: Here) -> None:
    watch("task", "add", "watch.toml")
    said = watch("export", "watch", "--onnx", "watch.onnx", "--check", "200")
    assert said.startswith("watch.onnx: model 1 of task watch, exact, ")
    assert "200 random examples, onnxruntime beside the kernel: every number is the same" in said
    model = onnx.load("watch.onnx")
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["task"], metadata["version"]) == ("watch", "1")
    assert json.loads(metadata["labels"]) == ["rest", "wave", "turn"]
    assert metadata["model_hash"] == watch.json("model", "list", "watch")[0]["model_hash"]


def test_export_float_tells_how_near_it_is(watch: Here) -> None:
    watch("task", "add", "watch.toml")
    found = watch.json("export", "watch", "--onnx", "f.onnx", "--float", "--check", "100")
    assert (found["file"], found["arithmetic"], found["version"]) == ("f.onnx", "float32", 1)
    assert found["bytes"] == Path("f.onnx").stat().st_size
    assert found["agreement"]["examples"] == 100
    assert found["agreement"]["labels"] >= 95
    assert "labels are the same; where they differ" in watch(
        "export", "watch", "--onnx", "f.onnx", "--float", "--check", "100"
    )


def test_export_takes_the_newest_version_or_the_one_asked_for(here: Here) -> None:
    here.add_task()
    store = here.store()
    run_round(store, 1)
    store.close()
    assert here.json("export", "tiny", "--onnx", "x.onnx")["version"] == 2
    assert here.json("export", "tiny", "--onnx", "x.onnx", "--version", "1")["version"] == 1
    said = here("export", "tiny", "--onnx", "y.onnx", "--version", "3", code=Exit.NOT_FOUND)
    assert "task tiny has no model 3" in said
    here("export", "none", "--onnx", "y.onnx", code=Exit.NOT_FOUND)
    assert not Path("y.onnx").exists()


def test_export_of_a_file_that_is_not_exact_is_refused(
    watch: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch("task", "add", "watch.toml")
    monkeypatch.setattr(
        "fedling_broker.onnx.compare.compare_exact", lambda *_: Agreement(5, 5, 4, 0.0)
    )
    said = watch("export", "watch", "--onnx", "x.onnx", "--check", "5", code=Exit.FAILED)
    assert "x.onnx: not written: onnxruntime computes 1 of 5 random examples otherwise" in said
    assert not Path("x.onnx").exists()


def test_without_the_packages_the_error_says_what_to_install(
    watch: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch("task", "add", "watch.toml")
    monkeypatch.setattr("fedling_broker.onnx.PACKAGES", ("onnx", "no_such_package"))
    expected = "needs no_such_package: pip install 'fedling-broker[onnx]'"
    assert expected in watch("export", "watch", "--onnx", "x.onnx", code=Exit.FAILED)
    start = ("--start", "watch_new.onnx")
    assert expected in watch("task", "check", "watch.toml", *start, code=Exit.FAILED)
    watch("task", "check", "watch.toml")  # that needs none of it


# --- import --------------------------------------------------------------------------------------


def test_task_add_start_begins_with_the_model(watch: Here) -> None:
    found = watch.json("task", "add", "watch.toml", "--start", "watch_new.onnx")
    assert (found["task"], found["parameters"]) == ("watch", 663)
    assert (found["start"], len(found["layers"])) == ("watch_new.onnx", 3)
    first = found["layers"][0]
    assert (first["layer"], first["kind"], first["node"]) == (1, "conv", "node_Conv_17")
    assert 0 < first["rms_error"] < 0.02 * first["rms"]
    assert (first["w_exp"], first["saturated"]) == (-8, 0)
    assert watch.json("round", "verify", "watch")["faults"] == 0


def test_task_check_start_tells_what_changes_and_adds_nothing(watch: Here) -> None:
    said = watch("task", "check", "watch.toml", "--start", "watch_old.onnx")
    assert said.splitlines()[1].split() == [
        "layer", "kind", "node", "w_exp", "largest", "rms", "rms_error", "rms_error_master",
        "bias_error", "saturated",
    ]  # fmt: skip
    assert said.splitlines()[2].split()[:5] == ["1", "conv", "/0/Conv", "-8", "0.129"]
    assert "watch.toml: task watch is sound" in said
    assert watch.json("task", "list") == []


def test_task_add_start_with_a_model_that_does_not_fit_adds_nothing(watch: Here) -> None:
    said = watch("task", "add", "watch.toml", "--start", "leaky_new.onnx", code=Exit.FAILED)
    assert "leaky_new.onnx: its input 'input' has the shape [N, 12]: allowed by the task: " in said
    Path("watch.toml").write_text(WATCH.replace("conv = 5, kernel = 5", "conv = 5, kernel = 4"))
    said = watch("task", "add", "watch.toml", "--start", "watch_new.onnx", code=Exit.FAILED)
    assert "node 'node_conv1d_1' (Conv): is conv 1x16x8 -> 5 channels, kernel 1x5, stride" in said
    assert "layer 2 of the task is conv 1x16x8 -> 5 channels, kernel 1x4" in said
    missing = watch("task", "add", "watch.toml", "--start", "none.onnx", code=Exit.NOT_FOUND)
    assert "none.onnx: there is no such file" in missing
    assert watch.json("task", "list") == []


def test_task_check_start_says_in_which_order_it_read_the_input(watch: Here) -> None:
    said = watch("task", "check", "watch.toml", "--start", "watch_old.onnx")
    assert "first model: watch_old.onnx, its input read channels-first, rounded" in said
    assert "the other order" not in said
    Path("flat.toml").write_text(FLAT)
    weights = {"first": np.random.default_rng(1).normal(0, 0.3, (240, 3))}
    Path("flat.onnx").write_bytes(
        graph([("MatMul", ["", "first"], {})], [240], **weights).SerializeToString()
    )
    start = ("task", "check", "flat.toml", "--start", "flat.onnx")
    found = watch.json(*start)
    assert (found["input_order"], found["input_order_is_sure"]) == ("channels-last", False)
    assert "flat.onnx: the other order fits as well and gives another model" in watch(*start)
    sure = watch.json(*start, "--input-order", "channels-first")
    assert (sure["input_order"], sure["input_order_is_sure"]) == ("channels-first", True)


def test_a_float_export_starts_another_task(watch: Here) -> None:
    """From fleet to fleet: the float file holds what the kernel multiplies with."""
    watch("task", "add", "watch.toml", "--start", "watch_new.onnx")
    watch("export", "watch", "--onnx", "f.onnx", "--float")
    Path("other.toml").write_text(WATCH.replace('"watch"', '"other"'))
    layers = watch.json("task", "add", "other.toml", "--start", "f.onnx")["layers"]
    assert [layer["rms_error"] for layer in layers] == [0, 0, 0]


def test_an_exact_export_cannot_start_a_task(watch: Here) -> None:
    watch("task", "add", "watch.toml")
    watch("export", "watch", "--onnx", "x.onnx")
    said = watch("task", "check", "watch.toml", "--start", "x.onnx", code=Exit.FAILED)
    assert "x.onnx: its input 'x' is not of type float or double" in said


def test_rounds_go_on_from_an_imported_model(here: Here) -> None:
    parts: list[Part] = [("MatMul", ["", "a"], {}), ("Relu", [""], {}), ("MatMul", ["", "b"], {})]
    model = graph(parts, [8], a=np.eye(8)[:, :5] / 2, b=np.ones((5, 2)))
    Path("tiny.onnx").write_bytes(model.SerializeToString())
    Path("tiny.toml").write_text(TEXT)
    here("task", "add", "tiny.toml", "--start", "tiny.onnx")
    store = here.store()
    run_round(store, 1)
    run_round(store, 2, keep=True)
    store.close()
    found = here.json("round", "verify", "tiny")
    assert (found["faults"], [x["version"] for x in found["models"]]) == (0, [1, 2, 3])


def test_verify_finds_an_imported_model_that_is_lost_or_another(watch: Here) -> None:
    watch("task", "add", "watch.toml", "--start", "watch_new.onnx")
    (row,) = watch.json("model", "list", "watch")
    path = Path("broker-state/models") / row["model_hash"]
    weights = path.read_bytes()
    path.write_bytes(bytes(np.frombuffer(weights, np.uint8) ^ 1))
    said = watch("round", "verify", "watch", code=Exit.FAILED)
    assert "the first model was imported: " in said
    assert "its bytes have another hash than its name" in said
    path.unlink()
    assert "is missing" in watch("round", "verify", "watch", code=Exit.FAILED)
    path.write_bytes(weights)
    store = watch.store()
    with store.database.transaction("a change") as connection:
        connection.execute("UPDATE tasks SET imported = NULL")
    store.close()
    assert "another model was published" in watch("round", "verify", "watch", code=Exit.FAILED)


def test_export_has_the_scale_of_a_fleet(watch: Here) -> None:
    """Who runs the graph elsewhere makes its inputs with it."""
    watch("task", "add", "watch.toml")
    watch("export", "watch", "--onnx", "before.onnx")
    scale = tuple(Scale(n, 128 + n, 7) for n in range(6))
    store = watch.store()
    spec = task_file.parse_task(WATCH, "watch.toml").spec
    first = store.models.newest("watch")
    scaled = replace(first, version=2, scale=scale)
    weights = store.models.bytes_of(first, spec)
    named = digest.model_hash(scaled.spec(spec), scaled.exponents, weights)
    store.models.weights.put(weights, named)
    fold = Fold(0, b"", 0, STATISTICS, "{}", 2, named, store.models.newest_state("watch"))
    store.models.enter("watch", fold, replace(scaled, model_hash=named))
    store.close()
    watch("export", "watch", "--onnx", "after.onnx")
    for file, expected in (("before.onnx", None), ("after.onnx", [list(one) for one in scale])):
        metadata = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
        assert json.loads(metadata.get("scale", "null")) == expected
        assert metadata["normalise"] == "fleet"
