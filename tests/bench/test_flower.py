"""The bench beside Flower sends the parameters that ours has, and all of its rounds."""

import ast
from pathlib import Path

import pytest

from bench import communication, flower_bytes
from bench.support import flower

SIZE = 4 * communication.PARAMETERS
ROUNDS = 2


def shapes() -> list[tuple[int, ...]]:
    """Of the app's arrays, which without Flower cannot be imported."""
    tree = ast.parse((flower.APP / "noise/app.py").read_text())
    values = [node.value for node in tree.body if isinstance(node, ast.Assign)
              and ast.unparse(node.targets[0]) == "SHAPES"]  # fmt: skip
    found: list[tuple[int, ...]] = list(ast.literal_eval(values[0]))
    return found


def test_app_has_the_layers_of_ours() -> None:
    ours = [((of.inputs, of.out), (of.out,)) for of in communication.LAYERS]
    assert shapes() == [shape for layer in ours for shape in layer]


def test_bench_says_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flower.version(tmp_path) == ""
    monkeypatch.setattr("sys.argv", ["flower_bytes", "--flower", str(tmp_path)])
    flower_bytes.main()
    said = capsys.readouterr()
    assert said.err.startswith("SKIPPED: no Flower: python3 -m venv")
    assert not said.out


@pytest.mark.skipif(not flower.version(flower_bytes.VENV), reason="no flwr in .venv-flower")
def test_play_counts_each_round_both_ways(tmp_path: Path) -> None:
    moved = flower.play(flower_bytes.VENV, ROUNDS, tmp_path)
    for way in (moved.up, moved.down):
        assert ROUNDS * SIZE < way < 1.1 * ROUNDS * SIZE
