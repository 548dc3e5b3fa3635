"""Makes the files of tests/broker/onnx_models with PyTorch, which the tests do not need.

    python -m venv torch && torch/bin/pip install torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2
    torch/bin/python tests/broker/make_onnx_models.py

`new` files come from the exporter of today (torch.export), `old` ones from the one before it
(TorchScript), which deployed scripts still use. Weights are random and small; BatchNorm has seen
data, so that folding it changes something.
"""

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

FILES = Path(__file__).parent / "onnx_models"


class Watch(nn.Sequential):  # type: ignore[misc]
    """One-dimensional convolutions over [N, 6, 40], as in examples/watch, BatchNorm after one."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv1d(6, 8, 9, stride=2), nn.BatchNorm1d(8), nn.ReLU()),
            *(nn.Conv1d(8, 5, 5, stride=2), nn.ReLU()),
            *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(5, 3)),
        )


class Picture(nn.Module):  # type: ignore[misc]
    """[N, 3, 8, 6]: conv, depthwise conv, both kinds of order of ReLU and pool, dense, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4, 3, padding="same")
        self.deep = nn.Conv2d(4, 4, (3, 2), padding=(1, 0), groups=4)
        self.head = nn.Linear(4 * 2 * 1, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(functional.max_pool2d(self.wide(x), 2))
        x = functional.max_pool2d(functional.relu(self.deep(x)), 2)
        return functional.softmax(self.head(x.view(x.size(0), -1)), dim=1)


class Plain(nn.Module):  # type: ignore[misc]
    """A matrix product and a sum instead of nn.Linear, over [N, 12]; Dropout; BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(12, 7) / 3)
        self.offset = nn.Parameter(torch.randn(7))
        self.dropout, self.norm = nn.Dropout(), nn.BatchNorm1d(7)
        self.head = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(functional.relu(self.norm(x @ self.matrix + self.offset))))


class Repeat(nn.Module):  # type: ignore[misc]
    """An autoencoder of windows [N, 2, 10]: flattened channel by channel, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Linear(20, 6), nn.Linear(6, 20)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.narrow(x.flatten(1)))
        return self.wide(hidden).view(-1, 2, 10)


class Turned(nn.Module):  # type: ignore[misc]
    """[N, 6, 40]: turned to channels last before the dense layer; the batch by x.shape."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.head = nn.Conv1d(6, 4, 9, stride=2), nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.wide(x))
        return self.head(x.permute(0, 2, 1).reshape(x.shape[0], -1))


class Pooled(nn.Module):  # type: ignore[misc]
    """[N, 6, 40]: an average over all positions, then a view with the batch of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.head = nn.Conv1d(6, 8, 9, stride=2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.wide(x))
        return self.head(functional.avg_pool1d(y, y.shape[2]).view(x.shape[0], -1))


class Rows(nn.Module):  # type: ignore[misc]
    """[N, 6, 40]: flattened by a product of sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(240, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.first(x.view(-1, x.size(1) * x.size(2)))))


class Leaky(nn.Sequential):  # type: ignore[misc]
    """With an activation that the kernel does not have."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(12, 7), nn.LeakyReLU(), nn.Linear(7, 4))


MODELS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "watch": (Watch, (6, 40)),
    "picture": (Picture, (3, 8, 6)),
    "plain": (Plain, (12,)),
    "repeat": (Repeat, (2, 10)),
    "turned": (Turned, (6, 40)),
    "pooled": (Pooled, (6, 40)),
    "rows": (Rows, (6, 40)),
    "leaky": (Leaky, (12,)),
}


def make(name: str) -> None:
    """Both files of one model."""
    kind, shape = MODELS[name]
    torch.manual_seed(len(name))
    model = kind()
    for _ in range(3):
        model(torch.randn(50, *shape) * 2 + 1)  # BatchNorm learns mean and variance
    model.eval()
    x = torch.randn(2, *shape)
    batch = ({0: torch.export.Dim("n")},)
    torch.onnx.export(model, (x,), FILES / f"{name}_new.onnx", dynamo=True, dynamic_shapes=batch)
    forget_traces(FILES / f"{name}_new.onnx")
    torch.onnx.export(
        model, (x,), FILES / f"{name}_old.onnx", dynamo=False, input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
    )  # fmt: skip


def make_training() -> None:
    """Exported before model.eval(), with a BatchNorm of opset 13: its further outputs tell."""
    torch.manual_seed(1)
    torch.onnx.export(
        Plain(), (torch.randn(2, 12),), FILES / "training_old.onnx", dynamo=False,
        training=torch.onnx.TrainingMode.TRAINING, opset_version=13, input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
    )  # fmt: skip


def forget_traces(path: Path) -> None:
    """The exporter notes at each node which line of which file it came from."""
    model = onnx.load(path, load_external_data=False)
    for part in (*model.graph.node, *model.graph.value_info, model.graph):
        del part.metadata_props[:]
    path.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    make_training()
    for known in MODELS:
        make(known)
