"""One reading: validation, both predictors, the ONNX graph, the server and an ejected script make one input of a picture."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from plainlearn.app.service import ServedModel
from plainlearn.augment.lighting import Normalize
from plainlearn.augment.transforms import CropPad, Flip, RandomResizedCrop, ReadAs, Resize, Rotate
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.data import CategoryBlock, DataBlock, IndexSplitter
from plainlearn.data.target_specs import CategorySpec, MaskSpec
from plainlearn.eject import eject
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.inference.onnx_predictor import checked_reading
from plainlearn.inference.output_spec import OutputSpec
from plainlearn.inference.predictor import Predictor
from plainlearn.inference.reading import Reading
from plainlearn.train import Learner
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.file_loaders import block_of, reading_of, spec_of
from plainlearn.vision.loaders import ImageDataLoaders

Way = tuple[tuple[Any, ...], tuple[Any, ...]]
#: Transforms of items, and of batches.
WAYS: list[Way] = [
    ((Resize(40),), (Resize(32),)),
    ((Resize((20, 50), "squish"),), ()),
    ((Resize(48, "pad", "zeros"),), (Rotate(10.0, size=31), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))),
    ((Resize(48, "pad", "border"),), (RandomResizedCrop((30, 20), 0.5),)),
    ((CropPad(60, "zeros"),), (Normalize((0.5,), (0.5,)), Normalize((0.1, 0.0, -0.2), (0.9, 1.0, 1.1)))),
    ((CropPad((10, 90), "border"), Flip(size=33)), ()),
    ((), (ReadAs("bilinear"), Resize(25, "pad"))),
    ((Resize(25),), (ReadAs("nearest"), Resize(20))),
    ((), (Normalize((0.5,) * 3, (0.5,) * 3),)),
    ((), ()),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small ones of any shape, and a JPEG so large that it is decoded smaller, turned by its camera."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number, size in enumerate([(37, 61), (200, 90), (25, 25), (9, 14)]):
        noise = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    exif = Image.Exif()
    exif[274] = 6
    noise = rng.integers(0, 256, (411, 523, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "large.jpg", quality=90, exif=exif)
    return sorted(folder.iterdir())


def trained(picture: Path, way: Way, block: ImageBlock) -> tuple[Reading, NDArray[np.float32]]:
    """The reading of loaders with this picture, and the batch that their validation gives of it."""
    dls = DataBlock(
        (block, CategoryBlock(["x"])), get_y=lambda _: "x", splitter=IndexSplitter([1]), item_tfms=list(way[0]),
        batch_tfms=list(way[1]),
    ).dataloaders([picture, picture], bs=1, num_workers=0, device="cpu", check=False)  # fmt: skip
    return reading_of(dls), dls.valid.one_batch()[0].numpy()


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("block", [ImageBlock(), ImageBlock(full_decode=True)], ids=["drafts", "full"])
def test_all_make_the_same_input_of_a_picture(way: Way, block: ImageBlock, pictures: list[Path]) -> None:
    pytest.importorskip("onnxscript")
    from plainlearn.inference.onnx_reading import GraphReading

    for picture in pictures:
        reading, (expected,) = trained(picture, way, block)
        reading = Reading.from_plain(reading.as_plain())  # as a file holds it
        predictor = Predictor(nn.Identity(), reading, CategorySpec(("x",)), OutputSpec("none"))
        found: dict[str, NDArray[np.float32]] = {
            "the predictor of torch": predictor.batch([predictor.read(picture)])[0][0].numpy(),
            "the server": predictor.batch([ServedModel(predictor, "", "", {}).read(picture.read_bytes())])[0][
                0
            ].numpy(),
        }
        if reading.size is not None:
            assert checked_reading(reading.as_plain())[1] == expected.shape
            found["the predictor of onnxruntime"] = reading(picture)
        small = picture.suffix == ".png"  # what is decoded smaller is not quite the same
        if reading.kernel != "nearest" and (small or block.spec.full_decode):
            pixels = torch.from_numpy(np.array(reading.picture(picture)))
            found["the ONNX graph"] = GraphReading(reading)(pixels[None])[0].numpy()
        for name, values in found.items():
            assert values.shape == expected.shape, name
            assert np.abs(values - expected).max() < 2e-5, (name, picture.name)


def test_a_graph_as_onnxruntime_runs_it_reads_the_same(pictures: list[Path]) -> None:
    pytest.importorskip("onnxscript")
    import onnxruntime

    from plainlearn.inference.onnx_graph import onnx_of
    from plainlearn.inference.onnx_reading import GraphReading

    reading, _ = trained(pictures[0], WAYS[2], ImageBlock())
    free = {0: torch.export.Dim("images"), 1: torch.export.Dim("height", min=3), 2: torch.export.Dim("width", min=3)}  # fmt: skip
    example = torch.zeros(2, 61, 67, 3, dtype=torch.uint8)
    graph = onnx_of(GraphReading(reading).eval(), example, free, "image", ["input"], folded=True)
    session: Any = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for picture in pictures[:4]:
        _, expected = trained(picture, WAYS[2], ImageBlock())
        (found,) = session.run(None, {"image": np.array(reading.picture(picture))[None]})
        assert np.abs(found - expected).max() < 2e-5


READ_BY_SCRIPT = """
import runpy, sys
import numpy as np
script = runpy.run_path(sys.argv[0])
pictures = script["valid_items"]
read, _ = pictures.batch(script["torch"].arange(len(pictures.files)), 0, 0, 0)
assert "plainlearn" not in sys.modules
np.save(sys.argv[0].removesuffix(".py") + "-read.npy", read.numpy())
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", [WAYS[0], WAYS[2], WAYS[4]], ids=str)
def test_an_ejected_script_reads_the_same(way: Way, pictures: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("simplejpeg")
    for side in ("train", "valid"):
        for number, picture in enumerate(pictures):
            folder = tmp_path / "pictures" / side / "xy"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, folder)
    dls = ImageDataLoaders.from_folder(
        tmp_path / "pictures", item_tfms=list(way[0]), batch_tfms=list(way[1]), bs=len(pictures), num_workers=0,
        device="cpu", check=False,
    )  # fmt: skip
    script = tmp_path / "train.py"
    eject(
        Learner(dls, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))),
        script,
        recipe="fit",
        epochs=1,
    )
    run_with_argv = f"import sys; sys.argv = [{str(script)!r}]; sys.path.insert(0, {str(tmp_path)!r})\n"
    subprocess.run([sys.executable, "-c", run_with_argv + READ_BY_SCRIPT], check=True)
    reading = reading_of(dls)
    read = np.load(tmp_path / "train-read.npy")
    assert np.array_equal(read, dls.valid.one_batch()[0].numpy())
    for item, row in zip(dls.datasets.valid.items, read, strict=True):
        assert np.abs(reading(item) - row).max() < 2e-5


def test_a_grey_picture_and_a_range_of_values_are_read() -> None:
    block = ImageBlock("L", value_range=(0, 4095))
    picture = np.random.default_rng(0).integers(0, 4096, (30, 21), dtype=np.uint16)
    reading, expected = trained(picture, ((Resize(16),), ()), block)  # type: ignore[arg-type]
    assert np.abs(Reading.from_plain(reading.as_plain())(picture) - expected[0]).max() < 1e-5


def test_a_picture_comes_in_any_form(pictures: list[Path]) -> None:
    reading, (expected,) = trained(pictures[0], WAYS[0], ImageBlock())
    content = pictures[0].read_bytes()
    for form in (str(pictures[0]), content, Image.open(io.BytesIO(content)), reading.picture(pictures[0])):
        assert np.abs(reading(form) - expected).max() < 1e-5


def test_what_only_torch_reads_is_named() -> None:
    for blocks, transforms, message in (
        ((ImageBlock(), ImageBlock()), (Resize(8),), "not one picture"),
        ((ImageBlock(channels=5),), (Resize(8),), "not one picture"),
        ((ImageBlock(),), (), "depends on the picture"),
    ):
        with pytest.raises(ArgumentError, match=message):
            checked_reading(Reading(tuple(map(spec_of, blocks)), transforms).as_plain())


def test_a_block_comes_back_as_it_was() -> None:
    for block in (ImageBlock("L", (1, 2, 3), full_decode=True), ImageBlock(channels=5, value_range=(0, 9)),
                  CategoryBlock(["b", "a"], add_na=True)):  # fmt: skip
        assert block_of(spec_of(block)) == block
    plain = Reading((ImageBlock("L", value_range=(0, 4095)).spec,), (Resize(8),)).as_plain()
    assert Reading.from_plain(plain).as_plain() == plain


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_tfms": [{"kind": "ReadAs", "mode": "cubic"}]}, "acts on batches only"),
        ({"batch_tfms": [{"kind": "Normalize", "mean": [], "std": []}]}, "no mean and std"),
        ({"batch_tfms": [{"kind": "Normalize", "mean": [0.5] * 2, "std": [0.5] * 2}]}, "one of each a channel"),
        ({"batch_tfms": [{"kind": "Normalize", "mean": [0.5], "std": [0.0]}]}, "Normalize cannot be"),
        ({"blocks": []}, "its inputs are no blocks"),
        ({"blocks": [{"kind": "PointBlock", "n_points": 1}]}, "its inputs are no blocks"),
        ({"blocks": [{"kind": "ImageBlock", "mode": "RGB", "background": [300, 0, 0], "channels": 3,
                      "value_range": None}]}, "background is"),
        ({"blocks": [{"kind": "ImageBlock", "mode": "RGB", "background": [0, 0, 0], "channels": 7,
                      "value_range": None}]}, "has 3 channels"),
        ({"blocks": [{"kind": "CategoryBlock", "vocab": [["a"]], "sort": True, "add_na": False}]}, "label that is a list"),
        ({"batch_tfms": [{"kind": "Flip", "p": 0.5, "vertical": False, "size": None}] * 65}, "no short lists"),
        ({"more": 1}, "how an input becomes a batch"),
    ],
)  # fmt: skip
def test_what_no_reading_is_is_refused(changes: dict[str, Any], message: str) -> None:
    plain = Reading((ImageDecoder("RGB", (255, 255, 255), 3, None),), (Resize(8),)).as_plain()
    with pytest.raises(DataError, match=message):
        Reading.from_plain(plain | changes)


def test_an_input_that_no_file_holds_is_refused() -> None:
    with pytest.raises(ArgumentError, match="is an input here"):
        Reading((MaskSpec(),)).as_plain()
