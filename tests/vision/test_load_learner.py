"""Every model that plainlearn puts together comes back from a file as it was, and learns on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from shipped import draw_pictures, small_learner

from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.data import CategoryBlock, DataBlock, RegressionBlock, parent_label
from plainlearn.data.items import get_image_files
from plainlearn.inference import read_model_file
from plainlearn.inference.predictor import Predictor
from plainlearn.metrics import accuracy, evaluation, rmse
from plainlearn.models.heads import create_head, linear_head
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.export import content_of
from plainlearn.vision.learner import unet_learner, vision_learner
from plainlearn.vision.load_learner import load_learner
from plainlearn.vision.loaders import SegmentationDataLoaders


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=6)
    return folder


def outputs_of(learn: Any, items: list[Any]) -> torch.Tensor:
    return learn.get_preds(dl=learn.dls.test_dl(items, bs=len(items)))[0]


def come_back(learn: Any, file: Path) -> None:
    """To the bit as a learner, nearly as a predictor (it may reckon in another order), and able to learn."""
    with learn.no_logging():
        learn.fit(1, 1e-3)
    learn.export(file)
    items = list(learn.dls.datasets.valid.items)[:4]
    expected = outputs_of(learn, items)
    again = load_learner(file)
    assert torch.equal(outputs_of(again, items), expected)
    answers = torch.stack([each.probabilities for each in Predictor.load(file).predict_batch(items)])
    assert torch.allclose(answers, expected.reshape(answers.shape), atol=1e-5)
    label = learn.predict(items[0])[0]
    assert np.array_equal(
        np.asarray(Predictor.load(file).predict(items[0]).label), np.asarray(label)
    ) or isinstance(label, float)
    before = [p.clone() for p in again.model.parameters()]
    again.dls = learn.dls
    with again.no_logging():
        again.fine_tune(1)
    assert any(not torch.equal(a, b) for a, b in zip(again.model.parameters(), before, strict=True))
    assert again.model.recipe == learn.model.recipe is not None


@pytest.mark.parametrize(
    "head",
    [
        {"lin_ftrs": [32, 16]},
        {"ps": 0.2},
        {"concat_pool": False},
        {"lin_ftrs": (16,), "ps": 0.1, "concat_pool": True},
        {"custom_head": create_head},
        {"custom_head": partial(create_head, lin_ftrs=(8,), concat_pool=False)},
    ],
    ids=["widths", "dropout", "one_pooling", "all", "create_head", "partly"],
)
def test_a_head_of_the_course_comes_back(folder: Path, tmp_path: Path, head: dict[str, Any]) -> None:
    come_back(small_learner(folder, **head), tmp_path / "it.plain")


def test_a_range_of_numbers_comes_back(folder: Path, tmp_path: Path) -> None:
    learn = small_learner(
        folder, RegressionBlock, get_y=lambda path: float(path.stem), metrics=rmse, y_range=[-1, 20]
    )
    come_back(learn, tmp_path / "it.plain")


def segmentation(folder: Path) -> Any:
    for number in range(8):
        mask = np.zeros((32, 40), np.uint8)
        mask[8:20, 3 * number : 3 * number + 10] = 1
        pixels = np.where(mask[..., None], 220, 30).astype(np.uint8).repeat(3, 2)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    files = sorted(folder.glob("*.png"))
    return SegmentationDataLoaders.from_label_func(
        folder, files, lambda path: path.parent / "masks" / path.name, codes=["no", "yes"], seed=0, bs=3,
        num_workers=0, device="cpu", valid_pct=0.25,
    )  # fmt: skip


def test_a_metric_of_large_maps_is_drawn_item_by_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = unet_learner(segmentation(tmp_path), "test_efficientnet", pretrained=False, path=tmp_path,
                         metrics=partial(accuracy, axis=1))  # fmt: skip
    (few,) = content_of(learn).card["metrics"]
    monkeypatch.setattr(evaluation, "_FEW_NUMBERS", 1)
    (large,) = content_of(learn).card["metrics"]
    assert (large["low"], large["high"]) == pytest.approx((few["low"], few["high"]), abs=1e-6)


@pytest.mark.parametrize("arch", ["resnet10t", "test_efficientnet"])
def test_a_u_net_comes_back(tmp_path: Path, arch: str) -> None:
    learn = unet_learner(segmentation(tmp_path), arch, pretrained=False, path=tmp_path)
    come_back(learn, tmp_path / "it.plain")
    assert read_model_file(tmp_path / "it.plain").architecture["recipe"]["head"] == "unet"


def test_a_u_net_of_other_weights_is_refused(tmp_path: Path) -> None:
    learn = unet_learner(segmentation(tmp_path), "test_efficientnet", pretrained=False, path=tmp_path)
    content = read_model_file(learn.export("it.plain"))
    content.architecture["recipe"]["n_out"] = 3
    with pytest.raises(DataError, match="its weights do not fit VisionModel"):
        Predictor.of(content, "it.plain")


def test_a_head_of_ones_own_is_said_to_be_that(folder: Path, tmp_path: Path) -> None:
    learn = small_learner(folder, custom_head=linear_head)
    file = learn.export(tmp_path / "it.plain")
    with pytest.raises(ArgumentError, match=r"a class of the user's own[\s\S]*model="):
        Predictor.load(file)
    given = small_learner(folder, custom_head=linear_head).model
    item = learn.dls.datasets.valid.items[0]
    assert torch.allclose(
        Predictor.load(file, model=given).predict(item).probabilities, learn.predict(item)[2], atol=1e-6
    )


def test_several_targets_are_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    dls = DataBlock(
        (ImageBlock, CategoryBlock, RegressionBlock), n_inp=1, item_tfms=Resize(32),
        get_items=lambda source: sorted(get_image_files(source)),
        get_y=[parent_label, lambda path: float(path.stem)],
    ).dataloaders(folder, bs=4, num_workers=0, device="cpu")  # fmt: skip
    learn = vision_learner(
        dls, "test_efficientnet", n_out=3, pretrained=False, loss_func=lambda x, *y: x.mean(), path=tmp_path
    )
    with pytest.raises(
        ArgumentError, match=r"2 targets, Category and Regression; a model file holds one[\s\S]*Try"
    ):
        learn.export("it.plain")
    assert list(tmp_path.iterdir()) == []
