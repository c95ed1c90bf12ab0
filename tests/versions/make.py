"""Make the model files of this version that later ones must load: `python tests/versions/make.py`, once for each release.

`VERSION-digits.plain.gz` is of a network that plainlearn knows, with its graph; `VERSION-own.plain` of a class of the
user's own; `VERSION.json` is what they said then. The weights are rounded to a few values, so that they take little room.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent


class OwnNet(nn.Module):
    """A class of the user's own, which no model file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 5, stride=3)
        self.last = nn.Linear(4 * 64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.convolution(x).relu().flatten(1))


def pictures() -> list[Any]:
    """The same on every machine: bars, a ring, noise, and nothing."""
    y, x = np.mgrid[0:40, 0:50]
    ring = 255 * (np.abs(np.hypot(y - 20, x - 25) - 12) < 3)
    bars = 255 * ((x // 5) % 2)
    noise = (y * 7919 + x * 104729) % 251
    return [np.repeat(each[..., None].astype(np.uint8), 3, axis=2) for each in (bars, ring, noise, 0 * x)]


def rounded(model: nn.Module) -> None:
    """Each number as the nearest of nine, by tensor: what is left compresses to a seventh."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and value.ndim > 1:
                step = value.abs().max() / 4
                value.copy_((value / step).round() * step)
            elif "running" not in name and value.is_floating_point():
                value.copy_((value * 16).round() / 16)


def main() -> None:
    """Train on MNIST_SAMPLE for a moment, and write the files."""
    from plainlearn._version import __version__
    from plainlearn.inference.predictor import Predictor
    from plainlearn.vision.all import (
        CrossEntropyLossFlat,
        ImageDataLoaders,
        Learner,
        Resize,
        URLs,
        accuracy,
        export,
        set_seed,
        untar_data,
        vision_learner,
    )  # fmt: skip

    set_seed(0)
    folder = untar_data(URLs.MNIST_SAMPLE)
    dls = ImageDataLoaders.from_folder(folder, item_tfms=Resize(28), bs=64, num_workers=0, device="cpu")
    said: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        digits = vision_learner(
            dls, "test_efficientnet", pretrained=False, lin_ftrs=(8,), metrics=accuracy, path=scratch
        )
        own = Learner(dls, OwnNet(), CrossEntropyLossFlat(), metrics=accuracy, path=scratch)
        for name, learn, more in (("digits", digits, {"graph": True}), ("own", own, {})):
            with learn.no_logging():
                learn.fit_one_cycle(1, 1e-2)
            rounded(learn.model)
            file = export(learn, f"{name}.plain", about="Tells 3 from 7.", **more)
            predictor = Predictor.load(file, model=OwnNet if name == "own" else None)
            said[name] = {
                "labels": list(predictor.vocab or ()),
                "probabilities": [
                    each.probabilities.tolist() for each in predictor.predict_batch(pictures())
                ],
                "accuracy": predictor.card["metrics"][0]["value"],
                "strangeness": [] if name == "own" else predictor.ood_scores(pictures()).tolist(),
            }
            if name == "own":
                (HERE / f"{__version__}-own.plain").write_bytes(file.read_bytes())
            else:
                (HERE / f"{__version__}-digits.plain.gz").write_bytes(
                    gzip.compress(file.read_bytes(), 9, mtime=0)
                )
    (HERE / f"{__version__}.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
