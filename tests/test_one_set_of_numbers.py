"""What training says of the validation photos is what everything says that the model file goes through afterwards."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from patience import PATIENCE
from PIL import Image, ImageOps

from plainlearn.inference.onnx_predictor import QuickPredictor
from plainlearn.inference.predictor import Predictor
from plainlearn.models.weights import packaged_file
from plainlearn.runs import RunConfig, train
from plainlearn.runs.record import read_record
from plainlearn.runs.run import learner_of
from plainlearn.runs.training_data import pictures_of
from plainlearn.vision.export import export_onnx
from plainlearn.vision.load_learner import load_learner

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(packaged_file("tf_efficientnet_lite0") is None, reason="needs the extra offline"),
]


@dataclass
class Shipped:
    """A run on some pets: its file, its validation photos, and the probabilities that the learner had for them."""

    file: Path
    photos: list[Path]
    labels: list[str]
    probabilities: NDArray[np.float32]

    def agree(self, found: NDArray[np.float32], within: float = 1e-4) -> None:
        assert np.array_equal(found.argmax(1), self.probabilities.argmax(1))
        assert np.abs(found - self.probabilities).max() < within


@pytest.fixture(scope="module")
def shipped(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("pets")
    breeds = ("Bombay", "Sphynx", "beagle", "pug", "samoyed")
    with tarfile.open(test_data / "oxford-iiit-pet.tgz") as archive:
        for member in archive:
            if member.name.endswith(".jpg") and Path(member.name).name.rsplit("_", 1)[0] in breeds:
                member.name = f"photos/{Path(member.name).name}"
                archive.extract(member, folder, filter="data")
    config = RunConfig(
        str(folder / "photos"), str(folder / "pets.plain"), epochs=1, size=128, labels=r"^(.+)_\d+"
    )
    train(config, say=lambda _: None)
    plan = read_record(config.run_folder).plan
    assert plan is not None
    dls = learner_of(pictures_of(config), plan).dls
    photos = [Path(pair.file) for pair in dls.datasets.valid.items]  # type: ignore[attr-defined]
    learn = load_learner(config.out)
    learn.dls = dls
    with learn.no_logging():
        probabilities = learn.get_preds()[0].numpy()
    assert [str(label) for label in dls.vocab] == sorted(breeds)  # type: ignore[attr-defined]
    return Shipped(Path(config.out), photos, sorted(breeds), probabilities)


def test_the_predictors_of_torch_and_of_onnxruntime_agree_with_training(shipped: Shipped) -> None:
    for predictor in (Predictor.load(shipped.file), QuickPredictor.load(shipped.file)):
        rows = [np.asarray(predictor.predict(photo).probabilities) for photo in shipped.photos]
        shipped.agree(np.stack(rows))
        many = [np.asarray(each.probabilities) for each in predictor.predict_many(shipped.photos, bs=4)]
        shipped.agree(np.stack(many))


def test_the_command_line_agrees(shipped: Shipped) -> None:
    words = [
        sys.executable,
        "-m",
        "plainlearn",
        "predict",
        "--json",
        str(shipped.file),
        *map(str, shipped.photos),
    ]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [json.loads(line)["probabilities"] for line in lines]
    shipped.agree(np.array([[row[label] for label in shipped.labels] for row in rows], np.float32))


@pytest.fixture
def port(shipped: Shipped) -> Iterator[int]:
    words = [sys.executable, "-m", "plainlearn", "serve", str(shipped.file), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                yield int(found[1])
                break
        else:
            raise AssertionError(f"it does not serve: {said}")
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def test_the_server_agrees(shipped: Shipped, port: int) -> None:
    rows: list[list[float]] = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        for photo in shipped.photos:
            connection.request("POST", "/predict", photo.read_bytes(), {"Content-Type": "image/jpeg"})
            (answer,) = json.loads(connection.getresponse().read())["predictions"]
            chances = {each["label"]: each["probability"] for each in answer["probabilities"]}
            rows.append([chances[label] for label in shipped.labels])
    shipped.agree(np.array(rows, np.float32))


def test_an_onnx_export_agrees_on_decoded_pixels(shipped: Shipped, tmp_path: Path) -> None:
    import onnxruntime

    export_onnx(shipped.file, tmp_path / "pets.onnx", images=shipped.photos[:3])
    session = onnxruntime.InferenceSession(tmp_path / "pets.onnx", providers=["CPUExecutionProvider"])
    rows: list[NDArray[np.float32]] = []
    for photo in shipped.photos:
        with Image.open(photo) as picture:
            pixels = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))[None]
        rows.append(session.run(None, {"image": pixels})[0][0])  # type: ignore[index]
    shipped.agree(np.stack(rows), 1e-3)
