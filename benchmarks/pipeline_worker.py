"""One library's input pipeline, file to finished batch, on command: started by pipeline_speed.py, once for each.

plainlearn and fastai offer the course's names, so both run the same lines; only the import differs. torchvision's
half is the usual dataset of its own, with its own decoder and the batch stage's chain on the decoded original.

    python pipeline_worker.py plainlearn|fastai|torchvision
"""

from __future__ import annotations

import importlib
import os
import sys
import tarfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
import torch  # noqa: E402
from harness import serve, timed  # noqa: E402

LARGE, SIZE, BATCH = 460, 224, 64
MODULES = {"plainlearn": "plainlearn.vision.all", "fastai": "fastai.vision.all"}


def unpacked(archive: Path, folder: Path) -> list[Path]:
    """The photos of the archive below `folder`, in order."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, [m for m in tar.getmembers() if m.name.endswith(".jpg")], filter="data")
    return sorted(folder.rglob("*.jpg"))


def photos_of_12_megapixels(photos: list[Path], folder: Path, count: int) -> list[Path]:
    """Each 8 × 8 of the photos side by side, 4000 × 3000 pixels in all, as detailed as a phone's can be: 3 MB."""
    from PIL import Image

    made: list[Path] = []
    for number in range(count):
        page = Image.new("RGB", (4000, 3000))
        for place in range(64):
            with Image.open(photos[(64 * number + place) % len(photos)]) as photo:
                page.paste(photo.convert("RGB").resize((500, 375)), (place % 8 * 500, place // 8 * 375))
        made.append(folder / f"large_{number}.jpg")
        page.save(made[-1], quality=90)
    return made


def is_cat(file: Any) -> bool:
    return Path(file).name[0].isupper()


def of_the_lesson(
    system: str, files: list[Path], workers: int, batch: int = BATCH, **block: Any
) -> Iterable[Any]:
    """The lesson's loader: squares of 460, then its augmentation to 224 and normalisation."""
    lib: Any = importlib.import_module(MODULES[system])
    data = lib.DataBlock(
        blocks=(lib.ImageBlock(**block), lib.CategoryBlock),
        splitter=lib.IndexSplitter([0]),
        get_y=is_cat,
        item_tfms=lib.Resize(LARGE),
        batch_tfms=[*lib.aug_transforms(size=SIZE, min_scale=0.75), lib.Normalize.from_stats(*lib.imagenet_stats)],
    )  # fmt: skip
    # One more than whole batches: the splitter takes it for validation.
    whole = (len(files) - 1) // batch * batch
    return data.dataloaders(
        files[: whole + 1], bs=batch, num_workers=workers, device=torch.device("cpu")
    ).train


def of_torchvision(files: list[Path], workers: int) -> Iterable[Any]:
    from presizing_peers import torchvision_chain
    from torchvision.io import ImageReadMode, decode_image

    class Pets(torch.utils.data.Dataset[Any]):
        chain = torchvision_chain()

        def __len__(self) -> int:
            return (len(files) - 1) // BATCH * BATCH

        def __getitem__(self, index: int) -> Any:
            file = files[index + 1]
            return self.chain(decode_image(str(file), ImageReadMode.RGB)), int(is_cat(file))

    return torch.utils.data.DataLoader(Pets(), BATCH, shuffle=True, num_workers=workers)


def commands() -> dict[str, Callable[..., dict[str, Any]]]:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    system = sys.argv[1]
    loaders: dict[str, Iterable[Any]] = {}

    def make(
        name: str, files: list[str], workers: int = 0, batch: int = BATCH, **block: Any
    ) -> dict[str, Any]:
        """A loader under a name; `block` holds arguments of plainlearn's ImageBlock."""
        listed = [Path(file) for file in files]
        if system == "torchvision":
            loaders[name] = of_torchvision(listed, workers)
        else:
            loaders[name] = of_the_lesson(system, listed, workers, batch, **block)
        return {}

    def epoch(name: str) -> dict[str, Any]:
        """One pass: seconds, and how many images came."""
        images = 0

        def run() -> None:
            nonlocal images
            for x, _ in loaders[name]:
                assert x.shape[1:] == (3, SIZE, SIZE), x.shape
                images += len(x)

        return {**timed(run), "images": images}

    return {"make": make, "epoch": epoch}


if __name__ == "__main__":
    serve(commands)
