"""ONNX says what plainlearn says, of images of any size, or is not written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shipped import draw_pictures, small_learner
from torch import nn

from plainlearn.augment.transforms import ReadAs, Resize
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.inference.onnx_export import ONNX_FILE
from plainlearn.inference.predictor import Predictor
from plainlearn.train import Learner
from plainlearn.vision.export import export_onnx

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=6)
    return folder


@pytest.fixture(scope="module")
def learn(folder: Path) -> Any:
    learn = small_learner(folder)
    learn.model.eval()
    return learn


def test_onnx_agrees_for_any_size_and_number_of_images(learn: Any, tmp_path: Path) -> None:
    proof = export_onnx(learn, tmp_path / "it.onnx")
    assert proof.images == 6 and proof.largest_difference < 1e-4
    assert ONNX_FILE.is_on(tmp_path / "it.onnx")  # and so the next export may replace it
    session = onnxruntime.InferenceSession(tmp_path / "it.onnx", providers=["CPUExecutionProvider"])
    predictor = Predictor.load(learn.export(tmp_path / "it.plain", calibrate=False))
    rng = np.random.default_rng(1)
    for count, height, width in ((1, 33, 80), (3, 64, 64), (2, 300, 41)):
        pixels = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        (found,) = session.run(None, {"image": pixels})
        expected = torch.stack([each.probabilities for each in predictor.predict_batch(list(pixels))])
        assert np.abs(found - expected.numpy()).max() < 1e-4
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["labels"]) == ["dark", "light"] and "data" in json.loads(told["card"])
    assert str(Path(__file__).parent.parent.parent).encode() not in (tmp_path / "it.onnx").read_bytes()


def test_a_file_needs_images_to_prove_by(learn: Any, tmp_path: Path) -> None:
    file = learn.export(tmp_path / "it.plain", calibrate=False)
    with pytest.raises(ArgumentError, match="no image to prove by"):
        export_onnx(file, tmp_path / "it.onnx")
    assert not (tmp_path / "it.onnx").exists()


def test_what_differs_too_much_is_not_written(learn: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a probability differs by .*Nothing was written") as raised:
        export_onnx(learn, tmp_path / "it.onnx", weights="int8", tolerance=1e-9)
    assert list(tmp_path.iterdir()) == []
    (difference,) = re.findall(r"differs by ([^;]+);", str(raised.value))
    assert 1e-7 < float(difference) < 0.2  # such as int8 makes, and no other


def test_what_onnx_cannot_say_is_refused_by_name(folder: Path) -> None:
    given = small_learner(folder, batch_tfms=[ReadAs("nearest")], item_tfms=Resize(32))
    learn = Learner(given.dls, nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)))
    with pytest.raises(ArgumentError, match="nearest"):
        export_onnx(learn, "it.onnx")
