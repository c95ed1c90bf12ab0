"""Where each output pixel looks in the input: 3×3 maps that compose, invert, and move points and boxes.

Coordinates run from −1 to +1 between the *outer edges* of a picture, x to the right and y down, whatever
its size: pixel i of n has its centre at (2i + 1)/n − 1. A map takes output coordinates to input coordinates,
so that `image |> A |> B |> C` is the image read at A·B·C·u: maps multiply in the order of the transforms.

Maps are numpy arrays (N, 3, 3) of float64, one a picture, on the CPU: drawing and composing them costs
microseconds, autocast and default devices cannot touch them, and only N×9 numbers ever travel to a GPU.
What a parameter is (one number, or N of them) is up to the caller; the result's N follows.

Nothing here knows of pixels' values; `sampling/` reads those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from plainlearn.core.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

Maps = npt.NDArray[np.float64]
Size = tuple[int, int]  # height, width
FitMethod = Literal["crop", "pad", "squish"]

_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])  # clockwise from the top left
_FAR = 1e-9  # homogeneous weights below this count as behind the horizon


def identity(count: int = 1) -> Maps:
    """`count` maps that change nothing, shape (count, 3, 3)."""
    return np.broadcast_to(np.eye(3), (count, 3, 3)).copy()


def flip(horizontal: npt.ArrayLike = True, vertical: npt.ArrayLike = False) -> Maps:
    """Mirror left and right, top and bottom, or both; each argument one truth value or N of them."""
    x = np.where(np.asarray(horizontal, dtype=bool), -1.0, 1.0)
    y = np.where(np.asarray(vertical, dtype=bool), -1.0, 1.0)
    return _build([[x, 0, 0], [0, y, 0], [0, 0, 1]])


def dihedral(symmetry: npt.ArrayLike) -> Maps:
    """One of the eight symmetries of the square: bit 1 mirrors x, bit 2 mirrors y, bit 4 then swaps x and y.

    On a picture that is not square the swap (4 to 7) also squeezes, unless the output swaps its sides too.
    """
    k = np.asarray(symmetry)
    if k.dtype.kind not in "iu" or (k < 0).any() or (k > 7).any():
        raise ArgumentError(f"symmetry is {symmetry}; expected whole numbers from 0 to 7", try_="dihedral(3)")
    mirror = flip(k & 1, k & 2)
    swap = np.asarray(k & 4, dtype=bool)
    straight, crossed = np.where(swap, 0.0, 1.0), np.where(swap, 1.0, 0.0)
    return mirror @ _build([[straight, crossed, 0], [crossed, straight, 0], [0, 0, 1]])


def rotate(degrees: npt.ArrayLike, aspect: npt.ArrayLike = 1.0) -> Maps:
    """Turn the picture clockwise by `degrees`; circles stay circles when `aspect` is width / height.

    >>> turned = rotate(90) @ np.array([1.0, 0.0, 1.0])  # what was on top is now on the right
    >>> turned.round(6).tolist()
    [[0.0, -1.0, 1.0]]
    """
    angle, ratio = np.radians(np.asarray(degrees, dtype=np.float64)), _positive("aspect", aspect)
    cos, sin = np.cos(angle), np.sin(angle)
    return _build([[cos, sin / ratio, 0], [-sin * ratio, cos, 0], [0, 0, 1]])


def zoom(scale: npt.ArrayLike, x: npt.ArrayLike = 0.5, y: npt.ArrayLike = 0.5) -> Maps:
    """Magnify by `scale` (2 shows half of each side); (x, y) in 0..1 place what is shown, edge to edge."""
    side = 1.0 / _positive("scale", scale)
    return window(side, side, x, y)


def crop(left: npt.ArrayLike, top: npt.ArrayLike, width: npt.ArrayLike, height: npt.ArrayLike) -> Maps:
    """Show only a box of the picture, given in fractions of its sides; beyond 0..1 it pads.

    >>> corner = crop(0, 0, 0.5, 0.5) @ np.array([1.0, 1.0, 1.0])  # the output's last corner is the middle
    >>> corner.tolist()
    [[0.0, 0.0, 1.0]]
    """
    w, h = _positive("width", width), _positive("height", height)
    x = 2 * np.asarray(left, dtype=np.float64) + w - 1
    y = 2 * np.asarray(top, dtype=np.float64) + h - 1
    return _build([[w, 0, x], [0, h, y], [0, 0, 1]])


def window(
    width: npt.ArrayLike, height: npt.ArrayLike, x: npt.ArrayLike = 0.5, y: npt.ArrayLike = 0.5
) -> Maps:
    """Show a part of so many of the picture's widths and heights; (x, y) in 0..1 say where it sits, 0.5 the middle."""
    w, h = np.asarray(width, np.float64), np.asarray(height, np.float64)
    across = (2 * np.asarray(x, np.float64) - 1) * (1 - w)
    down = (2 * np.asarray(y, np.float64) - 1) * (1 - h)
    return _build([[w, 0, across], [0, h, down], [0, 0, 1]])


def fit(
    input_size: npt.ArrayLike,
    output_size: npt.ArrayLike,
    method: FitMethod = "crop",
    *,
    x: npt.ArrayLike = 0.5,
    y: npt.ArrayLike = 0.5,
) -> Maps:
    """Bring pictures of (height, width) `input_size` into the shape of `output_size`.

    "crop" fills the output and cuts what is over, "pad" shows all and leaves a margin, "squish" changes the
    proportions. (x, y) in 0..1 say where the cut or the padded picture sits: 0 left or top, 0.5 the middle.
    Sizes may be one pair or N pairs; only their proportions matter.

    >>> wide = fit((100, 200), (50, 50)) @ np.array([1.0, 0.0, 1.0])  # cut halfway to the right edge
    >>> wide.tolist()
    [[0.5, 0.0, 1.0]]
    """
    before, after = _positive("input_size", input_size), _positive("output_size", output_size)
    for name, sizes in (("input_size", before), ("output_size", after)):
        if sizes.shape[-1:] != (2,):
            raise ArgumentError(
                f"{name} has shape {sizes.shape}; expected (height, width)", try_=f"{name}=(460, 460)"
            )
    # The share of the input's width that the output would span, the heights being equal.
    wider = (after[..., 1] / after[..., 0]) * (before[..., 0] / before[..., 1])
    return window(*fit_window(wider, method), x, y)


def fit_window(wider: Any, method: FitMethod) -> tuple[Any, Any]:
    """The shares of a picture's width and height that the output spans, for an output `wider` by this factor in shape.

    It reckons with what it is given, an array or a tensor.
    """
    if method == "squish":
        whole = wider / wider
        return whole, whole
    if method == "crop":
        return wider.clip(max=1), (1 / wider).clip(max=1)
    if method == "pad":
        return wider.clip(min=1), (1 / wider).clip(min=1)
    raise ArgumentError(f"method is {method!r}; expected 'crop', 'pad' or 'squish'", try_="method='crop'")


def scaled_jpeg_crop(size: Size, orientation: int, scale: int, decoded: tuple[int, ...]) -> Maps:
    """Where an upright picture of `size` lies in the pixels, of shape `decoded`, of its JPEG decoded at 1/`scale`.

    A side that `scale` does not divide ends within the last column or row as stored, which EXIF's `orientation`
    may have turned to be the first.
    """
    height, width = (true / (scale * side) for true, side in zip(size, decoded[:2], strict=True))
    mirrored, upside_down = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    return crop((1 - width) * mirrored, (1 - height) * upside_down, width, height)


def warp(horizontal: npt.ArrayLike = 0.0, vertical: npt.ArrayLike = 0.0) -> Maps:
    """Tilt the picture, as if seen from one side or from above or below.

    Each is how far the picture's corners move, in units of half its side; ±0.2 is strong and natural.
    `horizontal` > 0 brings the left edge nearer (it grows) and the right one farther; `vertical` > 0 the
    same for top and bottom. Raises `ArgumentError` when the sum reaches 1, which folds the picture; well
    before that ask `crosses_horizon`.
    """
    h, v = np.asarray(horizontal, np.float64), np.asarray(vertical, np.float64)
    if not (np.abs(h) + np.abs(v) < 1).all():
        raise ArgumentError(
            f"the tilts are {horizontal} and {vertical}; from a sum of 1 on they fold the picture",
            try_="smaller ones, such as warp(0.2, 0.2)",
        )
    # That the corners (±1, ±1) come to lie at (±(1 ∓ v), ±(1 ∓ h)) leaves one map, which is this one's inverse.
    s = 1 - h * h - v * v
    mixed, across, down = 2 * h * v / s, h * (1 + v * v - h * h) / s, v * (1 + h * h - v * v) / s
    return _build([[1, mixed, -across], [mixed, 1, -down], [-across, -down, 1]])


def compose(first: Maps, *others: Maps) -> Maps:
    """One map for several transforms, in the order in which they act; N and 1 may be mixed."""
    for maps in (first, *others):
        check_maps(maps)
    product = first
    for maps in others:
        if maps.shape[0] != product.shape[0] and 1 not in (maps.shape[0], product.shape[0]):
            raise ShapeError(
                f"cannot compose {product.shape[0]} maps with {maps.shape[0]}; expected equal counts"
            )
        product = product @ maps
    return product


def inverse(maps: Maps) -> Maps:
    """Maps from input to output coordinates, by the adjugate: exact, and no solver needed.

    Their third row is positive wherever the input is in view. Raises `ArgumentError` for a map that
    squeezes the picture onto a line.
    """
    check_maps(maps)
    rows = [maps[:, i] for i in range(3)]
    adjugate = np.stack(
        [np.cross(rows[1], rows[2]), np.cross(rows[2], rows[0]), np.cross(rows[0], rows[1])], -1
    )
    det = (rows[0] * adjugate[:, :, 0]).sum(-1)
    scale = np.linalg.norm(maps, axis=(1, 2)) ** 3
    flat = ~(np.abs(det) > 1e-12 * scale)
    if flat.any():
        raise ArgumentError(
            f"map {int(np.flatnonzero(flat)[0])} squeezes the picture onto a line; it has no inverse"
        )
    return adjugate / (det * np.sign(maps[:, 2, 2]))[:, None, None]


def crosses_horizon(maps: Maps, nearest: float = 0.1) -> npt.NDArray[np.bool_]:
    """Which of N maps stretch some part of the output without bound; the drawer of a warp draws again.

    True where the denominator falls, anywhere in the output, to `nearest` of its value in the middle.
    """
    check_maps(maps)
    middle = maps[:, 2, 2]
    lowest = middle * 1.0 - np.sign(middle) * (np.abs(maps[:, 2, 0]) + np.abs(maps[:, 2, 1]))
    return ~(lowest * np.sign(middle) > nearest * np.abs(middle))


def map_points(maps: Maps, points: Tensor) -> Tensor:
    """Where points of the input appear in the output: (N, K, 2) as (x, y), −1..1, by the exact inverse.

    Points that are out of view come back outside −1..1. Keeps the dtype and the device, without a sync.

    >>> import torch
    >>> map_points(flip(), torch.tensor([[[-0.5, 0.25]]])).tolist()
    [[[0.5, 0.25]]]
    """
    import torch

    if points.ndim != 3 or points.shape[-1] != 2 or not points.is_floating_point():
        raise ShapeError(
            f"points are {points.dtype} of shape {tuple(points.shape)}; expected floats (N, K, 2)"
        )
    x, y, weight = _project(maps, points)
    return torch.stack([x / weight, y / weight], dim=-1).to(points.dtype)


def map_boxes(maps: Maps, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Where boxes of the input appear in the output, cut off by it: (N, K, 4) as (x0, y0, x1, y1), −1..1.

    A box becomes the upright box around what can be seen of it: of a turned one whose corner is out of view,
    that is less than the box around its corners, and of one that passes the view by it is nothing. Returns the
    boxes and which of them are seen at all, (N, K) of bool; the others, and those without an area (padding), are zeros.
    """
    import torch

    if boxes.ndim != 3 or boxes.shape[-1] != 4 or not boxes.is_floating_point():
        raise ShapeError(f"boxes are {boxes.dtype} of shape {tuple(boxes.shape)}; expected floats (N, K, 4)")
    if not boxes.shape[1]:
        return boxes, boxes.new_zeros(boxes.shape[:2], dtype=torch.bool)
    corners = boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(len(boxes), -1, 2)
    p, q, r = (each.reshape(*boxes.shape[:2], 4) for each in _project(maps, corners))
    # What is seen is a polygon, of three kinds of corners: the box's own that are in view, ...
    lines = torch.stack([r + p, r - p, r + q, r - q], -1)  # a point is in view where all four are positive
    own = (lines >= 0).all(-1) & (r > _FAR)
    # ... points in which an edge of it (the first side) crosses an edge of the view (the second), ...
    following = [1, 2, 3, 0]
    ahead = lines[..., following, :]
    share = lines / (lines - ahead)
    cut_p, cut_q, cut_r = (e[..., None] + share * (e[..., following] - e)[..., None] for e in (p, q, r))
    within = torch.maximum(cut_p.abs(), cut_q.abs()) <= cut_r * (1 + _FAR)
    crossing = ((lines > 0) != (ahead > 0)) & within & (cut_r > _FAR)
    # ... and the view's own that lie in the box. Behind the horizon there are none of the three.
    view = torch.from_numpy(_CORNERS).to(p)
    m = torch.from_numpy(maps / maps[:, 2:, 2:]).to(p.dtype).to(p.device, non_blocking=True)
    x, y, weight = (m[:, i, :2] @ view.T + m[:, i, 2:] for i in range(3))
    place = torch.stack([x / weight, y / weight], -1)[:, None]
    inside = (place >= boxes[:, :, None, :2]) & (place <= boxes[:, :, None, 2:])
    held = inside.all(-1) & (weight > _FAR)[:, None]
    seen = torch.cat([own, crossing.flatten(2), held], -1)
    found = [
        torch.cat([each / r, (cut / cut_r).flatten(2), view[:, axis].expand(held.shape)], -1)
        for axis, (each, cut) in enumerate(((p, cut_p), (q, cut_q)))
    ]
    low = torch.stack([each.masked_fill(~seen, torch.inf).amin(-1) for each in found], -1).clamp(-1, 1)
    high = torch.stack([each.masked_fill(~seen, -torch.inf).amax(-1) for each in found], -1).clamp(-1, 1)
    solid = (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])
    keep = solid & (high > low).all(-1)
    return torch.cat([low, high], -1).masked_fill(~keep[..., None], 0.0).to(boxes.dtype), keep


def to_pixels(maps: Maps, input_size: npt.ArrayLike, output_size: npt.ArrayLike) -> Maps:
    """The same maps from output pixel indices (column, row, 1) to input pixel coordinates; centres are whole.

    Sizes are (height, width), one pair or N. The denominator is 1 at the output's middle.
    """
    check_maps(maps)
    before, after = _positive("input_size", input_size), _positive("output_size", output_size)
    (h, w), (oh, ow) = (before[..., 0], before[..., 1]), (after[..., 0], after[..., 1])
    to_unit = _build([[2 / ow, 0, 1 / ow - 1], [0, 2 / oh, 1 / oh - 1], [0, 0, 1]])
    to_index = _build([[w / 2, 0, (w - 1) / 2], [0, h / 2, (h - 1) / 2], [0, 0, 1]])
    return to_index @ (maps / maps[:, 2:, 2:]) @ to_unit


def check_maps(maps: Maps) -> None:
    """Raise `ShapeError` or `ArgumentError` unless `maps` is a finite (N, 3, 3) that can be used."""
    if maps.ndim != 3 or maps.shape[1:] != (3, 3):
        raise ShapeError(f"maps have shape {maps.shape}; expected (N, 3, 3)", try_="maps[None]")
    usable = np.isfinite(maps).all(axis=(1, 2)) & (maps[:, 2, 2] != 0)
    if not usable.all():
        first = int(np.flatnonzero(~usable)[0])
        raise ArgumentError(
            f"map {first} is {maps[first].tolist()}; expected finite numbers and a middle before the horizon"
        )


def _project(maps: Maps, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numerators and weight of (N, K, 2) points under the inverse; elementwise, out of autocast's reach."""
    import torch

    back = inverse(maps)
    if len(back) not in (1, len(points)):
        raise ShapeError(
            f"{len(points)} rows of points or boxes for {len(back)} maps; expected one row a map"
        )
    exact = torch.float32 if points.device.type == "mps" else torch.float64
    m = torch.from_numpy(back).to(exact).to(points.device, non_blocking=True)[:, None]
    x, y = points[..., 0].to(exact), points[..., 1].to(exact)
    p, q, r = (m[..., i, 0] * x + m[..., i, 1] * y + m[..., i, 2] for i in range(3))
    return p, q, r


def _build(rows: list[list[npt.ArrayLike]]) -> Maps:
    """(N, 3, 3) from nine entries, each a number or N numbers."""
    entries = [np.asarray(entry, np.float64) for row in rows for entry in row]
    shape = np.broadcast_shapes(*{entry.shape for entry in entries})
    if len(shape) > 1:
        raise ShapeError(f"parameters have shape {shape}; expected one number, or (N,)")
    maps = np.empty((*(shape or (1,)), 9))
    for place, entry in enumerate(entries):
        maps[:, place] = entry
    return maps.reshape(-1, 3, 3)


def _positive(name: str, value: npt.ArrayLike) -> Maps:
    array = np.asarray(value, dtype=np.float64)
    if not (np.isfinite(array) & (array > 0)).all():
        raise ArgumentError(f"{name} is {value}; expected positive numbers")
    return array
