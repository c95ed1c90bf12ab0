"""Scenes with more detail than any output, what a perfect camera would make of them, and how far one falls short.

A scene stands for the continuous world. The picture that pipelines get is the scene averaged over each
pixel's area and rounded to 8 bits; the ideal is the scene itself, read 6×6 times an output pixel through the
exact map and filtered to the output's grid. For photos the scene is the photo enlarged 4 times by Lanczos,
so the photo's own pixels are its samples.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from plainlearn.augment import geometry

Array = npt.NDArray[np.float32]
LARGE, SIZE = 460, 224
SUB = 6  # readings an output pixel, along each axis
MARGIN = 3  # output pixels read beyond the frame, for the Lanczos filter


@dataclass(frozen=True)
class Scene:
    kind: str  # "photo", "text" or "zone"
    name: str
    world: Array  # (H, W, 3), 0..255
    picture: npt.NDArray[np.uint8]  # what the decoder would give


@dataclass(frozen=True)
class Draw:
    """One draw of the lesson's augmentation; every pipeline gets the same."""

    flip: bool
    degrees: float
    zoom: float
    zoom_at: tuple[float, float]
    warp: tuple[float, float]
    left: int  # the crop, in pixels of the 460 square, where fastai can only crop whole ones
    top: int
    side: int

    def stages(self, *, crop_first: bool = False) -> list[geometry.Maps]:
        """In fastai's order, the crop last; the first acts first on the picture."""
        chain = [
            geometry.warp(*self.warp),
            geometry.flip(self.flip),
            geometry.rotate(self.degrees),
            geometry.zoom(self.zoom, *self.zoom_at),
        ]
        crop = geometry.crop(*(v / LARGE for v in (self.left, self.top, self.side, self.side)))
        return [crop, *chain] if crop_first else [*chain, crop]

    def for_peers(self, picture: int, *, crop_first: bool = False) -> dict[str, object]:
        """The same as plain data, with the matrices that some of the peers can take."""
        whole = geometry.compose(*self.stages(crop_first=crop_first))[0]
        matrices = {"warp_matrix": geometry.warp(*self.warp)[0].tolist(), "whole_matrix": whole.tolist()}
        return {**asdict(self), **matrices, "picture": picture}


def draws(count: int, seed: int, *, p: float = 0.75, min_scale: float = 0.75) -> list[Draw]:
    """Flip, rotation ±10°, zoom to 1.1, warp ±0.2, each with probability p, and a crop of 0.75 to 1 of the area."""
    rng = np.random.default_rng(seed)
    made: list[Draw] = []
    for _ in range(count):
        side = round(LARGE * float(np.sqrt(rng.uniform(min_scale, 1))))
        left, top = (int(v) for v in rng.integers(0, LARGE - side + 1, 2))
        tilt = (float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.2, 0.2)))
        made.append(
            Draw(
                flip=bool(rng.random() < 0.5),
                degrees=float(rng.uniform(-10, 10)) if rng.random() < p else 0.0,
                zoom=float(rng.uniform(1, 1.1)) if rng.random() < p else 1.0,
                zoom_at=(float(rng.random()), float(rng.random())),
                warp=tilt if rng.random() < p else (0.0, 0.0),
                left=left,
                top=top,
                side=side,
            )
        )
    return made


def photos(archive: Path, count: int, *, between: bool = False) -> Iterator[Scene]:
    """`count` of the pets, evenly spread over the names, or as many `between` them, as scenes four times as large."""
    with tarfile.open(archive) as tar:
        names = sorted(m.name for m in tar.getmembers() if m.name.endswith(".jpg"))
        step = len(names) // count
        for name in names[step // 2 if between else 0 :: step][:count]:
            stream = tar.extractfile(name)
            assert stream is not None
            picture = np.asarray(Image.open(stream).convert("RGB"))
            yield Scene("photo", Path(name).stem, _enlarged(picture), picture)


def _enlarged(picture: npt.NDArray[np.uint8], times: int = 4) -> Array:
    """Lanczos in float, mirrored at the outer edges like everything here (Pillow's own would be 8 bits)."""
    edge = 8
    padded = np.pad(picture, ((edge, edge), (edge, edge), (0, 0)), mode="symmetric")
    size = (padded.shape[1] * times, padded.shape[0] * times)
    planes = [
        np.asarray(Image.fromarray(padded[..., c].astype(np.float32)).resize(size, Image.Resampling.LANCZOS))
        for c in range(3)
    ]
    cut = slice(edge * times, -edge * times)
    return np.ascontiguousarray(np.stack(planes, -1)[cut, cut])


def drawn(width: int = 4096, sizes: tuple[int, ...] = (512, 1024, 2048)) -> Iterator[Scene]:
    """Text of several sizes and colours, and a zone plate with a sector star, each decoded at three sizes."""
    height = width * 3 // 4
    for kind, world in (("text", _text(width, height)), ("zone", _zone(width, height))):
        for small in sizes:
            k = width // small
            mean = world.reshape(height // k, k, small, k, 3).mean((1, 3))
            yield Scene(kind, f"{kind}{small}", world, np.rint(mean).clip(0, 255).astype(np.uint8))


def _text(width: int, height: int) -> Array:
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    words = "Sphinx of black quartz, judge my vow 0123456789 — how vexingly quick daft zebras jump! "
    inks = ["black", (160, 0, 0), (0, 90, 0), (0, 0, 170)]
    y, line = 20, 0
    while y < height:
        points = (48, 64, 96, 144, 220, 340)[line % 6]
        pen.text((-37 * line, y), words * 8, fill=inks[line % 4], font=ImageFont.load_default(points))
        y, line = y + int(points * 1.25), line + 1
    return np.asarray(page, np.float32)


def _zone(width: int, height: int) -> Array:
    """Left of the frame's middle a zone plate, right a star of 72 rays; contrast 0.1 to 0.9."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    r2 = (x - width * 0.3) ** 2 + (y - height * 0.5) ** 2
    # The phase k·r² has k·r/π cycles a pixel: 1/16 at half the height, Nyquist of the picture at 512.
    plate = np.cos(r2 * (np.pi / 8 / height))
    star = np.cos(72 * np.arctan2(y - height * 0.5, x - width * 0.8))
    grey = 127.5 + 102 * np.where(x < width * 0.6, plate, star)
    return np.repeat(grey.astype(np.float32)[..., None], 3, axis=2)


_DOTS = (np.arange(8) + 0.5) / 4 - 1  # places of the dots along each axis, −1..1


def dots(size: int) -> npt.NDArray[np.uint8]:
    """Eight by eight soft dots on black: their centres show where pixels end up, to a hundredth."""
    place = (2 * np.arange(size) + 1) / size - 1
    wave = np.exp(-(((place[:, None] - _DOTS) * size / 2) ** 2) / (2 * 4.0**2)).sum(1)
    return np.rint(np.repeat(255 * (wave[:, None] * wave)[..., None], 3, axis=2)).astype(np.uint8)


def displacement(out: Array, whole: geometry.Maps) -> float:
    """How far from where `whole` says the dots of a picture lie in it, in its pixels, on average."""
    size, around = len(out), 9
    grey = out.mean(-1).astype(np.float64)
    x, y = np.meshgrid(_DOTS, _DOTS)
    there = np.linalg.inv(whole[0]) @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    columns, rows = ((there[:2] / there[2] + 1) * size / 2) - 0.5
    off: list[float] = []
    for column, row in zip(columns, rows, strict=True):
        if not (around + 1 < column < size - around - 2 and around + 1 < row < size - around - 2):
            continue
        top, left = round(row) - around, round(column) - around
        patch = grey[top : top + 2 * around + 1, left : left + 2 * around + 1]
        patch = np.where(patch > 8, patch, 0)  # the tails of the neighbours
        i, j = np.mgrid[: patch.shape[0], : patch.shape[1]]
        mass = patch.sum()
        off.append(
            float(np.hypot((i * patch).sum() / mass + top - row, (j * patch).sum() / mass + left - column))
        )
    return float(np.mean(off))


def too_fine(world: tuple[int, ...], to_world: geometry.Maps, size: int) -> npt.NDArray[np.bool_]:
    """The output pixels that look at the zone plate where its rings are closer than the output can show."""
    height, width = world[:2]
    centre = (2 * np.arange(size) + 1) / size - 1
    point = np.stack([*np.meshgrid(centre, centre), np.ones((size, size))])
    x, y, weight = np.einsum("ij,jkl->ikl", to_world[0], point)
    x, y = (x / weight + 1) * width / 2, (y / weight + 1) * height / 2
    cycles = ((x - width * 0.3) ** 2 + (y - height * 0.5) ** 2) * (np.pi / 8 / height) / (2 * np.pi)
    down, across = np.gradient(cycles)
    return (np.maximum(abs(down), abs(across)) > 0.6) & (x < width * 0.57)


def ideal(world: Array, to_world: geometry.Maps, size: int) -> dict[str, Array]:
    """What the scene looks like in an output of `size`, by a Lanczos-3 filter ("lz") and a pixel's box ("box")."""
    points = np.arange(-MARGIN * SUB, (size + MARGIN) * SUB)
    fine = (points + 0.5) / SUB * 2 / size - 1
    m = to_world[0]
    height, width = world.shape[:2]
    u, v = fine[None, :], fine[:, None]
    weight = m[2, 0] * u + m[2, 1] * v + m[2, 2]
    x = ((m[0, 0] * u + m[0, 1] * v + m[0, 2]) / weight + 1) * width / 2 - 0.5
    y = ((m[1, 0] * u + m[1, 1] * v + m[1, 2]) / weight + 1) * height / 2 - 0.5
    read = _read_cubic(world, x, y)
    inner = slice(MARGIN * SUB, -MARGIN * SUB)
    box = read[inner, inner].reshape(size, SUB, size, SUB, 3).mean((1, 3))
    filters = _lanczos_filters(size)
    lanczos = np.einsum(
        "ik,kjc->ijc", filters, np.einsum("jk,ikc->ijc", filters, read, optimize=True), optimize=True
    )
    return {"lz": lanczos.clip(0, 255).astype(np.float32), "box": box.clip(0, 255).astype(np.float32)}


def _lanczos_filters(size: int) -> Array:
    at = (np.arange(-MARGIN * SUB, (size + MARGIN) * SUB) + 0.5) / SUB - 0.5
    t = at[None, :] - np.arange(size)[:, None]
    taps = np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)
    return (taps / taps.sum(1, keepdims=True)).astype(np.float32)


def _read_cubic(world: Array, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Array:
    """Catmull-Rom readings; the scene is fine enough that the choice hardly matters. Mirrored beyond."""
    height, width = world.shape[:2]
    flat = world.reshape(-1, 3)
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    total = np.zeros((*x.shape, 3), np.float32)
    for dy in range(-1, 3):
        row = _mirror(y0 + dy, height) * width
        line = np.zeros_like(total)
        for dx in range(-1, 3):
            line += flat[row + _mirror(x0 + dx, width)] * _cubic(x - x0 - dx)[..., None]
        total += line * _cubic(y - y0 - dy)[..., None]
    return total


def _mirror(index: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    folded = index % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)


def _cubic(t: npt.NDArray[np.float64]) -> Array:
    t = np.abs(t)
    near, far = 1 + t * t * (1.5 * t - 2.5), 2 + t * (-4 + t * (2.5 - 0.5 * t))
    return np.where(t < 1, near, np.where(t < 2, far, 0)).astype(np.float32)


def in_view(stages: list[geometry.Maps], size: int, edge: float = 0.03) -> npt.NDArray[np.bool_]:
    """The output pixels whose surroundings stay inside the frame at every stage, (size, size)."""
    centre = (2 * np.arange(size) + 1) / size - 1
    u, v = np.meshgrid(centre, centre)
    inside = (np.abs(u) < 1 - edge) & (np.abs(v) < 1 - edge)
    point = np.stack([u, v, np.ones_like(u)])
    for stage in reversed(stages):
        point = np.einsum("ij,jkl->ikl", stage[0], point)
        point = point / point[2:]
        inside &= (np.abs(point[:2]) < 1 - edge).all(0)
    return inside


def psnr(a: Array, b: Array, where: npt.NDArray[np.bool_] | None = None) -> float:
    error = (a - b) ** 2
    mean = error[where].mean() if where is not None else error.mean()
    return float(10 * np.log10(255**2 / max(float(mean), 1e-9)))


def ssim(a: Array, b: Array, where: npt.NDArray[np.bool_]) -> float:
    """Structural similarity of the luminance, Gaussian window of 1.5 pixels. Source: Wang et al. 2004."""
    p, q = _grey(a), _grey(b)
    mean_p, mean_q = _smooth(p), _smooth(q)
    var_p, var_q = _smooth(p * p) - mean_p**2, _smooth(q * q) - mean_q**2
    both = _smooth(p * q) - mean_p * mean_q
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (
        (2 * mean_p * mean_q + c1) * (2 * both + c2) / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
    )
    return float(value[where].mean())


def gradient_energy(a: Array, where: npt.NDArray[np.bool_]) -> float:
    grey = _grey(a)
    down, across = np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1]
    return float((down**2 + across**2)[where[:-1, :-1]].sum())


def _grey(a: Array) -> Array:
    return (a @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float64)


def _smooth(a: Array) -> Array:
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        a = np.apply_along_axis(
            np.convolve,
            axis,
            np.pad(a, [(5, 5) if i == axis else (0, 0) for i in (0, 1)], "symmetric"),
            taps,
            "valid",
        )
    return a
