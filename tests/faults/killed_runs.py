"""Kills training with SIGKILL at random batches, resumes it in another process, and compares every bit.

    python tests/faults/killed_runs.py                  # 50 kills; a JSON line last
    python tests/faults/killed_runs.py --kills 4

Each run is a process of its own, forked from one that has imported everything and trained nothing. Real photographs
(the pets where they are, else ones drawn here) with `aug_transforms`, dropout, batch norm, Adam and a one-cycle
schedule; by 0 and 2 loader threads in turn; killed before the model, between gradients and step, or after the step.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
import tarfile
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.transforms import Resize
from plainlearn.core.seed import random_state, set_seed
from plainlearn.core.trees import flatten
from plainlearn.metrics import accuracy
from plainlearn.train import Callback, Learner
from plainlearn.train.checkpoint import Checkpoint
from plainlearn.vision.loaders import ImageDataLoaders

ROOT = Path(__file__).resolve().parents[2]
EPOCHS, BATCHES = 3, 6
MOMENTS = ("on_batch", "on_gradients", "on_step")


# ---------------------------------------------------------------- what is trained


def pictures(folder: Path) -> Path:
    """60 photographs in 3 classes: of the pets where they are, else waves of colour."""
    archive = (
        Path(os.environ.get("PLAINLEARN_TEST_DATA", ROOT.parent / "shared" / "data")) / "oxford-iiit-pet.tgz"
    )
    if archive.is_file():
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.name.endswith(".jpg")][:60]
            for number, member in enumerate(members):
                content = tar.extractfile(member)
                assert content is not None
                place = folder / f"class{number * 3 // len(members)}" / f"{number}.jpg"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content.read())
        return folder
    rng = np.random.default_rng(0)
    for number in range(60):
        waves = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        place = folder / f"class{number % 3}" / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(waves).resize((120, 90), Image.Resampling.BICUBIC).save(place, quality=90)
    return folder


def make_learner(data: Path, path: Path, workers: int, cbs: Any = None) -> Learner:
    dls = ImageDataLoaders.from_folder(
        data, valid_pct=0.2, seed=1, item_tfms=Resize(64), batch_tfms=aug_transforms(size=40), bs=8,
        num_workers=workers, device="cpu",
    )  # fmt: skip
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(16, 3),
    )  # fmt: skip
    return Learner(dls, model, nn.functional.cross_entropy, metrics=accuracy, path=path, cbs=cbs)


class Killed(Callback):
    """Dies in a batch, at a moment of it."""

    def __init__(self, batch: int, moment: str) -> None:
        self.batch, self.moment = batch, moment

    def _die(self, learner: Learner, moment: str) -> None:
        at = learner.epoch * BATCHES + learner.batches_done - (moment == "on_step")
        if (at, moment) == (self.batch, self.moment):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        self._die(learner, "on_batch")
        return batch

    def on_gradients(self, learner: Learner, result: Any) -> None:
        self._die(learner, "on_gradients")

    def on_step(self, learner: Learner, result: Any) -> None:
        self._die(learner, "on_step")


def train(data: Path, path: Path, seed: int, workers: int, **how: Any) -> str:
    """Train to the end; a digest of all that the run has led to."""
    set_seed(seed)
    learner = make_learner(data, path, workers, how.pop("cbs", None))
    with learner.no_logging():
        learner.fit_one_cycle(EPOCHS, 1e-2, **how)
    return digest(learner)


def digest(learner: Learner) -> str:
    """A hash over weights, optimizer, every loss, rate and metric (not the seconds), and the random generators."""
    record = learner.recorder.state_dict()
    record["epochs"] = [row[:4] for row in record["epochs"]]
    tree = {
        "model": learner.model.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "record": record,
        "random": random_state(),
        "next batch": learner.dls.one_batch(),
    }
    tensors, plain = flatten(tree)
    hashed = hashlib.sha256(repr(plain).encode())
    for name, tensor in tensors.items():
        hashed.update(name.encode() + tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()


# ---------------------------------------------------------------- processes


def in_a_process(work: Callable[[], str]) -> tuple[int, str]:
    """`work` in a process of its own: its exit status, negative for a signal, and what it gave."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            os.write(writing, work().encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001 (printed, and the status says it)
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as stream:
        given = stream.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), given


def killed_and_resumed(data: Path, folder: Path, rng: random.Random, workers: int) -> tuple[str, str]:
    """Where a run was killed, and the digest of the run that went on from there."""
    batch, moment = rng.randrange(EPOCHS * BATCHES), rng.choice(MOMENTS)
    every = Checkpoint(every_batches=rng.choice((1, 2, 3)), every_seconds=1e9)
    killer = Killed(batch, moment)
    status, _ = in_a_process(lambda: train(data, folder, 1, workers, cbs=killer, checkpoint=every))
    if status != -signal.SIGKILL:
        raise SystemExit(
            f"the run that should have been killed in batch {batch}, {moment}, ended with {status}"
        )
    # Other seeds, and the other number of threads: all that matters must come from the file.
    status, given = in_a_process(lambda: train(data, folder, 1000 + batch, 2 - workers, resume=True))
    if status != 0:
        raise SystemExit(f"the run could not be resumed after batch {batch}, {moment}")
    return f"batch {batch}, {moment}, {workers} threads", given


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    torch.set_num_threads(1)  # who forks must have no threads
    os.environ["NUMBA_NUM_THREADS"] = "1"
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="plainlearn-faults-") as name:
        folder = Path(name)
        data = pictures(folder / "data")
        references = [in_a_process(lambda w=w: train(data, folder / f"ref{w}", 1, w)) for w in (0, 2)]
        assert references[0] == references[1] and references[0][0] == 0, references
        wrong: list[str] = []
        for number in range(asked.kills):
            where, given = killed_and_resumed(data, folder / str(number), rng, workers=number % 2 * 2)
            if given != references[0][1]:
                wrong.append(where)
            print(
                f"{number + 1}: killed at {where}: {'differs' if wrong and wrong[-1] == where else 'the same'}"
            )
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from harness import Report

    report = Report("killed_runs", "Runs killed with SIGKILL and resumed in another process", threads=1)
    report.versions = {"torch": torch.__version__}
    report.figure("runs that differ in a bit from the uninterrupted one", [len(wrong)], at_most=0)
    report.figure("runs killed and resumed", [asked.kills], at_least=min(asked.kills, 50))
    report.figures = {"kills": asked.kills, "differ": wrong}
    report.notes = ["compared: weights, optimizer, losses, rates, metrics, random generators, the next batch"]
    report.close()


if __name__ == "__main__":
    main()
