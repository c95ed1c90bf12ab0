"""The peers' side of the presizing benchmarks: their recipes, on command. Runs in the peers' interpreter.

It imports nothing of plainlearn. Commands (see `harness.serve`):

load(file)                      the decoded pictures, a .npz with one array each; answers which recipes can run
read(recipe, draws, out)        picture k by draw k, saved as floats 0..255 (N, h, w, 3)
time(recipe, count)             CPU seconds for one batch of `count` squares of 460, drawn at random
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from harness import serve, timed  # noqa: E402
from PIL import Image  # noqa: E402

LARGE, SIZE = 460, 224
STATS = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
Picture = np.ndarray
Drawn = dict[str, Any]


def square(picture: Picture) -> Picture:
    """The middle square at 460 as fastai's and torchvision's item transforms make it: Pillow, bilinear."""
    h, w = picture.shape[:2]
    side = min(h, w)
    box = ((w - side) / 2, (h - side) / 2, (w + side) / 2, (h + side) / 2)
    return np.asarray(Image.fromarray(picture).resize((LARGE, LARGE), Image.Resampling.BILINEAR, box=box))


def planes(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255


def fastai(picture: Picture, d: Drawn) -> torch.Tensor:
    """The lesson's recipe with its own classes: Resize, the merged affine transforms, the crop on the batch."""
    from fastai.vision.augment import Flip, RandomResizedCropGPU, Resize, Rotate, Warp, Zoom, setup_aug_tfms
    from fastai.vision.core import PILImage, TensorImage

    item = Resize(LARGE)(PILImage.create(picture), split_idx=1)  # the middle, so that all see the same square
    x = TensorImage(planes(np.asarray(item)))
    affine = setup_aug_tfms(
        [
            Flip(p=1.0, draw=[float(d["flip"])]),
            Warp(p=1.0, draw_x=[d["warp"][0]], draw_y=[d["warp"][1]]),
            Rotate(p=1.0, draw=[d["degrees"]]),
            Zoom(p=1.0, draw=[d["zoom"]], draw_x=[d["zoom_at"][0]], draw_y=[d["zoom_at"][1]]),
        ]
    )
    for transform in affine:
        x = transform(x, split_idx=0)
    crop = RandomResizedCropGPU(SIZE, min_scale=0.75, ratio=(1, 1))
    crop.cp_size, crop.tl = (d["side"], d["side"]), (d["top"], d["left"])
    return torch.Tensor(crop._encode(x, "bilinear"))


def torchvision(picture: Picture, d: Drawn, *, crop_first: bool) -> torch.Tensor:
    from torchvision.transforms import v2
    from torchvision.transforms.v2 import functional as tv

    bilinear = v2.InterpolationMode.BILINEAR
    x = torch.from_numpy(square(picture).copy()).permute(2, 0, 1)
    cropped = [d["top"], d["left"], d["side"], d["side"]]
    if crop_first:
        x = tv.resized_crop(x, *cropped, [SIZE, SIZE], bilinear, antialias=True)
    n = x.shape[-1]
    # Warp, flip, rotation, zoom in the order in which the common map composes them.
    a = d["warp_matrix"]  # −1..1 to −1..1; continuous pixel coordinates here
    to_unit, to_pixel = (
        np.array([[2 / n, 0, -1], [0, 2 / n, -1], [0, 0, 1]]),
        np.array([[n / 2, 0, n / 2], [0, n / 2, n / 2], [0, 0, 1]]),
    )
    m = to_pixel @ np.array(a) @ to_unit
    m = m / m[2, 2]
    x = tv.perspective(x, None, None, bilinear, coefficients=m.reshape(-1)[:8].tolist())
    if d["flip"]:
        x = tv.horizontal_flip(x)
    x = tv.rotate(x, -d["degrees"], bilinear)
    u, v = d["zoom_at"]
    x = tv.affine(x, 0.0, [0, 0], d["zoom"], [0.0, 0.0], bilinear, center=[u * n, v * n])
    if not crop_first:
        x = tv.resized_crop(x, *cropped, [SIZE, SIZE], bilinear, antialias=True)
    return x[None].float() / 255


def kornia(picture: Picture, d: Drawn) -> torch.Tensor:
    import kornia.geometry.transform as kt

    x = planes(square(picture))
    n = LARGE
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    to_unit, to_pixel = (
        np.array([[2 / n, 0, -1], [0, 2 / n, -1], [0, 0, 1]]),
        np.array([[n / 2, 0, n / 2], [0, n / 2, n / 2], [0, 0, 1]]),
    )
    m = np.linalg.inv(half) @ to_pixel @ np.array(d["warp_matrix"]) @ to_unit @ half
    forward = torch.from_numpy(np.linalg.inv(m)).float()[None]
    x = kt.warp_perspective(x, forward, (n, n), align_corners=True)
    if d["flip"]:
        x = kt.hflip(x)
    middle = torch.tensor([[(n - 1) / 2, (n - 1) / 2]])
    x = kt.rotate(x, torch.tensor([-d["degrees"]]), center=middle, align_corners=True)
    at = torch.tensor([[d["zoom_at"][0] * n - 0.5, d["zoom_at"][1] * n - 0.5]])
    x = kt.scale(x, torch.tensor([[d["zoom"], d["zoom"]]]), center=at, align_corners=True)
    x = x[..., d["top"] : d["top"] + d["side"], d["left"] : d["left"] + d["side"]]
    return kt.resize(x, (SIZE, SIZE), interpolation="bilinear", align_corners=False, antialias=True)


def one_grid(
    picture: Picture, d: Drawn, *, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> torch.Tensor:
    """A single bilinear grid from 460: what composing alone gains."""
    h, w = picture.shape[:2]
    side = min(h, w)
    box = ((w - side) / 2, (h - side) / 2, (w + side) / 2, (h + side) / 2)
    x = planes(np.asarray(Image.fromarray(picture).resize((LARGE, LARGE), resample, box=box)))
    m = torch.tensor(d["whole_matrix"], dtype=torch.float64)
    c = (2 * torch.arange(SIZE, dtype=torch.float64) + 1) / SIZE - 1
    v, u = torch.meshgrid(c, c, indexing="ij")
    p = torch.stack([u, v, torch.ones_like(u)], -1) @ m.T
    grid = (p[..., :2] / p[..., 2:]).float()[None]
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


RECIPES: dict[str, Callable[[Picture, Drawn], torch.Tensor]] = {
    "fastai": fastai,
    "torchvision crop first": lambda p, d: torchvision(p, d, crop_first=True),
    "torchvision": lambda p, d: torchvision(p, d, crop_first=False),
    "kornia": kornia,
    "one bilinear grid": one_grid,
}


@cache
def fastai_stage() -> Callable[[torch.Tensor], torch.Tensor]:
    """The batch stage of the lesson: affine, lighting, crop, normalisation, from uint8 (N, 3, 460, 460)."""
    from fastai.data.transforms import IntToFloatTensor, Normalize
    from fastai.vision.augment import aug_transforms
    from fastai.vision.core import TensorImage, imagenet_stats
    from fasttransform import Pipeline

    lighting_and_maps = aug_transforms(size=SIZE, min_scale=0.75)
    normalize = Normalize.from_stats(*imagenet_stats, cuda=False)
    stage = Pipeline([IntToFloatTensor(), *lighting_and_maps, normalize], split_idx=0)
    return lambda x: stage(TensorImage(x))


def torchvision_chain() -> Callable[[torch.Tensor], torch.Tensor]:
    """The usual v2 chain for one picture, crop first, which is its fastest order."""
    from torchvision.transforms import v2

    bilinear = v2.InterpolationMode.BILINEAR
    return v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.75, 1), ratio=(1, 1), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.RandomAffine(10, scale=(1, 1.1), interpolation=bilinear)], 0.75),
            v2.RandomPerspective(0.2, 0.75),
            v2.RandomApply([v2.ColorJitter(0.2, 0.2)], 0.75),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(*STATS),
        ]
    )


@cache
def torchvision_stage() -> Callable[[torch.Tensor], torch.Tensor]:
    """Drawn per image, as a loader would."""
    chain = torchvision_chain()
    return lambda x: torch.stack([chain(image) for image in x])


@cache
def kornia_stage() -> Callable[[torch.Tensor], torch.Tensor]:
    import kornia.augmentation as ka

    chain = ka.AugmentationSequential(
        ka.RandomHorizontalFlip(p=0.5),
        ka.RandomAffine(10, scale=(1.0, 1.1), p=0.75),
        ka.RandomPerspective(0.2, p=0.75),
        ka.RandomBrightness((0.8, 1.2), p=0.75),
        ka.RandomContrast((0.8, 1.2), p=0.75),
        ka.RandomResizedCrop((SIZE, SIZE), scale=(0.75, 1.0), ratio=(1.0, 1.0), p=1.0),
        ka.Normalize(*(torch.tensor(each) for each in STATS)),
    )
    return lambda x: chain(x.float() / 255)


STAGES: dict[str, Callable[[], Callable[[torch.Tensor], torch.Tensor]]] = {
    "fastai": fastai_stage,
    "torchvision": torchvision_stage,
    "kornia": kornia_stage,
}


def commands() -> dict[str, Callable[..., dict[str, Any]]]:
    pictures: list[Picture] = []
    batches: dict[int, torch.Tensor] = {}
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    have_kornia = importlib.util.find_spec("kornia") is not None

    def load(file: str) -> dict[str, Any]:
        with np.load(file) as held:
            pictures[:] = [held[name] for name in held.files]
        batches.clear()
        can = [name for name in RECIPES if have_kornia or name != "kornia"]
        return {"recipes": can, "batches": [name for name in can if name in STAGES]}

    def read(recipe: str, draws: list[Drawn], out: str) -> dict[str, Any]:
        with torch.no_grad():
            made = [RECIPES[recipe](pictures[d["picture"]], d)[0] for d in draws]
        np.save(out, torch.stack(made).permute(0, 2, 3, 1).numpy() * 255)
        return {}

    def time(recipe: str, count: int) -> dict[str, Any]:
        if count not in batches:
            squares = [square(pictures[k % len(pictures)]) for k in range(count)]
            batches[count] = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()
        with torch.no_grad():
            return timed(lambda: STAGES[recipe]()(batches[count]))

    return {"load": load, "read": read, "time": time}


if __name__ == "__main__":
    serve(commands)
