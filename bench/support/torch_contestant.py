"""Training by PyTorch, eager, as its tutorials write it. Needs the extra `bench`."""

import copy
import time

import numpy as np
import torch
from torch import nn

from bench.support.contestants import RATE, Course
from bench.support.float_net import Float
from fedling_native import Kind, Layer

torch.set_num_threads(1)


class Torch:
    """Conv1d and Linear, cross-entropy, torch.optim.SGD."""

    name = "torch"

    def __init__(self, of: Course) -> None:
        parts = [part for layer in of.layers for part in modules(layer)]
        self._first = nn.Sequential(*parts)
        load(self._first, of)
        shape = (-1, of.batch, of.layers[0].inputs)
        x = of.floats.reshape(shape)
        if of.layers[0].kind is Kind.CONV:  # PyTorch has channels before time
            channels = of.layers[0].channels
            x = np.ascontiguousarray(x.reshape(*x.shape[:2], -1, channels).swapaxes(2, 3))
        self._x = torch.from_numpy(x)
        self._y = torch.from_numpy(of.y.astype(np.int64).reshape(-1, of.batch))
        self.net = self._first

    def epoch(self) -> float:
        self.net = copy.deepcopy(self._first)
        optimiser = torch.optim.SGD(self.net.parameters(), lr=RATE)
        loss = nn.CrossEntropyLoss()
        start = time.process_time()
        for x, y in zip(self._x, self._y, strict=True):
            optimiser.zero_grad()
            loss(self.net(x), y).backward()
            optimiser.step()
        return time.process_time() - start

    def outputs(self) -> Float:
        """Logits of all examples."""
        with torch.no_grad():
            found: Float = self.net(self._x.flatten(0, 1)).numpy()
        return found


def modules(layer: Layer) -> list[nn.Module]:
    relu = [nn.ReLU()] if layer.relu else []
    if layer.kind is Kind.CONV:
        kernel, stride = layer.kernel[1], layer.stride[1]
        return [nn.Conv1d(layer.channels, layer.out, kernel, stride), *relu]
    if layer.kind is Kind.AVERAGE_POOL:
        return [nn.AdaptiveAvgPool1d(1), nn.Flatten()]
    return [nn.Linear(layer.inputs, layer.out), *relu]


def load(net: nn.Sequential, of: Course) -> None:
    """The first weights and biases."""
    layers = [layer for layer in of.layers if layer.span]
    counts = [*(x.weight_count for x in layers), *(x.bias_count for x in layers)]
    parts = np.split(of.first_floats.parameters, np.cumsum(counts)[:-1])
    learners = [part for part in net if isinstance(part, nn.Linear | nn.Conv1d)]
    with torch.no_grad():
        for i, (part, layer) in enumerate(zip(learners, layers, strict=True)):
            w = torch.from_numpy(parts[i]).reshape(layer.out, -1, layer.channels)
            part.weight.copy_(w.swapaxes(1, 2).reshape(part.weight.shape))
            part.bias.copy_(torch.from_numpy(parts[len(layers) + i]))
