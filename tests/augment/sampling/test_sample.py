"""What sampling promises, whoever computes it: each property holds on every backend of this machine."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plainlearn.augment.geometry import (
    Maps,
    compose,
    crop,
    fit,
    flip,
    identity,
    inverse,
    map_points,
    rotate,
    warp,
    zoom,
)
from plainlearn.augment.sampling import sample as sampling
from plainlearn.augment.sampling.kernel import KERNELS, Mode, PadMode
from plainlearn.augment.sampling.sample import Backend, level_curves, sample_images, sample_labels
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, MissingExtraError, ShapeError

BACKENDS: list[Any] = [
    pytest.param("numba", marks=pytest.mark.skipif(not find_spec("numba"), reason="no numba")),
    "torch",
]
MODES: list[Mode] = ["cubic", "bilinear", "nearest"]
PADS: list[PadMode] = ["reflection", "border", "zeros"]
LEVEL = 1 / 255

every_backend = pytest.mark.parametrize("backend", BACKENDS)
every_mode = pytest.mark.parametrize("mode", MODES)
every_pad = pytest.mark.parametrize("pad_mode", PADS)


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    drawn = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return torch.from_numpy(drawn)


def smooth(height: int, width: int) -> Tensor:
    """A picture that any good kernel should carry over nearly unchanged: slow waves, three channels."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    waves = torch.stack([torch.sin(2 * x + y), torch.cos(2 * y), torch.sin(x * y * 2)], -1)
    return (127.5 + 120 * waves).round().to(torch.uint8)


def as_planes(image: Tensor) -> Tensor:
    return image.permute(2, 0, 1)[None].float() / 255


def strong() -> Maps:
    """Turned, shrunk, tilted, and looking beyond the picture."""
    return compose(rotate(25), zoom(0.6, 0.2, 0.7), warp(0.2, -0.1), flip())


# Properties


@every_backend
@every_mode
@every_pad
def test_identity_gives_the_picture_back(backend: Backend, mode: Mode, pad_mode: PadMode) -> None:
    image = picture(19, 37)
    out = sample_images(image[None], identity(), (19, 37), mode=mode, pad_mode=pad_mode, backend=backend)
    assert (out - as_planes(image)).abs().max() < 1e-5
    assert torch.equal((out * 255).round().to(torch.uint8), image.permute(2, 0, 1)[None])


@every_backend
@every_mode
def test_moving_by_whole_pixels_is_exact(backend: Backend, mode: Mode) -> None:
    image = picture(40, 60)
    window = crop(7 / 60, 11 / 40, 32 / 60, 20 / 40)
    out = sample_images(image[None], window, (20, 32), mode=mode, backend=backend)
    assert torch.equal((out * 255).round().to(torch.uint8)[0], image[11:31, 7:39].permute(2, 0, 1))


@every_backend
@every_mode
@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_constant_pictures_stay_constant(backend: Backend, mode: Mode, level: int) -> None:
    image = torch.full((1, 31, 23, 3), level, dtype=torch.uint8)
    for maps in (strong(), zoom(0.23), zoom(3.7, 0.1, 0.9)):
        out = sample_images(image, maps, (24, 25), mode=mode, backend=backend)
        assert (out - level * LEVEL).abs().max() < 2e-6


@every_backend
@pytest.mark.parametrize("mode", ["cubic", "bilinear"])
def test_shrinking_keeps_the_mean(backend: Backend, mode: Mode) -> None:
    """Energy: no light is lost or made, whatever the size, once the borders mirror."""
    image = picture(96, 96)
    for size in (48, 31, 17):
        out = sample_images(image[None], identity(), (size, size), mode=mode, backend=backend)
        assert (out.mean((2, 3)) - as_planes(image).mean((2, 3))).abs().max() < 0.6 * LEVEL


@every_backend
@pytest.mark.parametrize("mode", ["cubic", "bilinear"])
def test_shrinking_does_not_alias(backend: Backend, mode: Mode) -> None:
    """A pattern finer than the output can show becomes grey, not another pattern."""
    x = torch.arange(240)
    for per_stripe in (2, 3):
        stripes = (((x // (per_stripe / 2)).long() % 2) * 255).to(torch.uint8)
        image = stripes[None, :, None].expand(240, 240, 3).contiguous()
        out = sample_images(image[None], rotate(4), (60, 60), mode=mode, backend=backend)[..., 6:-6, 6:-6]
        assert out.std() < (0.02 if mode == "cubic" else 0.05), f"stripes of {per_stripe} pixels"


@every_backend
def test_enlarging_interpolates_between_pixels_and_keeps_them(backend: Backend) -> None:
    image = picture(12, 12)
    out = sample_images(image[None], identity(), (36, 36), backend=backend)
    assert torch.equal((out[..., 1::3, 1::3] * 255).round().to(torch.uint8)[0], image.permute(2, 0, 1))


@every_backend
@pytest.mark.parametrize("mode", ["cubic", "bilinear"])
def test_composed_maps_look_like_maps_in_turn_but_sharper(backend: Backend, mode: Mode) -> None:
    image = smooth(80, 80)
    one, two = compose(rotate(12), zoom(1.3, 0.4, 0.6)), compose(warp(0.1, 0.05), zoom(1.2))
    at_once = sample_images(image[None], compose(one, two), (64, 64), mode=mode, backend=backend)
    between = sample_images(image[None], one, (80, 80), mode=mode, backend=backend)
    halfway = (between * 255).round().to(torch.uint8)
    in_turn = sample_images(halfway, two, (64, 64), mode=mode, backend=backend, layout="chw")
    assert (at_once - in_turn).abs().max() < 3 * LEVEL


@every_backend
def test_a_map_and_its_inverse_give_the_picture_back(backend: Backend) -> None:
    image = smooth(90, 70)
    maps = compose(rotate(15, 70 / 90), zoom(1.1), warp(0.1, -0.1))
    there = (sample_images(image[None], maps, (90, 70), backend=backend) * 255).round().to(torch.uint8)
    back = sample_images(there, inverse(maps), (90, 70), backend=backend, layout="chw")
    middle = (slice(None), slice(None), slice(30, 60), slice(24, 46))
    assert (back - as_planes(image))[middle].abs().max() < 3 * LEVEL


@every_backend
@every_mode
def test_flips_mirror_exactly(backend: Backend, mode: Mode) -> None:
    image = picture(18, 27)
    out = sample_images(image[None], flip([True]), (18, 27), mode=mode, backend=backend)
    assert (out - as_planes(image).flip(3)).abs().max() < 1e-5


@every_backend
@every_mode
def test_a_mirrored_view_of_a_warp_is_the_warp_of_the_mirrored_picture(backend: Backend, mode: Mode) -> None:
    image = picture(33, 48)
    maps = compose(fit((33, 48), (20, 20)), rotate(10.1), warp(0.2, 0.11))
    mirrored = compose(flip(), maps)
    a = sample_images(image[None], maps, (20, 20), mode=mode, backend=backend)
    b = sample_images(image.flip(1).contiguous()[None], mirrored, (20, 20), mode=mode, backend=backend)
    assert (a - b).abs().max() < 1e-4


# What lies beyond the picture


@every_backend
@every_mode
def test_beyond_the_picture_is_what_pad_mode_says(backend: Backend, mode: Mode) -> None:
    image = picture(8, 8)
    wide = np.asarray(as_planes(image))[0]
    shown = zoom(1 / 3)  # three pictures across, ours in the middle
    for pad_mode, numpy_mode in (("reflection", "symmetric"), ("border", "edge"), ("zeros", "constant")):
        out = sample_images(image[None], shown, (24, 24), mode=mode, pad_mode=pad_mode, backend=backend)  # type: ignore[arg-type]
        padded = np.pad(wide, ((0, 0), (8, 8), (8, 8)), mode=numpy_mode)  # type: ignore[call-overload]
        np.testing.assert_allclose(out[0].numpy(), padded, atol=1e-5)


@every_backend
def test_far_beyond_the_picture_reflection_goes_on(backend: Backend) -> None:
    image = picture(5, 7)
    out = sample_images(image[None], zoom(1 / 9), (45, 63), backend=backend)[0].numpy()
    padded = np.asarray(as_planes(image))[0]
    for _ in range(2):
        padded = np.pad(padded, ((0, 0), (5, 5), (7, 7)), mode="symmetric")
    np.testing.assert_allclose(out[:, 10:-10, 14:-14], padded, atol=1e-5)


@every_backend
@every_mode
@every_pad
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3)])
def test_the_smallest_pictures_can_be_sampled(
    backend: Backend, mode: Mode, pad_mode: PadMode, shape: tuple[int, int]
) -> None:
    out = sample_images(
        picture(*shape)[None], strong(), (6, 5), mode=mode, pad_mode=pad_mode, backend=backend
    )
    assert out.isfinite().all()
    assert 0 <= out.min() <= out.max() <= 1


@every_backend
@every_mode
def test_a_horizon_in_view_gives_values_not_a_hang(backend: Backend, mode: Mode) -> None:
    maps = identity()
    maps[0, 2] = [1.7, 0.4, 1.0]  # the denominator passes zero inside the output
    out = sample_images(picture(12, 10)[None], maps, (16, 18), mode=mode, backend=backend)
    assert out.isfinite().all()


# The same map for pixels, labels and points


@every_backend
@settings(max_examples=6)
@given(
    turn=st.floats(-20, 20), scale=st.floats(0.9, 1.6), tilt=st.floats(-0.15, 0.15), at=st.floats(-0.3, 0.3)
)
def test_points_masks_and_pixels_move_together(
    backend: Backend, turn: float, scale: float, tilt: float, at: float
) -> None:
    height, width, size = 120, 160, (96, 96)
    maps = compose(fit((height, width), size), rotate(turn), zoom(scale), warp(tilt, -tilt))
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cx, cy = (at + 1) * width / 2 - 0.5, (0.3 * at + 1) * height / 2 - 0.5
    distance = (x - cx) ** 2 + (y - cy) ** 2
    spot = (255 * torch.exp(-distance / 8)).round().to(torch.uint8)
    out = sample_images(spot[None, ..., None], maps, size, backend=backend)[0, 0]
    disc = sample_labels((distance < 60).long()[None], maps, size, backend=backend)[0].float()
    point = map_points(maps, torch.tensor([[[at, 0.3 * at]]], dtype=torch.float64))[0, 0]
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    for seen, within in ((out, 0.15), (disc, 0.5)):
        centre = [float((seen * each).sum() / seen.sum()) for each in (columns, rows)]
        wanted = [(float(point[0]) + 1) * size[1] / 2 - 0.5, (float(point[1]) + 1) * size[0] / 2 - 0.5]
        assert centre == pytest.approx(wanted, abs=within)


@every_backend
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int16, torch.int32, torch.int64])
def test_labels_stay_exact_and_keep_their_dtype(backend: Backend, dtype: torch.dtype) -> None:
    top = 1 if dtype == torch.bool else torch.iinfo(dtype).max
    labels = torch.tensor([0, top], dtype=dtype)[
        torch.randint(0, 2, (30, 20), generator=torch.Generator().manual_seed(0))
    ]
    out = sample_labels(labels[None], strong(), (15, 16), backend=backend)
    assert out.dtype == dtype
    assert set(out.unique().tolist()) == {0, top}
    same = sample_labels(labels[None], identity(), (30, 20), backend=backend)
    assert torch.equal(same[0], labels)


@every_backend
def test_labels_are_those_of_the_nearest_pixel_of_the_image(backend: Backend) -> None:
    image = picture(25, 30, channels=1)
    pixels = sample_images(image[None], strong(), (20, 22), mode="nearest", backend=backend)
    labels = sample_labels(image[None, ..., 0], strong(), (20, 22), backend=backend)
    assert torch.equal((pixels[:, 0] * 255).round().to(torch.uint8), labels)


@every_backend
def test_labels_beyond_the_mask_are_zero_when_asked(backend: Backend) -> None:
    mask = torch.full((1, 4, 4), 9)
    out = sample_labels(mask, zoom(0.5), (8, 8), pad_mode="zeros", backend=backend)
    assert out.sum() == 9 * 16
    assert (out[0, 2:6, 2:6] == 9).all()


@every_backend
def test_masks_of_different_sizes_are_read_together(backend: Backend) -> None:
    masks = [torch.ones(5, 9, dtype=torch.uint8), np.full((7, 3), 2, dtype=np.uint8)]
    out = sample_labels(masks, identity(), (4, 4), backend=backend)
    assert out.unique(dim=0).shape[0] == 2
    assert out[0].unique().tolist() == [1]
    assert out[1].unique().tolist() == [2]


# Lighting


@every_backend
@every_mode
def test_curves_are_applied_to_each_picture_and_channel(backend: Backend, mode: Mode) -> None:
    images = torch.stack([picture(20, 20, seed=s) for s in (1, 2)])
    gain = torch.tensor([[[2.0], [3.0], [4.0]], [[-1.0], [0.5], [9.0]]])
    curves = level_curves(2, 3) * gain - 0.5
    plain = sample_images(images, strong(), (17, 18), mode=mode, backend=backend)
    lit = sample_images(images, strong(), (17, 18), mode=mode, backend=backend, curves=curves)
    assert torch.allclose(lit, plain * gain[..., None] - 0.5, atol=1e-5)


@every_backend
def test_curves_reach_every_one_of_many_channels(backend: Backend) -> None:
    image = picture(9, 8, channels=21)
    gain = torch.arange(21.0)
    lit = sample_images(
        image[None], identity(), (9, 8), backend=backend, curves=level_curves(1, 21) * gain[:, None]
    )
    assert torch.allclose(lit, as_planes(image) * gain[:, None, None], atol=1e-4)


@every_backend
def test_one_curve_serves_all_and_bends_between_levels(backend: Backend) -> None:
    images = torch.stack([picture(20, 20, seed=s) for s in (1, 2)])
    plain = sample_images(images, strong(), (17, 18), backend=backend)
    squared = sample_images(images, strong(), (17, 18), backend=backend, curves=level_curves()[:1] ** 2)
    assert (squared - plain**2).abs().max() < 0.02 * LEVEL


@every_backend
def test_overshoot_never_leaves_the_range_of_levels(backend: Backend) -> None:
    edges = torch.zeros(1, 20, 20, 3, dtype=torch.uint8)
    edges[:, ::2] = 255
    edges[:, :, 7:] = 255
    out = sample_images(edges, zoom(1.7), (40, 40), backend=backend)
    assert out.min() == 0
    assert out.max() == pytest.approx(1, abs=1e-6)


# Shapes, dtypes, and where results go


@every_backend
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16, 19])
def test_channels_do_not_touch_each_other(backend: Backend, channels: int) -> None:
    image = picture(30, 40, channels)
    out = sample_images(image[None], strong(), (20, 19), backend=backend)
    alone = [
        sample_images(image[None, ..., c : c + 1].contiguous(), strong(), (20, 19), backend=backend)
        for c in range(channels)
    ]
    assert torch.allclose(out, torch.cat(alone, 1), atol=1e-6)


@every_backend
def test_layouts_agree(backend: Backend) -> None:
    images = torch.stack([picture(21, 33, seed=s) for s in (1, 2)])
    planar = images.permute(0, 3, 1, 2).contiguous()
    a = sample_images(images, strong(), (16, 16), backend=backend)
    assert torch.equal(a, sample_images(planar, strong(), (16, 16), backend=backend, layout="chw"))
    assert torch.equal(a, sample_images(list(planar), strong(), (16, 16), backend=backend, layout="chw"))


@every_backend
def test_pictures_of_different_sizes_arrays_or_tensors_make_one_batch(backend: Backend) -> None:
    odd = picture(33, 20).numpy()
    odd.flags.writeable = False  # as Pillow gives them
    turned = picture(20, 20, seed=4).numpy()[:, ::-1]
    mixed = [picture(40, 50), odd, turned]
    maps = np.concatenate([fit(image.shape[:2], (12, 12)) for image in mixed])
    out = sample_images(mixed, maps, (12, 12), backend=backend)
    assert out.shape == (3, 3, 12, 12)
    for i, image in enumerate(mixed):
        alone = sample_images([image], maps[i : i + 1], (12, 12), backend=backend)
        assert torch.equal(alone[0], out[i])


@every_backend
@every_mode
def test_a_batch_equals_its_pictures_one_by_one_to_the_bit(backend: Backend, mode: Mode) -> None:
    images = torch.stack([picture(50, 61, seed=s) for s in range(11)])
    maps = np.concatenate(
        [compose(rotate(3 * k), zoom(0.7 + 0.1 * k), warp(0.02 * k, 0.1)) for k in range(11)]
    )
    together = sample_images(images, maps, (23, 29), mode=mode, backend=backend)
    for i in range(len(images)):
        alone = sample_images(images[i : i + 1], maps[i : i + 1], (23, 29), mode=mode, backend=backend)
        assert torch.equal(alone[0], together[i])


@every_mode
@pytest.mark.parametrize("count", [1, 3])
def test_threads_do_not_change_a_bit(mode: Mode, count: int) -> None:
    images = torch.stack([picture(64, 48, seed=s) for s in range(count)])
    curves = level_curves() * 1.7
    one = sample_images(images, strong(), (37, 41), mode=mode, threads=1, curves=curves)
    for threads in (2, 3, 50):
        assert torch.equal(
            one, sample_images(images, strong(), (37, 41), mode=mode, threads=threads, curves=curves)
        )


@every_backend
def test_a_given_batch_is_filled_whatever_its_memory_order(backend: Backend) -> None:
    image = picture(20, 20)[None]
    wanted = sample_images(image, strong(), (10, 40), backend=backend)
    for out in (torch.empty(1, 3, 10, 40), torch.empty(1, 3, 10, 40).to(memory_format=torch.channels_last)):
        assert sample_images(image, strong(), (10, 40), out=out, backend=backend) is out
        assert torch.equal(out, wanted)


@every_backend
@every_mode
def test_autocast_and_default_types_cannot_touch_it(backend: Backend, mode: Mode) -> None:
    image = picture(60, 60)[None]
    wanted = sample_images(image, strong(), (40, 40), mode=mode, backend=backend)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = sample_images(image, strong(), (40, 40), mode=mode, backend=backend)
    finally:
        torch.set_default_dtype(torch.float32)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, wanted)


def test_the_picture_is_left_as_it_was() -> None:
    image = picture(20, 20)
    before = image.clone()
    sample_images(image[None], strong(), (10, 10))
    assert torch.equal(image, before)


@pytest.mark.parametrize("mode", list(KERNELS))
def test_kernels_interpolate_and_end_at_zero(mode: Mode) -> None:
    """Read a single white pixel along a line: 1 where it is, 0 a whole pixel away, 0 beyond the radius."""
    line = torch.zeros(1, 1, 31, 1, dtype=torch.uint8)
    line[0, 0, 15] = 255
    out = sample_images(line, identity(), (1, 31 * 9), mode=mode, backend="torch")[0, 0, 0]
    assert out[15 * 9 + 4] == pytest.approx(1, abs=1e-6)
    assert out[4::9].sum() == pytest.approx(1, abs=1e-5)
    far = int(9 * KERNELS[mode].radius) + 1
    assert out[: 15 * 9 + 4 - far].abs().max() == 0


# What cannot be used is named

IMAGE = torch.zeros(2, 4, 5, 3, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": []}, ShapeError, "there are no images"),
        ({"images": IMAGE.float()}, ArgumentTypeError, "image 0 is torch.float32; expected torch.uint8"),
        ({"images": IMAGE[0]}, ShapeError, r"image 0 has shape \(5, 3\); expected \(H, W, C\)"),
        ({"images": IMAGE[:, :0]}, ShapeError, r"image 0 has shape \(0, 5, 3\)"),
        ({"images": [IMAGE[0], IMAGE[0, ..., :1]]}, ShapeError, "image 1 has 1 channels on cpu, image 0 has 3"),
        ({"maps": identity(3)}, ShapeError, "3 maps for 2 pictures"),
        ({"maps": np.eye(3)}, ShapeError, r"expected \(N, 3, 3\)"),
        ({"size": (0, 4)}, ArgumentError, r"size is \(0, 4\)"),
        ({"size": (4, 4, 4)}, ArgumentError, r"expected \(height, width\)"),
        ({"mode": "lanczos"}, ArgumentError, "mode is 'lanczos'; expected one of cubic, bilinear, nearest"),
        ({"pad_mode": "wrap"}, ArgumentError, "pad_mode is 'wrap'"),
        ({"layout": "nhwc"}, ArgumentError, "layout is 'nhwc'"),
        ({"backend": "gpu"}, ArgumentError, "backend is 'gpu'"),
        ({"backend": "triton"}, ArgumentError, "backend triton cannot sample images on cpu"),
        ({"threads": 0}, ArgumentError, "threads is 0"),
        ({"curves": torch.zeros(2, 3, 256)}, ShapeError, r"curves have shape \(2, 3, 256\); expected \(2, 3, 257\)"),
        ({"out": torch.zeros(2, 3, 4, 5)}, ShapeError, r"expected torch.float32 \(2, 3, 4, 4\) on cpu"),
        ({"out": torch.zeros(2, 3, 4, 4).double()}, ShapeError, "out is torch.float64"),
    ],
)  # fmt: skip
def test_what_cannot_be_sampled_is_named(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"images": IMAGE, "maps": identity(), "size": (4, 4), **change}
    with pytest.raises(error, match=message):
        sample_images(**arguments)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([], "there are no masks"),
        (torch.zeros(1, 4, 4), r"mask 0 is torch.float32 \(4, 4\); expected integers of shape \(H, W\)"),
        (torch.zeros(1, 4, 4, 1, dtype=torch.long), r"\(4, 4, 1\)"),
        (
            [torch.zeros(2, 2, dtype=torch.long), torch.zeros(2, 2, dtype=torch.uint8)],
            "mask 1 is torch.uint8",
        ),
    ],
)
def test_masks_that_are_none_are_named(masks: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        sample_labels(masks, identity(), (4, 4))


def test_a_backend_that_is_not_installed_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"needs the library numba.*\n  Try pip install numba$"):
        sample_images(IMAGE, identity(), (4, 4), backend="numba")
    assert sample_images(IMAGE, identity(), (4, 4)).shape == (2, 3, 4, 4)  # auto goes on in plain torch
