"""A Flower app whose client adds noise where another would train: what is sent is as long."""

from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

SHAPES = ((784, 200), (200,), (200, 10), (10,))
EXAMPLES = 100

server = ServerApp()
client = ClientApp()


def train(message: Message, _context: Context) -> Message:
    dice = np.random.default_rng()
    arrays = [
        array + dice.normal(0, 0.01, array.shape).astype(np.float32)
        for array in message.content["arrays"].to_numpy_ndarrays()
    ]
    metrics = MetricRecord({"num-examples": EXAMPLES})
    content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics})
    return Message(content=content, reply_to=message)


def main(grid: Grid, context: Context) -> None:
    dice = np.random.default_rng(1)
    first = [dice.normal(0, 0.05, shape).astype(np.float32) for shape in SHAPES]
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1)
    rounds = int(context.run_config["rounds"])
    result = strategy.start(grid=grid, initial_arrays=ArrayRecord(first), num_rounds=rounds)
    learned = result.arrays.to_numpy_ndarrays()
    trained = all((a != b).any() for a, b in zip(first, learned, strict=True))
    done = len(result.train_metrics_clientapp) if trained else 0
    Path(str(context.run_config["done"])).write_text(str(done))


client.train()(train)
server.main()(main)
