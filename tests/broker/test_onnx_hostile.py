"""Files that are damaged, or made by someone who wants to harm: a clear error, never a crash."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import (
    AttributeProto,
    ModelProto,
    StringStringEntryProto,
    TensorProto,
    helper,
    numpy_helper,
)

from fedling_broker.onnx import OnnxError
from fedling_broker.onnx.importer import import_model
from fedling_broker.onnx.reader import MAX_NODES
from fedling_protocol.wire.messages import TaskSpec
from tests.broker.onnx_cases import DENSE, FILES, FIRST, PLAIN, TASKS, graph, layers_of, spec_of

NAMES = sorted(path.stem for path in FILES.glob("*.onnx"))
ODD = st.sampled_from([-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 255, 2**31, 2**63 - 1])


def survives(data: bytes, directory: Path, spec: TaskSpec) -> bool:
    """Whether the file is a model; anything but OnnxError is a bug."""
    path = directory / "damaged.onnx"
    path.write_bytes(data)
    said = ""
    try:
        import_model(path, spec)
    except OnnxError as error:
        said = str(error)
    assert said == "" or said.startswith(f"{path}: ")
    assert said.isprintable()
    return said == ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the weights that the files have beside them."""
    directory = tmp_path_factory.mktemp("hostile")
    for path in FILES.glob("*.data"):
        shutil.copy(path, directory)
    return directory


@settings(max_examples=250)
@given(st.sampled_from(NAMES), st.data())
def test_flipped_bits_give_a_clear_error(folder: Path, name: str, data: st.DataObject) -> None:
    damaged = bytearray((FILES / f"{name}.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, 8 * len(damaged) - 1))
        damaged[place // 8] ^= 1 << place % 8
    survives(bytes(damaged), folder, TASKS[name.split("_")[0]])


@settings(max_examples=100)
@given(st.sampled_from(NAMES), st.floats(0, 1, exclude_max=True))
def test_truncated_files_give_a_clear_error(folder: Path, name: str, part: float) -> None:
    whole = (FILES / f"{name}.onnx").read_bytes()
    assert not survives(whole[: int(part * len(whole))], folder, TASKS[name.split("_")[0]])


@pytest.mark.parametrize("name", NAMES)
def test_file_that_lost_its_last_field_gives_a_clear_error(folder: Path, name: str) -> None:
    """That is opset_import: what is before it is a model whose operators could mean anything."""
    model = ModelProto()
    model.ParseFromString((FILES / f"{name}.onnx").read_bytes())
    model.ClearField("opset_import")
    assert not survives(model.SerializeToString(), folder, TASKS[name.split("_")[0]])


@settings(max_examples=300)
@given(st.sampled_from(NAMES), st.data())
def test_well_formed_nonsense_gives_a_clear_error(
    folder: Path, name: str, data: st.DataObject
) -> None:
    """Fields that a parser accepts: other numbers, names, shapes, types, operators, orders."""
    model = ModelProto.FromString((FILES / f"{name}.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        data.draw(st.sampled_from(SPOILERS))(model, data)
    survives(model.SerializeToString(), folder, TASKS[name.split("_")[0]])


def spoil_attribute(model: ModelProto, data: st.DataObject) -> None:
    node = data.draw(st.sampled_from(list(model.graph.node)))
    if not node.attribute:
        node.attribute.add(name="axes", type=AttributeProto.INTS, ints=[data.draw(ODD)])
        return
    attribute = data.draw(st.sampled_from(list(node.attribute)))
    attribute.i, attribute.ints[:] = data.draw(ODD), data.draw(st.lists(ODD, max_size=9))
    attribute.type = data.draw(st.sampled_from([attribute.type, AttributeProto.INTS, 1, 2, 3, 5]))


def spoil_edge(model: ModelProto, data: st.DataObject) -> None:
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    names += [tensor.name for tensor in model.graph.initializer] + ["", "\x1b[2J"]
    node = data.draw(st.sampled_from(list(model.graph.node)))
    field = data.draw(st.sampled_from([node.input, node.output]))
    field[:] = data.draw(st.lists(st.sampled_from(names), max_size=6))


def spoil_operator(model: ModelProto, data: st.DataObject) -> None:
    node = data.draw(st.sampled_from(list(model.graph.node)))
    operators = [other.op_type for other in model.graph.node]
    operators += ["Gemm", "MatMul", "ReduceMean", "Concat", "Gather", "Shape", "Loop", "Constant"]
    node.op_type = data.draw(st.sampled_from(operators))


def spoil_tensor(model: ModelProto, data: st.DataObject) -> None:
    tensor = data.draw(st.sampled_from(list(model.graph.initializer)))
    tensor.dims[:] = data.draw(st.lists(ODD, max_size=9))
    tensor.data_type = data.draw(st.integers(0, 25))


def spoil_order(model: ModelProto, data: st.DataObject) -> None:
    nodes = data.draw(st.permutations(list(model.graph.node)))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


SPOILERS = [spoil_attribute, spoil_edge, spoil_operator, spoil_tensor, spoil_order]


# --- bounds --------------------------------------------------------------------------------------


def refused(model: ModelProto, directory: Path) -> str:
    path = directory / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(OnnxError) as error:
        import_model(path, spec_of(PLAIN))
    return str(error.value).removeprefix(f"{path}: ")


def test_a_file_larger_than_any_such_model_is_not_read(tmp_path: Path) -> None:
    model = graph(DENSE, [12])
    model.doc_string = "x" * 2**23
    assert refused(model, tmp_path).startswith("is larger than the 4,19")


def test_a_tensor_that_claims_to_be_huge_is_not_made(tmp_path: Path) -> None:
    model = graph(DENSE, [12])
    model.graph.initializer[0].dims[:] = [2**31, 2**31]
    assert "tensor 'first': 18,446,744,073,709,551,616 bytes are more" in refused(model, tmp_path)


def test_tensors_together_are_bounded(tmp_path: Path) -> None:
    """A thousand names for the same bytes beside the file."""
    (tmp_path / "data").write_bytes(bytes(2**20))
    model = graph(DENSE, [12])
    for number in range(1000):
        add_external(model, f"copy{number}", 2**18, location="data")
    assert "tensor 'copy4': 1,048,576 bytes are more" in refused(model, tmp_path)


def test_too_many_nodes_are_refused(tmp_path: Path) -> None:
    model = graph([("Identity", [""], {})] * (MAX_NODES + 1), [12])
    assert refused(model, tmp_path) == f"has {MAX_NODES + 1} nodes: allowed: {MAX_NODES}"


def test_constants_do_not_grow(tmp_path: Path) -> None:
    """A list that is joined with itself again and again."""
    doubled = [("Concat", ["a" if n == 0 else f"t{n - 1}"] * 2, {"axis": 0}) for n in range(60)]
    model = graph([*doubled, ("Reshape", ["x", "t59"], {})], [12], a=[1])
    assert "node 'node6' (Concat): of constants: allowed: lists of at" in refused(model, tmp_path)


def add_external(model: ModelProto, name: str, count: int, **facts: str) -> None:
    entries = [StringStringEntryProto(key=key, value=value) for key, value in facts.items()]
    model.graph.initializer.add(
        name=name, data_type=TensorProto.FLOAT, dims=[count],
        data_location=TensorProto.EXTERNAL, external_data=entries,
    )  # fmt: skip


def test_half_floats_in_either_form_are_the_same(tmp_path: Path) -> None:
    """As raw bytes, and as the standard's helper and converters to float16 write them."""
    halves = FIRST.astype(np.float16)
    for model in (one := graph(DENSE, [12]), other := graph(DENSE, [12])):
        (place,) = [i for i, t in enumerate(model.graph.initializer) if t.name == "first"]
        del model.graph.initializer[place]
    one.graph.initializer.append(numpy_helper.from_array(halves, "first"))
    listed = helper.make_tensor("first", TensorProto.FLOAT16, halves.shape, halves.ravel())
    assert listed.int32_data
    other.graph.initializer.append(listed)
    for model in (one, other):
        found = layers_of(model, spec_of(PLAIN))[0].weights
        assert np.array_equal(found, halves.T.astype(np.float64))


def test_files_that_are_no_models_are_named_for_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    with pytest.raises(OnnxError, match=r"m\.onnx: is empty"):
        import_model(tmp_path / "m.onnx", spec_of(PLAIN))
    model = graph(DENSE, [12])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "its input 'x' has no shape" in refused(model, tmp_path)
    model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=12)
    assert "its input 'x' has 1 dimensions: allowed: the batch, and" in refused(model, tmp_path)
    model = graph(DENSE, [12])
    model.graph.sparse_initializer.add()
    assert "has sparse weights (sparse_initializer): store them" in refused(model, tmp_path)
    model = graph(DENSE, [12])
    model.graph.initializer[0].data_type = TensorProto.STRING
    assert "none of float, double, float16, int32, int64, bool" in refused(model, tmp_path)


def test_damage_that_was_found_by_fuzzing(tmp_path: Path) -> None:
    """An operator with a control character, a name that is not UTF-8, sizes of zero times huge."""
    model = graph(DENSE, [12])
    model.graph.node[0].op_type = "\x13oftmax"
    assert r"(\x13oftmax): is not supported" in refused(model, tmp_path)
    whole = graph(DENSE, [12]).SerializeToString()
    assert not survives(whole.replace(b"first", b"fir\xfft"), tmp_path, spec_of(PLAIN))
    model = graph(DENSE, [12])
    model.graph.initializer[0].dims[:] = [0, 2**40, 2**40]
    assert "tensor 'first': its shape [0, " in refused(model, tmp_path)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"location": "/etc/passwd"}, "its data are in '/etc/passwd': allowed: a file beside this"),
        ({"location": "../secret"}, "its data are in '../secret': allowed"),
        ({"location": ".."}, "its data are in '..': allowed"),
        ({}, "its data are in '': allowed"),
        ({"location": "missing"}, "its data in 'missing' cannot be read"),
        ({"location": "nul\0"}, "cannot be read"),
        ({"location": "link"}, "cannot be read"),
        ({"location": "pipe"}, "it is no file"),
        ({"location": "short"}, "its data have not the 4 values of its shape"),
        ({"location": "long", "offset": "8"}, "its data have not the 4 values of its shape"),
        ({"location": "long", "offset": "-1"}, "its data begin at '-1', which is no number"),
        ({"location": "long", "offset": "9" * 15}, "its data have not the 4 values"),
    ],
)
def test_weights_outside_the_file_come_from_beside_it_alone(
    tmp_path: Path, facts: dict[str, str], words: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "short").write_bytes(bytes(15))
    (folder / "long").write_bytes(bytes(16))
    os.mkfifo(folder / "pipe")
    model = graph(DENSE, [12])
    add_external(model, "more", 4, **facts)
    assert words in refused(model, folder)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = graph(DENSE, [12], w=np.full((7, 4), np.inf))
    assert refused(model, tmp_path) == "node 'node2' has weights that are no numbers"


def test_names_are_printed_with_their_control_characters_escaped(tmp_path: Path) -> None:
    model = graph([("Evil", [""], {})], [12])
    model.graph.node[0].name = "\x1b[2J\nfedling-broker: all is well"
    assert refused(model, tmp_path).startswith(
        r"node '\x1b[2J\nfedling-broker: all is well' (Evil)"
    )
