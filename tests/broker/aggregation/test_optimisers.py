import json

import numpy as np
import pytest

from fedling_broker.aggregation.optimisers import OPTIMISERS, Setup, of_momentum


def test_plain_averaging_follows_the_mean_within_its_limit() -> None:
    change, arrays = OPTIMISERS["fedavg"].apply({}, {}, np.array([5, -(2**48), 2**48]))
    assert change.tolist() == [5, -(2**47), 2**47]
    assert arrays == {}


def test_momentum_remembers() -> None:
    row = OPTIMISERS["fedavgm"]
    arrays = row.init(2)
    assert {name: values.tolist() for name, values in arrays.items()} == {"velocity": [0, 0]}
    for expected in ([100, -3], [150, -4], [175, -5]):  # halves up
        change, arrays = row.apply({"momentum_q8": 128}, arrays, np.array([100, -3]))
        assert change.tolist() == arrays["velocity"].tolist() == expected


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_row_keeps_the_arrays_that_it_names(name: str) -> None:
    row = OPTIMISERS[name]
    parameters = {parameter: low for parameter, (low, _) in row.parameters.items()}
    _, arrays = row.apply(parameters, row.init(3), np.zeros(3, np.int64))
    assert row.name == name
    assert arrays.keys() == row.init(0).keys() == row.units.keys()
    assert Setup(name, parameters).optimiser is row


@pytest.mark.parametrize("momentum", [0, 1, 192, 255])
def test_text_is_parsed_again(momentum: int) -> None:
    setup = of_momentum(momentum)
    assert Setup.parse(setup.name, setup.text) == setup
    assert json.loads(setup.text) == ({"momentum_q8": momentum} if momentum else {})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("adam", "{}", "known are fedavg, fedavgm"),
        ("fedavg", '{"momentum_q8":1}', "has the parameters -"),
        ("fedavgm", "{}", "has the parameters momentum_q8"),
        ("fedavgm", '{"momentum_q8":256}', "allowed: 1 to 255"),
        ("fedavgm", '{"momentum_q8":0}', "allowed: 1 to 255"),
        ("fedavg", '{"grid_least":3,"grid":2}', "grid_least = 3: allowed: 1 to 2"),
        ("fedavg", '{"grid_least":1}', "grid_least = 1: allowed: 1 to 0"),
        ("fedavg", '{"grid_least":1,"grid":"2"}', "grid = '2': allowed: 1 to 10"),
        ("fedavgm", '{"momentum_q8":true}', "allowed: 1 to 255"),
        ("fedavgm", '{"momentum_q8":1.5}', "allowed: 1 to 255"),
        ("fedavgm", "[]", "no JSON object"),
        ("fedavgm", "{", "Expecting"),
    ],
)
def test_a_setup_that_the_table_does_not_have_is_refused(name: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Setup.parse(name, text)
