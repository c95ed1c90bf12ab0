"""Light equals its formula in logits, whether it rides on levels or acts on pixels; what mixes channels keeps greys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plainlearn.augment.lighting import Brightness, Contrast, Hue, Normalize, RandomErasing, Saturation
from plainlearn.augment.pending import PendingImage
from plainlearn.augment.transforms import Flip
from plainlearn.core.errors import ArgumentError, DataError, ShapeError
from plainlearn.data import CategoryBlock, DataBlock, IndexSplitter
from plainlearn.data.blocks import finished
from plainlearn.vision.blocks import ImageBlock

BLOCK = ImageBlock()
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(5, 250, (4, 3, 6, 5), dtype=np.uint8))


def applied(transform: Any, field: Any, seed: int = 3) -> Any:
    return transform.on_batch((field,), (BLOCK,), np.random.default_rng(seed), train=True)[0]


def waiting() -> PendingImage:
    return PendingImage.from_batch(PIXELS)


FLOATS = PIXELS.float() / 255


def test_brightness_adds_to_logits_what_was_drawn() -> None:
    rng = np.random.default_rng(3)
    rng.random(4)
    to = torch.from_numpy(rng.uniform(0.25, 0.75, 4)).view(4, 1, 1, 1)
    wanted = (FLOATS.double().logit() + to.logit()).sigmoid()
    assert torch.allclose(applied(Brightness(0.5, 1.0), waiting()).read().double(), wanted, atol=1e-5)


def test_contrast_multiplies_logits_by_what_was_drawn() -> None:
    rng = np.random.default_rng(3)
    rng.random(4)
    factor = torch.from_numpy(np.exp(rng.uniform(np.log(0.5), -np.log(0.5), 4))).view(4, 1, 1, 1)
    wanted = (FLOATS.double().logit() * factor).sigmoid()
    assert torch.allclose(applied(Contrast(0.5, 1.0), waiting()).read().double(), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "transform", [Brightness(0.4, 0.5), Contrast(0.4, 0.5), Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))]
)
def test_folded_into_levels_is_the_same_as_on_finished_pixels(transform: Any) -> None:
    assert torch.allclose(applied(transform, waiting()).read(), applied(transform, FLOATS), atol=1e-5)


def test_normalisation_is_undone() -> None:
    normalize = Normalize.from_stats([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    finished = applied(normalize, waiting()).read()
    assert torch.allclose(
        finished.mean(),
        (
            (FLOATS - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1))
            / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
        ).mean(),
        atol=1e-5,
    )
    assert torch.allclose(normalize.decode((finished,), (BLOCK,))[0], FLOATS, atol=1e-5)
    assert torch.equal(BLOCK.from_model(normalize.decode((finished,), (BLOCK,))[0]), PIXELS)
    with pytest.raises(ShapeError, match="Normalize has 2 channels and the images 3"):
        applied(Normalize((0.5, 0.5), (1.0, 1.0)), FLOATS)
    with pytest.raises(ArgumentError, match="std above 0"):
        Normalize((0.5,), (0.0,))


@pytest.mark.parametrize("kind", [Saturation, Hue, Brightness, Contrast, RandomErasing])
def test_p_0_leaves_pictures_alone_and_p_1_none(kind: Any) -> None:
    never, always = (finished(BLOCK, applied(kind(p=p), waiting())) for p in (0.0, 1.0))
    assert torch.allclose(never, FLOATS, atol=1e-6)
    assert ((always - FLOATS).abs().flatten(1).amax(1) > 0).all()


@pytest.mark.parametrize("transform", [Saturation(0.5, 1.0), Hue(0.4, 1.0)])
def test_colour_keeps_greys_and_changes_colours(transform: Any) -> None:
    grey = FLOATS[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(applied(transform, grey), grey, atol=1e-5)
    assert not torch.allclose(applied(transform, FLOATS), FLOATS, atol=0.01)
    assert torch.equal(applied(transform, FLOATS[:, :1]), FLOATS[:, :1])  # one channel has no colour


def test_hue_keeps_the_sum_of_the_channels_where_nothing_is_cut() -> None:
    red = torch.tensor([0.6, 0.1, 0.1]).view(1, 3, 1, 1)
    matrix = [applied(Hue(0.5, 1.0), red, seed).flatten() for seed in range(20)]
    assert all(torch.isclose(each.sum(), red.sum(), atol=0.05) or each.min() == 0 for each in matrix)


def test_erasing_replaces_boxes_of_the_size_it_may() -> None:
    field = torch.full((8, 3, 40, 40), 2.0)
    out = applied(RandomErasing(1.0, 0.1, 0.2), field)
    share = (out != 2).any(1).float().mean((1, 2))
    assert ((share > 0.08) & (share < 0.22)).all()
    gone = (out[0] != 2).any(0)
    rows, columns = gone.any(1).nonzero(), gone.any(0).nonzero()
    assert gone.sum() == len(rows) * len(columns) and torch.equal(field, torch.full_like(field, 2))


def test_each_picture_is_lit_on_its_own() -> None:
    same = PendingImage.from_batch(PIXELS[:1].expand(4, -1, -1, -1))
    lit: Tensor = applied(Brightness(p=1.0), same).read()
    assert len({round(each.mean().item(), 4) for each in lit}) == 4


def test_items_lit_one_by_one_keep_their_light_in_the_batch_and_on_the_way_to_a_gpu() -> None:
    parts = [applied(Brightness(0.5, 1.0), PendingImage.from_batch(PIXELS[i : i + 1]), i) for i in range(4)]
    parts[2] = PendingImage.from_batch(PIXELS[2:3])
    joined = PendingImage.joined(parts)
    assert torch.equal(joined.read(), torch.cat([part.read() for part in parts]))
    assert torch.equal(joined.materialize(), joined.read().mul(255).round().to(torch.uint8))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Brightness(1.0),
        lambda: Contrast(-0.1),
        lambda: Saturation(1.0),
        lambda: Hue(0.6),
        lambda: Brightness(p=2.0),
        lambda: RandomErasing(sl=0.5, sh=0.2),
        lambda: RandomErasing(max_count=0),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Any) -> None:
    with pytest.raises(ArgumentError, match="expected"):
        make()


def noisy(seed: int) -> np.ndarray[Any, Any]:
    return (
        np.random.default_rng(seed)
        .normal([60, 120, 200], [5, 15, 25], (9, 8, 3))
        .clip(0, 255)
        .astype(np.uint8)
    )


def learned_from(batch_tfms: Any, seed: int = 0, bs: int = 6) -> Any:
    block = DataBlock((ImageBlock, CategoryBlock), get_x=noisy, get_y=lambda item: item % 2,
                      splitter=IndexSplitter([0, 1]), batch_tfms=batch_tfms)  # fmt: skip
    return block.dataloaders(list(range(20)), bs=bs, num_workers=0, seed=seed, device="cpu")


def test_without_numbers_they_are_learned_from_one_training_batch_and_undone() -> None:
    dls = learned_from([Normalize(), Flip(1.0)])
    (learned,) = [each for each in dls.batch_tfms if isinstance(each, Normalize)]
    raw = torch.cat([learned_from(Flip(1.0)).one_batch()[0]]).double()
    std, mean = torch.std_mean(raw, dim=(0, 2, 3))
    assert torch.allclose(torch.tensor(learned.mean).double(), mean, atol=1e-4)
    assert torch.allclose(torch.tensor(learned.std).double(), std, atol=1e-4)
    x, y = dls.one_batch()
    assert x.mean((0, 2, 3)).abs().max() < 0.01 and (x.std((0, 2, 3)) - 1).abs().max() < 0.01
    (image, _), *_ = dls.decoded_samples((x, y))
    assert any(np.array_equal(image, noisy(item)[:, ::-1]) for item in range(20))
    assert repr(learned).startswith("Normalize(mean=(0.2") and "Normalize(mean=(0.2" in repr(dls.batch_tfms)


def test_what_is_learned_is_the_same_for_a_seed_and_for_every_loader() -> None:
    one, same, other = (learned_from(Normalize(), seed) for seed in (3, 3, 4))
    assert one.batch_tfms == same.batch_tfms != other.batch_tfms
    expected = torch.cat([x for x, _ in one.valid])
    assert torch.equal(one.test_dl([0, 1]).one_batch()[0], expected)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (one.batch_tfms[0].mean, one.batch_tfms[0].std))
    wanted = (torch.from_numpy(noisy(0)).permute(2, 0, 1) / 255 - mean) / std
    assert torch.allclose(expected[0], wanted, atol=1e-4)


def test_learning_takes_nothing_from_the_training_that_follows() -> None:
    stats = learned_from(Normalize()).batch_tfms[0]
    for learned, given in zip(learned_from(Normalize()).train, learned_from(stats).train, strict=True):
        assert torch.equal(learned[0], given[0])


def test_what_cannot_be_learned_is_said() -> None:
    with pytest.raises(
        ArgumentError, match=r"Normalize\(\) has seen no data yet.*\n  Try Normalize.from_stats"
    ):
        applied(Normalize(), FLOATS)
    with pytest.raises(DataError, match="channel 1 has the same value in all of a training batch"):
        Normalize().setup((FLOATS * torch.tensor([1, 0, 1]).view(3, 1, 1),), (BLOCK,))
    with pytest.raises(ShapeError, match=r"one number of channels; found \[1, 3\]"):
        Normalize().setup((FLOATS, FLOATS[:, :1]), (BLOCK, BLOCK))
    with pytest.raises(ShapeError, match="found no image"):
        Normalize().setup((torch.zeros(3),), (CategoryBlock(),))
    with pytest.raises(ArgumentError, match="mean and std are empty"):
        Normalize.from_stats([], [])


def test_the_story_of_a_data_block_tells_what_was_learned() -> None:
    lines: list[str] = []
    block = DataBlock(
        (ImageBlock, CategoryBlock), get_x=noisy, get_y=str, splitter=IndexSplitter([0]), batch_tfms=Normalize
    )
    block.summary([0, 1, 2, 3, 4, 0], write=lines.append)
    assert any(line.startswith("  Normalize(mean=(0.2") for line in lines)
