"""Resized loaders give the same items at another size, leave the first ones alone, and serve a learner in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.lighting import Normalize
from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import ArgumentError
from plainlearn.data import CategoryBlock, DataBlock, RandomSplitter, get_image_files, parent_label
from plainlearn.train import Learner
from plainlearn.vision.blocks import ImageBlock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(12):
        file = tmp_path / ("cat" if number % 2 else "dog") / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(file)
    return tmp_path


def loaders(folder: Path, item_tfms: Any, batch_tfms: Any = None, bs: int = 4) -> Any:
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        splitter=RandomSplitter(0.3, seed=0),
        get_y=parent_label,
        item_tfms=item_tfms,
        batch_tfms=batch_tfms,
    )
    return block.dataloaders(folder, bs=bs, num_workers=0, device="cpu", seed=1)


@pytest.mark.parametrize(
    ("item_tfms", "batch_tfms"),
    [(Resize(24), None), (Resize(32), [*aug_transforms(size=24), Normalize([0.5] * 3, [0.5] * 3)])],
)
def test_every_batch_is_of_the_other_size(folder: Path, item_tfms: Any, batch_tfms: Any) -> None:
    dls = loaders(folder, item_tfms, batch_tfms)
    larger, wide = dls.resized(28), dls.resized((12, 20))
    assert [x.shape[2:] for side in larger for x, _ in side] == [(28, 28)] * 3
    assert wide.one_batch()[0].shape == (4, 3, 12, 20)
    assert dls.one_batch()[0].shape == (4, 3, 24, 24)


def test_all_else_is_as_it_was(folder: Path) -> None:
    dls = loaders(folder, Resize(32), [*aug_transforms(size=24), Normalize([0.5] * 3, [0.5] * 3)])
    same, other = dls.resized(24), dls.resized(16)
    for (x, y), (again, labels) in zip(dls.train, same.train, strict=True):
        assert torch.equal(x, again)
        assert torch.equal(y, labels)
    assert other.vocab == dls.vocab
    assert [y.tolist() for _, y in other.valid] == [y.tolist() for _, y in dls.valid]
    assert type(other) is type(dls)
    assert other.one_batch()[0].min() < 0, "the normalisation is gone"


def test_draws_with_weights_stay_so(folder: Path) -> None:
    dls = loaders(folder, Resize(24)).weighted([1.0] + [0.0] * 8)
    labels = torch.cat([y for _, y in dls.resized(16).train])
    assert len(labels.unique()) == 1


def test_a_run_goes_from_small_to_large(folder: Path) -> None:
    dls = loaders(folder, Resize(16))
    sizes = list[Any]()
    model = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    model[0].register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[-1]))
    learn = Learner(dls, model)
    learn.fit(1)
    learn.dls = dls.resized(24)
    learn.fit(1)
    assert sorted(set(sizes)) == [16, 24]
    assert sizes == sorted(sizes)


def test_loaders_without_a_size_are_refused(folder: Path) -> None:
    with pytest.raises(
        ArgumentError, match="no transform of these data sets a size, so there is none to change"
    ):
        loaders(folder, None).resized(24)


def test_photos_are_resized(test_data: Path, tmp_path: Path) -> None:
    archive = test_data / "oxford-iiit-pet.tgz"
    if not archive.is_file():
        pytest.skip("no photos here")
    import tarfile

    with tarfile.open(archive) as tar:
        names = [name for name in tar.getnames() if name.endswith(".jpg")][:8]
        for name in names:
            tar.extract(name, tmp_path, filter="data")
    for number, name in enumerate(names):
        target = tmp_path / "photos" / str(number % 2) / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).rename(target)
    dls = loaders(tmp_path / "photos", Resize(200), aug_transforms(size=96), bs=2)
    small, large = dls.valid.one_batch()[0], dls.resized(128).valid.one_batch()[0]
    assert large.shape == (2, 3, 128, 128)
    # The same pictures: what is smaller is what the other is when it is made smaller.
    torch.testing.assert_close(
        nn.functional.interpolate(large, (96, 96), mode="bicubic", antialias=True), small, atol=0.15, rtol=0
    )
