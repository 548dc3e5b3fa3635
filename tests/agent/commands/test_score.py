"""Right and wrong of windows that had a label."""

import pytest

from fedling_agent.commands.predict import with_label
from fedling_agent.commands.score import Score
from fedling_agent.service.control import Json
from fedling_protocol.disk.errors import BadInput


def answer(said: str, *given: str | None) -> Json:
    """About a window that had a label, had none of its own (None), or was not labelled at all."""
    more: Json = {"given": given[0]} if given else {}
    return {"label": said, "probabilities": {"walk": 0.5, "run": 0.3, "cafe\u0301": 0.2}} | more


def test_windows_without_labels_have_no_score() -> None:
    score = Score()
    assert score.add(answer("walk")) is None
    assert score.sentences() == []


def test_right_and_wrong_are_counted_by_label() -> None:
    score = Score()
    said = [("walk", "walk"), ("walk", "walk"), ("run", "walk"), ("run", "run")]
    assert [score.add(answer(a, given)) for a, given in said] == [True, True, False, True]
    assert score.sentences() == ["3 of 4 right: walk 2 of 3 (1 as run), run 1 of 1"]
    assert score.json() == {
        "right": 3,
        "windows": 4,
        "mixed": 0,
        "said": {"walk": {"walk": 2, "run": 1}, "run": {"run": 1}},
    }


def test_windows_of_two_labels_do_not_count() -> None:
    score = Score()
    assert score.add(answer("walk", None)) is None
    assert score.sentences() == [
        "0 of 0 right", "1 windows have not one label in all rows and do not count",
    ]  # fmt: skip
    assert score.json()["mixed"] == 1


def test_labels_that_the_model_has_not_are_named_and_count_as_wrong() -> None:
    score = Score()
    assert score.add(answer("walk", "Walk")) is False
    assert score.sentences() == [
        "0 of 1 right: Walk 0 of 1 (1 as walk)", "labels that the model does not have: Walk",
    ]  # fmt: skip


def test_labels_have_one_form() -> None:
    score = Score()
    assert score.add(answer("cafe\u0301", "caf\u00e9")) is True
    assert score.sentences() == ["1 of 1 right: caf\u00e9 1 of 1"]


def test_label_for_a_model_without_labels_is_refused() -> None:
    reconstruction: Json = {"task": "hum", "error": 0.3}
    with pytest.raises(BadInput, match="error of reconstruction"):
        with_label(reconstruction, "walk")
    assert with_label(reconstruction, "") == reconstruction
    assert with_label(answer("walk"), "run")["given"] == "run"
    with pytest.raises(BadInput, match="the rows have labels"):
        with_label(answer("walk", "walk"), "run")
