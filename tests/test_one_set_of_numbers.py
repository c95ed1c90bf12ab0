"""What training says of the validation photos is what everything says that the model file goes through afterwards."""

from __future__ import annotations

import html
import http.client
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from patience import PATIENCE
from PIL import Image, ImageOps

from plainlearn.app.service import load_model
from plainlearn.cli.model_file import evaluate
from plainlearn.data.labelled_items import labelled_items
from plainlearn.inference import read_model_file
from plainlearn.inference.evaluate_file import evaluated
from plainlearn.inference.model_card import calibration_text, facts_of, markdown_of, text_of
from plainlearn.inference.onnx_predictor import QuickPredictor
from plainlearn.inference.predictor import Predictor
from plainlearn.metrics.evaluation import of_classes, sure_text
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

    config: RunConfig
    file: Path
    photos: list[Path]
    truth: list[str]
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
    truth = [photo.name.rsplit("_", 1)[0] for photo in photos]
    return Shipped(config, Path(config.out), photos, truth, sorted(breeds), probabilities)


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


def test_every_figure_that_two_places_show_is_one_number(
    shipped: Shipped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record, the table, the report, the card in its three forms, `evaluate`, the server and Python."""
    config = shipped.config
    outcome, content = read_record(config.run_folder).outcome, read_model_file(shipped.file)
    assert outcome is not None
    report = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", config.report.read_text("utf-8"))))
    short, card, facts = text_of(content), markdown_of(content, "pets.plain"), facts_of(content)
    for photo, label in zip(shipped.photos, shipped.truth, strict=True):
        (tmp_path / label).mkdir(exist_ok=True)
        shutil.copy(photo, tmp_path / label)
    evaluate(shipped.file, tmp_path)
    command = capsys.readouterr().out
    found = evaluated(Predictor.load(shipped.file), labelled_items(tmp_path))
    targets = torch.tensor([shipped.labels.index(label) for label in shipped.truth])
    again = of_classes(torch.from_numpy(shipped.probabilities), targets, shipped.labels)
    server = load_model(shipped.file).facts

    # How often it is right, and between which values that lies.
    (metric,) = facts["metrics"]
    measured = again.metrics[0]
    for value, low, high in (
        (outcome.value, outcome.low, outcome.high), (metric["value"], metric["low"], metric["high"]), found.metrics[0][1:],
    ):  # fmt: skip
        assert (value, low, high) == pytest.approx(measured[1:], abs=1e-6)
    assert outcome.kept != "tuned" or facts["history"]["rows"][-1][2] == pytest.approx(
        measured.value, abs=1e-6
    )
    shown = f"{measured.value:.3f}", f"95% between {measured.low:.3f} and {measured.high:.3f}"
    assert all(each in report and each in short and each in command for each in shown)
    assert f"| accuracy | {shown[0]} | {measured.low:.3f} and {measured.high:.3f} | {len(targets)} |" in card
    assert metric["items"] == outcome.validated_on == again.items == len(shipped.photos)
    assert server["metrics"] == facts["metrics"]

    # How sure it is.
    told = facts["calibration"]
    assert (
        (told["sure"], told["sure_right"]) == (again.sure, again.sure_right) == (found.sure, found.sure_right)
    )
    sentence = sure_text(again.sure, again.sure_right)
    assert again.sure and all(sentence in each for each in (report, card.replace("\\", ""), command))
    assert all(calibration_text(told) in each for each in (report, short, card.replace("\\", "")))
    assert found.calibration_error == pytest.approx(again.calibration_error, abs=1e-4)
    assert facts["temperature"] == told["temperature"] and server["calibration"] == told

    # What it confuses, label by label.
    assert found.rows == again.rows and found.confused == again.confused
    for row in again.rows:
        assert f"{row.label} {row.right} of {row.items}" in report
    for pair in again.confused:
        assert f"{pair.items} × {pair.true} taken for {pair.said}" in report
    wrong = len(targets) - sum(row.right for row in again.rows)
    assert f"{wrong} of {len(targets)} are wrong" in report or not wrong

    # What it is made of.
    count = sum(each.numel() for each in load_learner(shipped.file).model.parameters())
    assert facts["numbers"] == server["numbers"] == count
    assert all(f"{count:,} parameters" in each for each in (report, short, card))
    for label, number in facts["data"]["counts"]:
        assert (
            f"| {label} | {number} |" in card and f"{label} {number} + {shipped.truth.count(label)}" in report
        )
    assert (facts["data"]["valid"], facts["labels"]) == (len(targets), shipped.labels)
