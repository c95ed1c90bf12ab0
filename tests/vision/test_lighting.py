"""Light equals its formula in logits, whether it rides on levels or acts on pixels; what mixes channels keeps greys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError, ShapeError
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.lighting import Brightness, Contrast, Hue, Normalize, RandomErasing, Saturation
from plainlearn.vision.placed import PlacedImage

BLOCK = ImageBlock()
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(5, 250, (4, 3, 6, 5), dtype=np.uint8))


def applied(transform: Any, field: Any, seed: int = 3) -> Any:
    return transform.on_batch((field,), (BLOCK,), np.random.default_rng(seed), train=True)[0]


def waiting() -> PlacedImage:
    return PlacedImage.from_batch(PIXELS)


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
    never, always = (BLOCK.to_model(applied(kind(p=p), waiting())) for p in (0.0, 1.0))
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
    same = PlacedImage.from_batch(PIXELS[:1].expand(4, -1, -1, -1))
    lit: Tensor = applied(Brightness(p=1.0), same).read()
    assert len({round(each.mean().item(), 4) for each in lit}) == 4


def test_items_lit_one_by_one_keep_their_light_in_the_batch_and_on_the_way_to_a_gpu() -> None:
    parts = [applied(Brightness(0.5, 1.0), PlacedImage.from_batch(PIXELS[i : i + 1]), i) for i in range(4)]
    parts[2] = PlacedImage.from_batch(PIXELS[2:3])
    joined = PlacedImage.joined(parts).with_curves_of(parts)
    assert torch.equal(joined.read(), torch.cat([part.read() for part in parts]))
    assert torch.equal(joined.presized(), joined.read().mul(255).round().to(torch.uint8))


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
