"""Make docs/images/digits.png, the picture of the README: a digit as numbers, the averages, what a small net looks for.

    python scripts/readme_picture.py [FILE]

It trains the simple net of the lesson, so it takes half a minute.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn

from plainlearn.core.figures import show_image
from plainlearn.core.seed import set_seed
from plainlearn.datasets.download import untar_data
from plainlearn.datasets.urls import URLs
from plainlearn.demo.rungs import as_loaders, load_digits, simple_net_learner

WANTED = Path(__file__).resolve().parent.parent / "docs" / "images" / "digits.png"
SEED = 42


def numbers(ax: Any, image: Tensor) -> None:
    """The upper part of a digit, each number on the shade that it stands for."""
    part = (image[4:15, 6:20] * 255).round().int()
    show_image(part, ax=ax, cmap="Greys", title="an image is numbers")
    for row, line in enumerate(part.tolist()):
        for column, ink in enumerate(line):
            colour = "white" if ink > 128 else "black"
            ax.text(column, row, ink, ha="center", va="center", fontsize=6.5, color=colour)


def averages(axes: Any, threes: Tensor, sevens: Tensor) -> None:
    for ax, images, title in zip(axes, (threes, sevens), ("the average 3", "and the average 7"), strict=True):
        show_image(images.mean(0), ax=ax, cmap="Greys", title=title)


def units(axes: Any, net: nn.Module) -> None:
    """The units of the first layer that the last one listens to most, as the ink they want (red) and do not want (blue)."""
    first, *_, last = net.children()
    weights: Tensor = first.weight.detach().cpu().view(-1, 28, 28)  # pyright: ignore
    loudest = last.weight.detach().cpu()[0].abs().argsort(descending=True)  # pyright: ignore
    limit = weights.abs().max().item() * 0.8
    for ax, unit in zip(axes.flat, loudest.tolist(), strict=False):
        show_image(weights[unit], ax=ax, cmap="RdBu_r", vmin=-limit, vmax=limit)


def draw(file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    set_seed(SEED)
    digits = load_digits(untar_data(URLs.MNIST_SAMPLE))
    learn = simple_net_learner(as_loaders(digits))
    with learn.no_logging():
        learn.fit(40, lr=0.1)

    figure: Any = plt.figure(figsize=(10, 3.1), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.25, 0.75, 1.25))
    numbers(left.subplots(), digits.threes[1])
    averages(middle.subplots(2, 1), digits.threes, digits.sevens)
    units(right.subplots(3, 4), learn.model)
    right.suptitle("what a small network looks for")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100, facecolor="white")
    with Image.open(file) as drawn:  # few colours are enough, and make a third of the size
        few = drawn.convert("RGB").quantize(128)
    few.save(file, optimize=True)
    accuracy = learn.recorder.values[-1][2]
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB; the net reached {accuracy:.4f}")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else WANTED)
