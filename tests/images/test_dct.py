"""Tests of JPEGs decoded smaller than they are: the same picture in the same place, and damage still found."""

import io

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.geometry import compose, identity, scaled_jpeg_crop
from plainlearn.augment.sampling.sample import sample_images
from plainlearn.augment.transforms import (
    CropPad,
    Dihedral,
    Flip,
    RandomResizedCrop,
    Resize,
    Rotate,
    Warp,
    Zoom,
    min_downscale,
)
from plainlearn.core.errors import DataError
from plainlearn.data.block import DataBlock
from plainlearn.data.blocks import CategoryBlock
from plainlearn.images.decode import ScaledJpeg
from plainlearn.images.files import EncodedImage, JpegFrame
from plainlearn.images.load import load_image
from plainlearn.vision.blocks import ImageBlock, MaskBlock
from plainlearn.vision.point_block import PointBlock


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAINLEARN_HOME", str(tmp_path / "home"))


def smooth(height, width, seed=0):
    """Colours that wander softly, so that a shift shows and a kernel hardly does."""
    small = np.random.default_rng(seed).integers(40, 216, (6, 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def jpeg(pixels, orientation=1, mode="RGB", **options):
    image, stream = Image.fromarray(pixels).convert(mode), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(stream, "JPEG", quality=97, subsampling=0, exif=exif, **options)
    return stream.getvalue()


def drafted(source, *transforms, block=None, train=False):
    return (block or ImageBlock()).draft(source, transforms, train=train)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(480, 640), (487, 645), (481, 647)])
@pytest.mark.parametrize(("side", "scale"), [(80, 2), (40, 4), (20, 8)])
def test_a_draft_shows_what_the_whole_shows_in_the_same_place(orientation, size, side, scale):
    data, block, resize = jpeg(smooth(*size), orientation), ImageBlock(), Resize(side, "squish")
    draft = drafted(data, resize)
    assert isinstance(draft, ScaledJpeg) and draft.scale == scale
    whole = block.open(data)
    assert draft.frame.size == block.frame(draft) == whole.shape[:2]
    assert draft.pixels.shape[:2] == tuple(-(-length // scale) for length in whole.shape[:2])
    # Sixteen blocks a side are means: what is left of a difference in kernels is small beside a shift of half a pixel.
    seen = [
        resize.on_items(
            (block.place(thing, block.frame(thing)),), (block,), np.random.default_rng(0), train=False
        )[0].read()
        for thing in (draft, whole)
    ]
    assert shift(*seen) < 0.02
    assert (seen[0] - seen[1]).abs().max() * 255 < 3


def shift(ours, wanted):
    """How far one is beside the other, in pixels, by least squares on the slopes; the larger of across and down."""
    ours, wanted = (each[0].mean(0).numpy().astype(np.float64) for each in (ours, wanted))
    down, across = np.gradient(wanted)
    inner = slice(2, -2), slice(2, -2)
    slopes = np.stack([down[inner].ravel(), across[inner].ravel()], 1)
    moved, *_ = np.linalg.lstsq(slopes, (ours - wanted)[inner].ravel(), rcond=None)
    return np.abs(moved).max()


def test_the_measure_of_a_shift_sees_half_a_pixel_of_the_original():
    data, resize = jpeg(smooth(487, 645)), Resize(40, "squish")
    draft = drafted(data, resize)
    whole = load_image(data)
    maps = resize.maps_for(np.array([whole.shape[:2]]), np.random.default_rng(0), train=False)[0]
    moved = compose(scaled_jpeg_crop(*draft.frame, draft.scale, draft.pixels.shape), maps)
    moved[:, 0, 2] += 2 * 4 / 645
    seen = [sample_images([pixels], at, (40, 40)) for pixels, at in ((draft.pixels, moved), (whole, maps))]
    assert 0.15 < shift(*seen) < 0.35


@pytest.mark.parametrize("kind", ["grey", "progressive", "half-colour"])
def test_kinds_of_jpeg_that_are_drafted(kind):
    pixels = smooth(400, 480)
    if kind == "half-colour":
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=97, colorsubsampling="420")
    else:
        data = jpeg(pixels, mode="L" if kind == "grey" else "RGB", progressive=kind == "progressive")
    for mode in ("RGB", "L"):
        draft = drafted(data, Resize(50), block=ImageBlock(mode))
        assert isinstance(draft, ScaledJpeg) and draft.scale == 2
        mean = load_image(data, mode=mode).reshape(200, 2, 240, 2, -1).mean((1, 3))
        assert np.abs(draft.pixels.reshape(mean.shape) - mean).mean() < 1.5


def test_what_is_no_such_jpeg_is_opened_in_full(tmp_path):
    pixels = smooth(400, 480)
    cmyk, png = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(cmyk, "JPEG", quality=97)
    Image.fromarray(pixels).save(png, "PNG")
    for source in (cmyk.getvalue(), png.getvalue(), pixels, Image.fromarray(pixels)):
        assert drafted(source, Resize(20)).shape == (400, 480, 3)
    assert EncodedImage(b"\xff\xd8\xff").frame is EncodedImage(b"").frame is None


def test_all_pixels_are_decoded_where_they_are_asked_for():
    class Own(ImageBlock):
        def open(self, value):
            return super().open(value)[::2]

    class Nearer(Resize):
        pass

    data = jpeg(smooth(400, 480))
    assert drafted(data, Resize(20), block=ImageBlock(full_decode=True)).shape == (400, 480, 3)
    assert drafted(data, Resize(20), block=ImageBlock(channels=3)).shape == (400, 480, 3)
    assert drafted(data, Resize(20), block=Own()).shape == (200, 480, 3)
    assert drafted(data, Nearer(20)).shape == (400, 480, 3)
    assert drafted(data).shape == (400, 480, 3)
    assert drafted(data, Resize(67)).shape == (400, 480, 3)  # 3 pixels of the draft for one would be too few
    assert isinstance(drafted(data, Resize(66)), ScaledJpeg)


def test_a_function_sees_all_pixels():
    seen = []

    def look(things):
        seen.append(things[0].shape)
        return things

    data = jpeg(smooth(400, 480))
    DataBlock((ImageBlock, CategoryBlock), get_y=lambda item: "a", item_tfms=[Resize(20), look]).datasets(
        [data] * 5
    ).train[0]
    assert seen == [(400, 480, 3)]


def local_footprints(maps, size, output):
    """Input pixels that an output pixel spans along the input's x and y, at places all over the output: (N, P, 2)."""
    at = np.linspace(-0.9, 0.9, 9)
    u, v = np.meshgrid(at, at)
    point = np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    x, y, weight = np.moveaxis(maps @ point, 1, 0)
    x, y = x / weight, y / weight
    rows = []
    for place, row, length in ((x, 0, size[1]), (y, 1, size[0])):
        du = (maps[:, row, 0, None] - place * maps[:, 2, 0, None]) / weight * length / output[1]
        dv = (maps[:, row, 1, None] - place * maps[:, 2, 1, None]) / weight * length / output[0]
        rows.append(np.hypot(du, dv))
    return np.stack(rows, -1)


@pytest.mark.parametrize("size", [(300, 400), (1000, 150), (401, 97), (64, 64)])
@pytest.mark.parametrize(
    "transforms",
    [
        [Resize(46)],
        [Resize((30, 70), "pad")],
        [Resize((30, 70), "squish"), Flip(), Rotate(30)],
        [RandomResizedCrop(22)],
        [RandomResizedCrop((20, 30), min_scale=0.35, ratio=(0.5, 1))],
        [Resize(40), Zoom(max_zoom=3)],
        [Zoom(draw=2.0), CropPad(50)],
        [Dihedral(size=30)],
        [Resize(40), Warp(0.3)],
        [Warp(draw_x=0.2, draw_y=-0.3, p=1.0, size=32)],
    ],
    ids=str,
)
@pytest.mark.parametrize("train", [True, False])
def test_no_draw_looks_closer_than_is_said(transforms, size, train):
    said, count, rng = min_downscale(transforms, size, train=train), 300, np.random.default_rng(0)
    maps, sizes = np.broadcast_to(np.eye(3), (count, 3, 3)), np.tile(size, (count, 1))
    for transform in transforms:
        drawn, output = transform.maps_for(sizes, rng, train=train)
        maps = compose(maps, drawn)
        sizes = sizes if output is None else np.tile(output, (count, 1))
    mean = local_footprints(maps, size, sizes[0]).mean(1)
    assert mean.min() >= said * 0.999
    assert mean.min(axis=1).min() <= said * 1.6  # nor much farther


def test_of_transforms_that_nobody_knows_nothing_is_said():
    class Own(Flip):
        pass

    assert min_downscale([Resize(10), Own()], (300, 400), train=True) == 1
    assert min_downscale([Resize(10), Zoom(draw=np.ones)], (300, 400), train=True) == 1
    assert min_downscale([Resize(10), Warp(draw_x=np.ones)], (300, 400), train=True) == 1
    assert min_downscale([Resize(np.int64(10)), Flip()], (300, 400), train=True) == 30


def test_damage_is_found_in_a_draft_as_in_the_whole(tmp_path):
    rng = np.random.default_rng(0)
    noisy = (smooth(240, 320) + rng.normal(0, 12, (240, 320, 3))).clip(0, 255).astype(np.uint8)
    for sound in (jpeg(noisy), jpeg(noisy, progressive=True)):
        found = 0
        for cut in np.linspace(700, len(sound) - 3, 12).astype(int):
            damaged = sound[:cut] if cut % 2 else sound[:cut] + bytes(40) + sound[cut + 40 :]
            (tmp_path / "a.jpg").write_bytes(damaged)
            try:
                load_image(damaged)
            except DataError:
                found += 1
                with pytest.raises(DataError, match=r"a\.jpg"):
                    drafted(str(tmp_path / "a.jpg"), Resize(10))
        assert found > 6


def photos(folder, count=9):
    files = []
    for number in range(count):
        files.append(folder / f"{number}.jpg")
        files[-1].write_bytes(jpeg(smooth(405, 483, number), orientation=1 + number % 8))
    return files


def batches(files, workers, side=0, **block):
    data = DataBlock(
        (ImageBlock(**block), CategoryBlock),
        get_y=lambda file: "a",
        splitter=lambda items: (range(2, len(items)), [0, 1]),
        item_tfms=RandomResizedCrop(24, min_scale=0.35),
        batch_tfms=aug_transforms(size=16),
    )
    loaders = data.dataloaders(files, bs=4, num_workers=workers, device="cpu", seed=3, drop_last=False)
    rounds = [[x for x, _ in loaders[side]] for _ in range(2)]
    return torch.cat([x for batches in rounds for x in batches]), loaders


def test_threads_and_caches_change_nothing(tmp_path):
    files = photos(tmp_path)
    wanted, _ = batches(files, 0)
    for workers, cache in ((2, "none"), (0, "memory"), (2, "disk"), (0, "disk")):
        assert torch.equal(batches(files, workers, cache=cache)[0], wanted)
    whole, _ = batches(files, 0, full_decode=True)
    assert 0 < (whole - wanted).abs().max() < 0.03


def test_new_items_are_decoded_as_in_validation(tmp_path):
    files = photos(tmp_path)
    seen, loaders = batches(files, 0, side=1)
    for source in (files[:2], [file.read_bytes() for file in files[:2]]):
        assert torch.equal(loaders.test_dl(source).one_batch()[0], seen[:2])


def test_a_cache_keeps_scales_apart(tmp_path):
    (file,) = photos(tmp_path, 1)
    block = ImageBlock(cache="memory")
    half, quarter = (drafted(file, Resize(side), block=block) for side in (60, 30))
    assert (half.scale, quarter.scale) == (2, 4)
    assert block.open(file).shape == (405, 483, 3)
    again = drafted(file, Resize(60), block=block)
    assert again.pixels is half.pixels and again.frame == half.frame == JpegFrame((405, 483), 1)
    assert block.spec.kept.misses == 3


def test_masks_and_points_stay_with_a_draft(tmp_path):
    (file,) = photos(tmp_path, 1)
    mask = np.zeros((405, 483), np.uint8)
    mask[100:300, 50:200] = 1
    data = DataBlock(
        (ImageBlock, MaskBlock, PointBlock), n_inp=1,
        get_y=[lambda file: mask, lambda file: [(241, 202), (0, 0)]],
        splitter=lambda items: ([0], [1]), item_tfms=Resize((27, 32), "squish"),
    )  # fmt: skip
    image, seen, points = data.datasets([file, file]).valid[0]
    wanted = sample_images([load_image(file)], identity(), (27, 32))
    assert (image / 255 - wanted[0]).abs().max() < 0.02
    assert seen.sum() == round(200 / 405 * 27) * round(150 / 483 * 32)
    torch.testing.assert_close(points, torch.tensor([[0.0, 0.0], [1 / 483 - 1, 1 / 405 - 1]]))


def test_the_summary_says_what_was_decoded(tmp_path, capsys):
    files = photos(tmp_path, 5)
    DataBlock((ImageBlock, CategoryBlock), get_y=lambda file: "a", splitter=lambda items: ([0, 1, 2], [3, 4]),
              item_tfms=Resize(24)).summary(files, bs=2)  # fmt: skip
    assert "uint8 array (102, 121, 3), of 405 × 483 decoded at 1/4" in capsys.readouterr().out


def test_a_draft_read_at_its_full_size_has_its_full_size():
    block, data = ImageBlock(), jpeg(smooth(400, 480))
    draft = drafted(data, Resize(50))
    placed = block.place(draft, block.frame(draft))
    assert placed.read().shape == placed.materialize().shape == (1, 3, 400, 480)


@pytest.mark.parametrize("size", [(480, 640), (481, 647)])
def test_pillow_drafts_the_same_where_simplejpeg_is_missing(monkeypatch, size):
    data = jpeg(smooth(*size), orientation=6)
    wanted = drafted(data, Resize(40))
    monkeypatch.setattr("plainlearn.images.decode.simplejpeg", None)
    draft = drafted(data, Resize(40))
    assert (draft.scale, draft.frame) == (wanted.scale, wanted.frame) and wanted.scale == 4
    assert np.abs(draft.pixels.astype(int) - wanted.pixels).max() <= 1
