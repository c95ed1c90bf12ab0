"""Does the score for unlike inputs tell them? AUROC on kinds of image that were held out, against energy and softmax.

EfficientNet-Lite0 on the pets, 30 breeds, the head fitted to features; in: their held-out photos. Out, far: MNIST's digits,
masks, drawn textures, noise, rendered text; near: 7 breeds that it never saw, and its own held-out photos
blurred or darkened. Also whether `Drift` fires on each, and how often on halves of what it should not.

    python benchmarks/unlike_auroc.py
"""

from __future__ import annotations

import argparse
import os
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from harness import ROOT, Report, positive
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from plainlearn.inference.drift import Drift, usual_of
from plainlearn.inference.prediction import Prediction
from plainlearn.inference.predictor import Predictor
from plainlearn.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    RegexLabeller,
    Resize,
    TrainTestSplitter,
    aug_transforms,
    get_image_files,
    set_seed,
    using_attr,
    vision_learner,
)

DATA = Path(os.environ.get("PLAINLEARN_TEST_DATA", ROOT.parent / "shared" / "data"))
BREED = RegexLabeller(r"(.+)_\d+.jpg$")
FAR = ("mnist", "masks", "textures", "noise", "text")
RNG = np.random.default_rng(0)


def texture() -> Any:
    """Twelve waves, four a colour."""
    y, x = np.mgrid[0:256, 0:256] / 256
    pixels = np.full((256, 256, 3), 128.0)
    for channel in range(3):
        for _ in range(4):
            turns, angle, phase = RNG.uniform(4, 40), RNG.uniform(0, np.pi), RNG.uniform(0, 6)
            pixels[..., channel] += 32 * np.sin(
                2 * np.pi * turns * (x * np.cos(angle) + y * np.sin(angle)) + phase
            )
    return pixels.clip(0, 255).astype(np.uint8)


def page() -> Any:
    """Fourteen lines of letters."""
    picture = Image.new("RGB", (256, 256), "white")
    pen = ImageDraw.Draw(picture)
    for line in range(14):
        pen.text(
            (8, 6 + 18 * line), "".join(RNG.choice(list("abcdefghij klmnop qrstuvw xyz"), 30)), fill="black"
        )
    return np.asarray(picture)


def changed(file: Any, how: str) -> Any:
    picture = Image.open(file).convert("RGB").resize((300, 300))
    if how == "blurred":
        return np.asarray(picture.filter(ImageFilter.GaussianBlur(8)))
    return (np.asarray(picture) * 0.15).astype(np.uint8)


def auroc(inside: Tensor, outside: Tensor) -> float:
    """How often something from outside scores above something from inside; half for ties."""
    gap = outside[:, None] - inside[None]
    return float(((gap > 0).double() + 0.5 * (gap == 0)).mean())


def followed(usual: Any, labels: Any, answers: list[Prediction], scores: Tensor) -> Any:
    drift = Drift({"usual": usual}, labels)
    for answer, score in zip(answers, scores, strict=True):
        drift.update(answer, score)
    return drift.report()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=positive, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    report = Report(
        "unlike_auroc", "what is unlike the pets, and drift", "best of the others", threads=asked.threads
    )
    report.versions = {name: version(name) for name in ("plainlearn", "torch", "timm")}
    set_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("oxford-iiit-pet.tgz", "mnist_sample.tgz"):
            with tarfile.open(DATA / name) as archive:
                archive.extractall(scratch, filter="data")
        pets = Path(scratch) / "oxford-iiit-pet"
        files = sorted(get_image_files(pets / "images"))
        breeds = sorted({BREED(file.name) for file in files})
        unseen = set(RNG.permutation(breeds)[:7])
        known = [file for file in files if BREED(file.name) not in unseen]
        dls = DataBlock(
            (ImageBlock, CategoryBlock), get_items=lambda _: known, get_y=using_attr(BREED, "name"),
            splitter=TrainTestSplitter(0.2, seed=0, stratify=lambda file: BREED(file.name)),
            item_tfms=Resize(256), batch_tfms=aug_transforms(size=224),
        ).dataloaders(scratch, bs=32, num_workers=0, device="cpu")  # fmt: skip
        learn = vision_learner(dls, "tf_efficientnet_lite0", path=scratch)
        learn.probe().into(learn)
        predictor = Predictor.load(learn.export("pets.plain"))
        held_out = list(dls.datasets.valid.items)
        digits = sorted(get_image_files(Path(scratch) / "mnist_sample" / "valid"))
        sets = {
            "mnist": [digits[place] for place in RNG.permutation(len(digits))[:100]],
            "masks": sorted(get_image_files(pets / "annotations"))[:100],
            "textures": [texture() for _ in range(100)],
            "noise": [RNG.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(60)],
            "text": [page() for _ in range(60)],
            "unseen breeds": [file for file in files if BREED(file.name) in unseen],
            "blurred": [changed(file, "blurred") for file in held_out],
            "darkened": [changed(file, "darkened") for file in held_out],
        }

        def scored(items: list[Any]) -> tuple[list[Prediction], dict[str, Tensor]]:
            answers: list[Prediction] = []
            columns: dict[str, list[Tensor]] = {"ours": [], "energy": [], "softmax": []}
            for start in range(0, len(items), 16):
                batch = items[start : start + 16]
                some, strange = predictor.judged([predictor.read(item) for item in batch])
                outputs = predictor.outputs(batch)
                answers += some
                assert strange is not None
                columns["ours"].append(strange)
                columns["energy"].append(-outputs.logsumexp(dim=1))
                columns["softmax"].append(-torch.stack([each.probabilities.max() for each in some]))
            return answers, {name: torch.cat(parts) for name, parts in columns.items()}

        inside_answers, inside = scored(held_out)
        usual = predictor.card["usual"]
        limit = predictor.output_spec.ood_above
        for name, items in sets.items():
            answers, outside = scored(items)
            values = {each: auroc(inside[each], outside[each]) for each in inside}
            report.figures[name] = {**values, "flagged": float((outside["ours"] > limit).double().mean())}
            report.figure(f"AUROC, {name}", [values["ours"]], peer=[max(values["energy"], values["softmax"])],
                          at_least=0.99 if name in FAR else None)  # fmt: skip
            found = followed(usual, predictor.vocab, answers, outside["ours"])
            report.figure(f"drift fires, {name}", [float(bool(found.moved))], at_least=1)
            report.figures[name]["moved"] = list(found.moved)
            print(name, report.figures[name], flush=True)
    alarms = 0
    for _ in range(300):  # half of the held-out photos against the other half
        order = RNG.permutation(len(held_out))
        here, there = order[: len(order) // 2], order[len(order) // 2 :]
        values = torch.stack([inside_answers[place].probabilities for place in here])
        usual = usual_of(values.amax(1), values.argmax(1), len(predictor.vocab or ()), inside["ours"][here])
        alarms += bool(
            followed(
                usual, predictor.vocab, [inside_answers[place] for place in there], inside["ours"][there]
            ).moved
        )
    report.figure("drift, false alarms of 300", [alarms], at_most=9)
    report.close()


if __name__ == "__main__":
    main()
