"""Layers as people write them, and what they are told about those that cannot be."""

import pytest

from fedling_broker.tasks.model_table import ModelTable, layers_of, loss_of
from fedling_native import (
    Layer,
    Loss,
    average_pool,
    check_model,
    conv,
    dense,
    depthwise,
    max_pool,
    same,
)
from fedling_protocol.settings import SettingsError, parse


def table(text: str) -> ModelTable:
    return parse(text, "task.toml", ModelTable)


def layers(text: str, window: int = 100, channels: int = 6) -> tuple[Layer, ...]:
    return layers_of(table(f"layers = {text}"), window, channels)


def test_layers_of_numbers_are_dense_with_relu_on_all_but_the_last() -> None:
    assert layers("[64, 32, 7]") == (
        *(dense(600, 64, relu=True), dense(64, 32, relu=True), dense(32, 7)),
    )


def test_layers_of_the_watch_cnn() -> None:
    text = """[
      { conv = 16, kernel = 9, stride = 2 },
      { conv = 32, kernel = 5, stride = 2 },
      "average_pool",
      7,
    ]"""
    found = layers(text)
    assert found == (
        conv((1, 100, 6), 16, (1, 9), (1, 2), relu=True),
        conv((1, 46, 16), 32, (1, 5), (1, 2), relu=True),
        average_pool((1, 21, 32)),
        dense(32, 7),
    )
    check_model(found, Loss.SOFTMAX)


def test_layers_with_every_kind_and_padding() -> None:
    text = """[
      { depthwise = 9, padding = "same" },
      { conv = 4, kernel = 3, stride = 2, padding = "same" },
      { max_pool = 2 },
      { max_pool = 3, stride = 1 },
      5,
    ]"""
    found = layers(text, window=16, channels=2)
    assert found == (
        depthwise((1, 16, 2), (1, 9), pad=(0, 0, 4, 4), relu=True),
        conv((1, 16, 2), 4, (1, 3), (1, 2), pad=(0, 0, 0, 1), relu=True),
        max_pool((1, 8, 4), (1, 2)),
        max_pool((1, 4, 4), (1, 3), (1, 1)),
        dense(8, 5),
    )
    check_model(found, Loss.SOFTMAX)


def test_layers_of_an_image() -> None:
    text = """
    shape = [8, 6, 1]
    layers = [{ conv = 4, kernel = 3, padding = "same" }, { max_pool = [2, 1] }, 3]
    """
    found = layers_of(table(text), window=8, channels=6)
    pad = same((8, 6, 1), (3, 3), (1, 1))
    assert pad == (1, 1, 1, 1)
    assert found == (
        conv((8, 6, 1), 4, (3, 3), pad=pad, relu=True),
        max_pool((8, 6, 4), (2, 1)),
        dense(4 * 6 * 4, 3),
    )


def test_loss_of_the_words() -> None:
    assert loss_of(table("layers = [2]")) is Loss.SOFTMAX
    assert loss_of(table('layers = [2]\nloss = "reconstruction"')) is Loss.RECONSTRUCTION


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[0]", ["model.layers[0]", "0 outputs", "1 to 65535"]),
        ("[70000]", ["model.layers[0]", "70000 outputs", "1 to 65535"]),
        ("[{ max_pool = 20 }, { conv = 2, kernel = 9 }, 7]", ["layers[1]", "kernel 9", "5 values"]),
        ("[{ conv = 2, kernel = [2, 9] }, 7]", ["layers[0]", "kernel 2", "the 1 rows left"]),
        ("[{ conv = 2, kernel = [1, 2, 3] }, 7]", ["layers[0]", "[1, 2, 3]", "[height, width]"]),
        ('[{ conv = 60000, kernel = 1, padding = "same" }, 7]', ["layers[0]", "6000000 outputs"]),
        ("[{ conv = 800, kernel = 1 }, 7]", ["layers[1]", "reads 80000 values", "most 65535"]),
    ],
)
def test_layers_of_names_the_layer_and_what_would_fit(text: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match="model") as error:
        layers(text)
    assert [word for word in words if word not in str(error.value)] == [], error.value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[3.5]", ["layers[0] = 3.5", "an integer or a word or a table"]),
        ('["flatten"]', ["layers[0]", '"flatten"', '"average_pool"']),
        ("[{ conv = 3 }]", ["[layers[0]]", "kernel: allowed with conv, and needed there"]),
        ("[{ max_pool = 3, kernel = 3 }]", ["[layers[0]]", "kernel: allowed with conv"]),
        ("[{ conv = 3, max_pool = 2 }]", ["[layers[0]]", "one of conv, depthwise, max_pool"]),
        ("[{ kernel = 3 }]", ["[layers[0]]", "one of conv, depthwise, max_pool"]),
        ("[{ max_pool = 256 }]", ["layers[0].max_pool = 256", "1 to 255"]),
        ("[{ max_pool = [1, 0] }]", ["layers[0].max_pool[1] = 0", "1 to 255"]),
        ('[{ max_pool = 2, padding = "full" }]', ["layers[0].padding", '"valid", "same"']),
        ("[{ cnov = 2, kernel = 3 }]", ["layers[0].cnov", "did you mean conv"]),
    ],
)
def test_the_table_names_file_key_value_and_what_is_allowed(text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as error:
        table(f"layers = {text}")
    message = str(error.value)
    assert message.startswith("task.toml: ")
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize("shape", ["[100, 6]", "[1, 100, 5]", "[-1, -100, 6]"])
def test_shape_must_hold_the_window(shape: str) -> None:
    with pytest.raises(ValueError, match=r"model\.shape = .*of the 600 values of a window"):
        layers_of(table(f"layers = [2]\nshape = {shape}"), 100, 6)
