"""The pictures that the demo leaves behind, each a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from plainlearn.core.figures import show_image, subplots
from plainlearn.core.paths import Path
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.train import Learner

_SHADES = " ░▒▓█"
#: The files of the demo's album, in the order in which they are taken.
ALBUM: Final = tuple(
    f"{number}_{name}.png"
    for number, name in enumerate(
        ("numbers", "averages", "simple_net", "first_layer", "one_cycle", "hardest"), start=1
    )
)


def in_characters(image: Tensor) -> str:
    """An image (28, 28), values 0..1, in block characters, two a pixel so that it is not squeezed.

    >>> in_characters(torch.tensor([[0.0, 1.0]]))
    '  ██'
    """
    levels = cast("list[list[int]]", (image * (len(_SHADES) - 1)).round().int().tolist())
    return "\n".join("".join(_SHADES[level] * 2 for level in row).rstrip() for row in levels)


class Album:
    """A folder of pictures, named in the order in which they were taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken: list[Path] = []

    def save(self, name: str, figure: Any) -> None:
        import matplotlib.pyplot as plt

        path = self.folder / ALBUM[len(self.taken)]
        assert path.stem.endswith(name), f"{name} is not the next picture of {ALBUM}"
        figure.savefig(path, dpi=110, bbox_inches="tight", facecolor="white")
        plt.close(figure)
        self.taken.append(path)

    def digit_as_numbers(self, image: Tensor) -> None:
        """Part of a digit: each cell shows its number, shaded by it."""
        part = (image[4:15, 4:22] * 255).int()
        figure, axes = subplots(figsize=(9, 5.5))
        ax = axes.flat[0]
        ax.imshow(part, cmap="Greys")
        rows = cast("list[list[int]]", part.tolist())
        for row, line in enumerate(rows):
            for column, value in enumerate(line):
                ax.text(column, row, value, ha="center", va="center", fontsize=7,
                        color="white" if value > 128 else "black")  # fmt: skip
        ax.set(
            title="An image is numbers: the top of a 3, rows 4 to 14, columns 4 to 21", xticks=[], yticks=[]
        )
        self.save("numbers", figure)

    def averages(self, threes: Tensor, sevens: Tensor) -> None:
        """The average digits, and one real image of each with its distance to both."""
        mean3, mean7 = threes.mean(0), sevens.mean(0)
        shown = [(mean3, "the average 3"), (mean7, "the average 7")]
        for image in (threes[1], sevens[1]):
            to3, to7 = ((image - mean).abs().mean().item() for mean in (mean3, mean7))
            shown.append((image, f"to the 3: {to3:.4f}\nto the 7: {to7:.4f}"))
        figure, axes = subplots(1, 4, figsize=(11, 3.2))
        for ax, (image, title) in zip(axes.flat, shown, strict=True):
            show_image(image, ax=ax, title=title, cmap="Greys")
        self.save("averages", figure)

    def curve(self, learn: Learner, name: str, title: str) -> None:
        """Loss by step, and accuracy by epoch."""
        figure, axes = subplots(1, 2, figsize=(11, 4))
        left, right = axes.flat
        learn.recorder.plot_loss(ax=left)
        right.plot([row[2] for row in learn.recorder.values], "o-", ms=3)
        right.set(title=title, xlabel="epoch", ylabel=learn.recorder.metric_names[2])
        self.save(name, figure)

    def first_layer(self, model: nn.Module) -> None:
        """Each of the 30 units of the first layer as the image it looks for: red for, blue against.

        Each has a scale of its own: the strongest would leave the others grey.
        """
        weights = next(model.parameters()).detach().view(-1, 28, 28)
        figure, axes = subplots(3, 10, figsize=(12, 4.2))
        for ax, image in zip(axes.flat, weights, strict=True):
            limit = image.abs().max().item()
            show_image(image, ax=ax, cmap="RdBu_r", vmin=-limit, vmax=limit)
        figure.suptitle("What the first layer looks for: 30 units, ink wanted (red) and unwanted (blue)")
        self.save("first_layer", figure)

    def schedule(self, learn: Learner) -> None:
        """The learning rate and the momentum of one cycle."""
        import matplotlib.pyplot as plt

        learn.recorder.plot_sched()
        self.save("one_cycle", plt.gcf())

    def mistakes(
        self, learn: Learner, dls: BlockLoaders, opened: Callable[[int], Any], most: int = 12
    ) -> None:
        """The validation images that the model is most wrong about."""
        probabilities, targets = learn.get_preds()
        given = probabilities[torch.arange(len(targets)), targets]
        worst: list[int] = given.argsort()[:most].tolist()
        figure, axes = subplots(2, most // 2, figsize=(12, 5))
        for ax, index in zip(axes.flat, worst, strict=True):
            answer = dls.vocab[int(probabilities[index].argmax())]
            title = f"is {dls.vocab[int(targets[index])]}, says {answer}\n{given[index]:.1%} for the truth"
            show_image(opened(index), ax=ax)
            ax.set_title(title, fontsize=8, color="tab:red" if given[index] < 0.5 else "black")
        figure.suptitle("The validation images that the ResNet is least sure of, or wrong about")
        self.save("hardest", figure)
