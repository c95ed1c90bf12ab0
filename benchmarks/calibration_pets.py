"""Is "90% sure" right nine times in ten? The pet photos, 37 breeds, EfficientNet-Lite0, five folds, 8 photos and 2 a breed.

Each fold is tuned, and calibrated by its 74 held-out photos as `learn.export` does. The error after is of each photo under
a temperature that was found without it, pooled over the folds: 370 photos. Beside it, what a perfectly honest model
would show on as many. `probe` fits the head to features, `tuned` is `fine_tune(1)` behind it, `epochs` is
`fine_tune(2, features=False)`, whose head is far from certain after three epochs.

    python benchmarks/calibration_pets.py [--recipes probe tuned epochs] [--folds 5]
"""

from __future__ import annotations

import argparse
import os
import random
import tarfile
import tempfile
from collections import defaultdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from harness import ROOT, Report, positive
from torch import Tensor

from plainlearn.metrics.calibration import calibration_error, cross_fitted, fit_temperature, worth_scaling
from plainlearn.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    RegexLabeller,
    Resize,
    accuracy,
    aug_transforms,
    get_image_files,
    set_seed,
    using_attr,
    vision_learner,
)

PHOTOS = Path(os.environ.get("PLAINLEARN_TEST_DATA", ROOT.parent / "shared" / "data")) / "oxford-iiit-pet.tgz"
BREED = RegexLabeller(r"(.+)_\d+.jpg$")
RECIPES = ("probe", "tuned", "epochs")


def folds_of(files: list[Any], count: int) -> list[list[int]]:
    """Two photos of each breed a fold, none in two."""
    by_breed: dict[str, list[int]] = defaultdict(list)
    for number, file in enumerate(files):
        by_breed[BREED(file.name)].append(number)
    drawn = random.Random(0)
    orders = [drawn.sample(numbers, len(numbers)) for _, numbers in sorted(by_breed.items())]
    return [
        sorted(number for order in orders for number in order[2 * fold : 2 * fold + 2])
        for fold in range(count)
    ]


def learned(
    files: list[Any], folder: Path, valid: list[int], recipe: str, seed: int
) -> tuple[Tensor, Tensor]:
    """The outputs for the held-out photos, and their breeds."""
    set_seed(seed)
    dls = DataBlock(
        (ImageBlock, CategoryBlock), get_items=lambda _: files, get_y=using_attr(BREED, "name"),
        splitter=IndexSplitter(valid), item_tfms=Resize(256), batch_tfms=aug_transforms(size=224),
    ).dataloaders(folder, bs=32, num_workers=0, device="cpu")  # fmt: skip
    learn = vision_learner(dls, "tf_efficientnet_lite0", metrics=accuracy)
    with learn.no_logging(), learn.no_bar():
        if recipe == "probe":
            learn.probe().into(learn)
        elif recipe == "tuned":
            learn.fine_tune(1)
        else:
            learn.fine_tune(2, features=False)
        return learn.get_preds(act=lambda outputs: outputs)


def sure(probabilities: Tensor, targets: Tensor) -> tuple[int, float]:
    """How many answers are more than 90% sure, and which share of them is right."""
    confidence, answer = probabilities.max(dim=1)
    chosen = confidence > 0.9
    right = (answer == targets)[chosen]
    return int(chosen.sum()), float(right.double().mean()) if len(right) else float("nan")


def honest(probabilities: Tensor) -> float:
    """The error of a perfectly honest model that says the same, in the mean of 200 draws."""
    draws = torch.Generator().manual_seed(0)
    drawn = (torch.multinomial(probabilities, 1, generator=draws)[:, 0] for _ in range(200))
    return sum(calibration_error(probabilities, targets) for targets in drawn) / 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folds", type=positive, default=5)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    report = Report(
        "calibration_pets", "pets, EfficientNet-Lite0, calibration on pooled folds", threads=asked.threads
    )
    report.versions = {name: version(name) for name in ("plainlearn", "torch", "timm")}
    careful = partial(worth_scaling, fit=fit_temperature)
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(PHOTOS) as archive:
            archive.extractall(scratch, filter="data")
        files = sorted(get_image_files(Path(scratch) / "oxford-iiit-pet" / "images"))
        folds = folds_of(files, asked.folds)
        for recipe in asked.recipes:
            parts = [learned(files, Path(scratch), valid, recipe, seed) for seed, valid in enumerate(folds)]
            targets = torch.cat([aimed for _, aimed in parts])
            before = torch.cat([outputs.double() for outputs, _ in parts]).softmax(dim=1)
            after = torch.cat([cross_fitted(*part, careful) for part in parts]).softmax(dim=1)
            right = [float((outputs.argmax(1) == aimed).double().mean()) for outputs, aimed in parts]
            errors = [calibration_error(each, targets) for each in (before, after)]
            report.figure(f"{recipe}: accuracy", right)
            report.figure(f"{recipe}: error before", [errors[0]])
            report.figure(f"{recipe}: error after", [errors[1]], at_most=0.05)
            report.figure(f"{recipe}: error of an honest model", [honest(after)])
            report.figure(f"{recipe}: after less before", [errors[1] - errors[0]], at_most=0.0)
            count, share = sure(after, targets)
            report.figure(f"{recipe}: answers above 90% sure", [count])
            report.figure(f"{recipe}: of these are right", [share], at_least=0.9)
            report.figures[recipe] = {"temperatures": [careful(*part) for part in parts], "accuracy": right}
            print(f"{recipe}: {errors}, temperatures {report.figures[recipe]['temperatures']}", flush=True)
    report.rounds = {"folds": asked.folds}
    report.close()


if __name__ == "__main__":
    main()
