"""The digits that the comparisons train on: the folder of images, and its tensors as the lesson makes them."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import Any

ONBOARD = Path(__file__).resolve().parent.parent / "src/plainlearn/datasets/onboard/mnist_sample.tgz"


def digits_folder(given: str | Path | None = None) -> Path:
    """The folder MNIST_SAMPLE: the one `given`, else from our `untar_data`, else unpacked from the package.

    The last is for machines that lack what `untar_data` needs to find its cache folder.
    """
    if given is not None:
        if not (Path(given) / "train").is_dir():
            raise SystemExit(
                f"{given} has no folder train: give --data the folder that holds train and valid."
            )
        return Path(given)
    try:
        from plainlearn.datasets.download import untar_data
        from plainlearn.datasets.urls import URLs

        return Path(untar_data(URLs.MNIST_SAMPLE, show_progress=False))
    except ModuleNotFoundError as error:
        print(f"digits: {error.name} is missing here, so {ONBOARD.name} is unpacked from the package")
        return _unpacked(Path(tempfile.gettempdir()) / "plainlearn-benchmark-digits")


def _unpacked(folder: Path) -> Path:
    """The onboard archive in `folder`, whole or not at all."""
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, tarfile.open(ONBOARD) as archive:
            archive.extractall(scratch, filter="data")
            (Path(scratch) / "mnist_sample").rename(folder)
    return folder


def digits_tensors(folder: Path) -> tuple[Any, Any, Any, Any]:
    """`train_x, train_y, valid_x, valid_y` as the lesson makes them: (N, 784) in 0..1, (N, 1) with 1 for a 3.

    Threes first, then sevens, each in the order of their names.
    """
    import torch

    def part(name: str) -> tuple[Any, Any]:
        images = [stacked(folder / name / digit).view(-1, 28 * 28) for digit in ("3", "7")]
        labels = torch.tensor([1] * len(images[0]) + [0] * len(images[1])).unsqueeze(1)
        return torch.cat(images), labels

    return (*part("train"), *part("valid"))


def stacked(folder: Path) -> Any:
    """The images of one folder as a tensor (N, 28, 28) in 0..1."""
    import numpy as np
    import torch
    from PIL import Image

    pictures = [np.asarray(Image.open(file)) for file in sorted(folder.iterdir())]
    return torch.from_numpy(np.stack(pictures)).float() / 255
