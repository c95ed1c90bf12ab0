"""The peers' side of the presizing benchmarks; runs in the peers' python and answers JSON lines on stdin.

It imports nothing of plainlearn. One process holds the pictures and the libraries, so that quality and speed
are asked of it while the other side is being measured in the same minutes. Requests:

{"do": "load", "pictures": "file.npz"}                 the decoded pictures, one array each
{"do": "read", "recipe": …, "draws": […], "out": …}    picture k by draw k, saved as floats 0..255 (N, h, w, 3)
{"do": "time", "recipe": …, "count": n}                CPU seconds for one batch of n, drawn at random
"""

from __future__ import annotations

import json
import os
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from PIL import Image  # noqa: E402

LARGE, SIZE = 460, 224
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


def fastai_batch(x: torch.Tensor) -> torch.Tensor:
    """The batch stage of the lesson: affine, lighting, crop, normalisation, from uint8 (N, 3, 460, 460)."""
    from fastai.data.transforms import IntToFloatTensor, Normalize
    from fastai.vision.augment import aug_transforms
    from fastai.vision.core import TensorImage, imagenet_stats
    from fastcore.transform import Pipeline

    global _FASTAI
    if _FASTAI is None:
        _FASTAI = Pipeline(
            [
                IntToFloatTensor(),
                *aug_transforms(size=SIZE, min_scale=0.75),
                Normalize.from_stats(*imagenet_stats, cuda=False),
            ]
        )
        _FASTAI.split_idx = 0
    return _FASTAI(TensorImage(x))


_FASTAI: Any = None


def torchvision_batch(x: torch.Tensor) -> torch.Tensor:
    """The usual v2 chain, crop first, which is its fastest order; drawn per image as a loader would."""
    from torchvision.transforms import v2

    global _TORCHVISION
    if _TORCHVISION is None:
        _TORCHVISION = v2.Compose(
            [
                v2.RandomResizedCrop(SIZE, scale=(0.75, 1), ratio=(1, 1), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomApply(
                    [v2.RandomAffine(10, scale=(1, 1.1), interpolation=v2.InterpolationMode.BILINEAR)], 0.75
                ),
                v2.RandomPerspective(0.2, 0.75),
                v2.RandomApply([v2.ColorJitter(0.2, 0.2)], 0.75),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )
    return torch.stack([_TORCHVISION(image) for image in x])


_TORCHVISION: Any = None


def kornia_batch(x: torch.Tensor) -> torch.Tensor:
    import kornia.augmentation as K

    global _KORNIA
    if _KORNIA is None:
        _KORNIA = K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5),
            K.RandomAffine(10, scale=(1.0, 1.1), p=0.75),
            K.RandomPerspective(0.2, p=0.75),
            K.RandomBrightness((0.8, 1.2), p=0.75),
            K.RandomContrast((0.8, 1.2), p=0.75),
            K.RandomResizedCrop((SIZE, SIZE), scale=(0.75, 1.0), ratio=(1.0, 1.0), p=1.0),
            K.Normalize(torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])),
        )
    return _KORNIA(x.float() / 255)


_KORNIA: Any = None

BATCHES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "fastai": fastai_batch,
    "torchvision": torchvision_batch,
    "kornia": kornia_batch,
}


def serve() -> None:
    pictures: list[Picture] = []
    batches: dict[int, torch.Tensor] = {}
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not spoil the answers
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if request["do"] == "load":
                with np.load(request["pictures"]) as held:
                    pictures = [held[name] for name in held.files]
                batches = {}
            elif request["do"] == "read":
                recipe = RECIPES[request["recipe"]]
                made = [recipe(pictures[d["picture"]], d)[0] for d in request["draws"]]
                np.save(request["out"], torch.stack(made).permute(0, 2, 3, 1).numpy() * 255)
            elif request["do"] == "time":
                n = request["count"]
                if n not in batches:
                    squares = [square(pictures[k % len(pictures)]) for k in range(n)]
                    batches[n] = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()
                random.seed(0)
                start = os.times()
                with torch.no_grad():
                    BATCHES[request["recipe"]](batches[n])
                end = os.times()
                answer["seconds"] = (end.user + end.system) - (start.user + start.system)
            else:
                raise ValueError(f"unknown request {request['do']!r}")
        except Exception as error:  # noqa: BLE001  the other side reports it as this recipe's result
            answer["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
