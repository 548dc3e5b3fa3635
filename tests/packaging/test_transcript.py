"""What a document shows agrees with what is answered, or is written anew."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.transcript import Teller, agrees

OLD, NEW = ("-".join(9 * [letters]) for letters in ("AAAA", "BBBB"))
TEXT = f"""# A story
## One
Words.
```console
$ invite
enroll {OLD}
$ enroll {OLD}
enrolled
```
## Words
None to type.
## Two
```console
$ fedling-agent status
...
3 accepted
```
"""


class Answering(Machine):
    """Answers a line with what is written here, in turn; the last for ever."""

    def __init__(self, **answers: list[str]) -> None:
        super().__init__(Path())
        self._answers = answers
        self.typed: list[str] = []

    def run(
        self, line: str, user: str = "root", code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        self.typed.append(re.sub(r"{ (.*)\n} 2>&1", r"\1", line))
        answers = self._answers[self.typed[-1].split()[-1 if "status" in line else 0]]
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        return subprocess.CompletedProcess(line, 0, said)


def tell(pi: Machine, *, anew: bool = False) -> Teller:
    teller = Teller(pi, TEXT, patience_s=0, anew=anew)
    for name in teller.untold:
        teller.tell(name)
    return teller


def test_a_token_is_typed_as_it_was_printed() -> None:
    pi = Answering(invite=[f"enroll {NEW}"], enroll=["enrolled"], status=["a\nb\n3 accepted"])
    teller = tell(pi)
    assert pi.typed == ["invite", f"enroll {NEW}", "fedling-agent status"]
    assert teller.text == TEXT
    assert teller.untold == []


def test_what_asks_is_asked_again() -> None:
    pi = Answering(status=["2 accepted", "3 accepted"])
    Teller(pi, TEXT).tell("Two")
    assert len(pi.typed) == 2


def test_another_answer_fails() -> None:
    with pytest.raises(AssertionError, match="refused"):
        tell(Answering(invite=[f"enroll {NEW}"], enroll=["refused"]))


def test_another_answer_is_written_with_the_tokens_of_the_document() -> None:
    answers = {"invite": [f"to enroll: {NEW}"], "enroll": ["welcome"], "status": ["3 accepted"]}
    text = tell(Answering(**answers), anew=True).text
    new = TEXT.replace(f"\nenroll {OLD}", f"\nto enroll: {OLD}")
    assert text == new.replace("enrolled", "welcome")


@pytest.mark.parametrize(
    ("shown_there", "said", "right"),
    [
        (["round 1, 3 accepted"], ["round 1, 3 accepted"], True),
        (["round 1, 3 accepted"], ["round 1, 2 accepted"], False),
        (["connected for 3 s"], ["connected for 12 min"], True),
        (["until 2027-02-25, 1.5 kB"], ["until 2031-11-26, 800 B"], True),
        (["device   abcdefghijklmnop"], ["device qrstuvwxyz234567"], True),
        (["a", "...", "z"], ["a", "b", "c", "z"], True),
        (["a", "...", "z"], ["a", "z"], True),
        (["a", "...", "z"], ["a", "b"], False),
        ([], ["a"], False),
    ],
)
def test_answers_agree_up_to_what_differs(
    shown_there: list[str], said: list[str], right: bool
) -> None:
    assert agrees(tuple(shown_there), tuple(said)) is right
