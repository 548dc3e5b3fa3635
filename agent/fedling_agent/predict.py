"""Answers with the newest model that the device holds."""

from array import array
from dataclasses import dataclass

from fedling_agent.store import Store


@dataclass(frozen=True, slots=True)
class Answer:
    """One prediction."""

    task: str
    label: str
    probabilities: dict[str, float]  # of every label
    version: int  # of the model
    normalised: str  # "by the last training" or "by the recordings here"


class Predictor:
    """Keeps the newest net of each task unpacked; call predict() as often as you like."""

    def __init__(self, store: Store) -> None:
        raise NotImplementedError

    def predict(self, task: str, counts: "array[int]") -> Answer:
        """counts: int16, window * channels. Raises Missing ("no model yet"), BadInput (length)."""
        raise NotImplementedError
