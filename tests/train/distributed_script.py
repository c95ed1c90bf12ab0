"""Trains a small model and writes what came out, in as many processes as it is started with. See test_ranks.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ProcessError
from plainlearn.core.seed import set_seed
from plainlearn.data import DataLoader, DataLoaders
from plainlearn.data.columns import TensorRows
from plainlearn.losses import CrossEntropyLossFlat
from plainlearn.metrics import accuracy
from plainlearn.optim import Adam
from plainlearn.train import Callback, Learner, launch, shard
from plainlearn.train.checkpoint import Checkpoint


def spread(predictions: Tensor, targets: Tensor) -> Tensor:
    """A metric that depends on which items are in a batch together."""
    return predictions.std() + targets.float().std()


class DiesAt(Callback):
    """Fails in one process only."""

    def __init__(self, rank: int, batch: int) -> None:
        self.rank, self.batch = rank, batch

    def on_step(self, learner, result) -> None:
        steps = learner.epoch * learner.steps_of_epoch + learner.batches_done
        if learner.ranks.rank == self.rank and steps == self.batch:
            raise RuntimeError(f"process {self.rank} has had enough")


def main(mode: str, out: Path, bs: int) -> None:
    # What each process draws before the run differs; the run must agree all the same.
    set_seed(1 + int(os.environ.get("RANK", "0")))
    data = torch.Generator().manual_seed(0)
    x = torch.randn(203, 6, generator=data)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    train = DataLoader(TensorRows(x[:160], y[:160]), bs=bs, shuffle=True, seed=7)
    valid = DataLoader(TensorRows(x[160:], y[160:]), bs=8)  # 43 items: a last round that is not full
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    if mode.startswith("checkpoint"):
        model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.2), nn.Linear(16, 3))
    if mode == "plain":
        model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
        torch.manual_seed(3)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    learn = Learner(
        DataLoaders(train, valid), model, CrossEntropyLossFlat(), Adam, metrics=[accuracy, spread]
    )
    if "shard" in mode:
        shard(model, learn.device)
    learn.path = out
    if mode == "dies":
        learn.fit(3, lr=0.1, cbs=DiesAt(1, 3))
    elif mode.startswith("checkpoint-dies"):
        learn.fit(3, lr=0.1, checkpoint=Checkpoint(every_batches=3), cbs=DiesAt(1, 8))
    elif mode.startswith("checkpoint-goes-on"):
        learn.fit(3, lr=0.1, checkpoint=Checkpoint(every_batches=3), resume=True)
    else:
        learn.fit(3, lr=0.1)
    learn.save("last")
    learn.load("last")
    again = list(learn.validate())
    weights = {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).tolist()
        for name, value in learn.model.state_dict().items()
    }
    told = {
        "values": learn.recorder.values,
        "again": again,
        "weights": weights,
        "steps": learn.steps_of_epoch,
        "local": sum(
            (value.to_local() if hasattr(value, "to_local") else value).numel()
            for value in learn.model.parameters()
        ),
    }
    (out / f"{learn.ranks.rank}-of-{learn.ranks.size}.json").write_text(json.dumps(told))


def launched(out: Path) -> None:
    """Two launches from one process, as from a notebook's cells."""

    def work(name: str) -> None:
        batches = [(torch.ones(4, 3), torch.ones(4, 1))] * 4
        learn = Learner(DataLoaders(batches, batches), nn.Linear(3, 1), nn.functional.mse_loss)
        learn.fit(1)
        if name == "dies" and learn.ranks.rank == 1:
            raise ValueError("no more of this")
        learn.fit(1)
        (out / f"{name}-{learn.ranks.rank}").write_text(repr(learn.recorder.values))

    torch.ones(300, 300) @ torch.ones(300, 300)  # threads of this process, which its copies do not have
    launch(work, 2, "goes")
    try:
        launch(work, 2, "dies")
    except ProcessError as error:
        (out / "error").write_text(str(error))


if __name__ == "__main__":
    if sys.argv[1] == "launch":
        launched(Path(sys.argv[2]))
        raise SystemExit
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
