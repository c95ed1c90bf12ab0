"""Model files of every kind, made ready to serve: what they say is what Python says, as JSON has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving import png
from shipped import draw_pictures, small_learner

from plainlearn.app.limits import as_json
from plainlearn.app.service import ServedModel, load_model
from plainlearn.core.errors import DataError
from plainlearn.data import MultiCategoryBlock, RegressionBlock
from plainlearn.inference import read_model_file, write_model_file
from plainlearn.inference.predictor import Predictor
from plainlearn.metrics import accuracy_multi, rmse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=6)
    return folder


@pytest.fixture
def exported(folder: Path, tmp_path: Path) -> Callable[..., Path]:
    def export(*arguments: Any, **settings: Any) -> Path:
        return small_learner(folder, *arguments, **settings).export(tmp_path / "it.plain")

    return export


def said(model: ServedModel, image: Path) -> dict[str, Any]:
    (judged,) = model.judged([model.read(image.read_bytes())])
    return json.loads(as_json(model.shown(judged, top=5, unknown=False)))


def test_several_labels_are_a_list(exported: Callable[..., Path], folder: Path) -> None:
    file = exported(MultiCategoryBlock, get_y=lambda path: ["any", path.parent.name], metrics=accuracy_multi)
    image = folder / "dark" / "0.png"
    expected, answer = Predictor.load(file).predict(image), said(load_model(file), image)
    assert answer["label"] == list(expected.label) and answer["index"] is answer["probability"] is None
    values = {each["label"]: each["probability"] for each in answer["probabilities"]}
    assert values == pytest.approx(
        dict(zip(["any", "dark", "light"], expected.probabilities.tolist(), strict=True)), abs=1e-5
    )
    assert answer["unlike"] is None


def test_numbers_are_numbers(exported: Callable[..., Path], folder: Path) -> None:
    file = exported(RegressionBlock, get_y=lambda path: float(path.stem), metrics=rmse)
    image = folder / "dark" / "3.png"
    answer = said(load_model(file), image)
    assert np.ravel(answer["label"]) == pytest.approx(
        np.ravel(Predictor.load(file).predict(image).label), abs=1e-4
    )
    assert answer["probabilities"] == []


def test_labels_that_are_no_text_and_hostile_ones_come_through(folder: Path, tmp_path: Path) -> None:
    for number, labels in enumerate([(True, False), (3, 7), ("a/b", "line\nbreak"), ("-", "</script>🐈")]):
        names = dict(zip(("dark", "light"), labels, strict=True))
        learn = small_learner(folder, get_y=lambda path, names=names: names[path.parent.name])
        model = load_model(learn.export(tmp_path / f"{number}.plain"))
        answer = said(model, folder / "dark" / "0.png")
        assert answer["label"] in labels and {each["label"] for each in answer["probabilities"]} == set(
            labels
        )


def test_a_graph_is_run_on_one_core_and_on_all_and_says_the_same_without_torch(
    folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    file = small_learner(folder).export(tmp_path / "it.plain", graph=True)
    model, expected = load_model(file), Predictor.load(file)
    assert model.narrow is not None and model.lanes >= 1
    images = sorted(folder.glob("*/*.png"))
    samples = [model.read(image.read_bytes()) for image in images]
    for answers in (
        model.judged(samples),
        [found for sample in samples for found in model.judged_alone([sample])],
    ):
        for image, answer in zip(images, answers, strict=True):
            prediction = expected.predict(image)
            assert answer.prediction.label == prediction.label
            assert answer.prediction.probabilities.tolist() == pytest.approx(
                prediction.probabilities.tolist(), abs=1e-4
            )


def test_weights_that_answer_nan_are_not_put_into_service(exported: Callable[..., Path]) -> None:
    file = exported()
    content = read_model_file(file)
    name = next(
        name
        for name, value in content.weights.items()
        if name.endswith("weight") and value.is_floating_point()
    )
    content.weights[name] = torch.full_like(content.weights[name], torch.nan)
    write_model_file(file, content)
    with pytest.raises(DataError, match="answers a grey picture with nan"):
        load_model(file)


def test_only_bytes_are_ever_read(exported: Callable[..., Path], folder: Path) -> None:
    model = load_model(exported())
    for item in (str(folder / "dark" / "0.png"), folder / "dark" / "0.png", "http://127.0.0.1/cat.jpg"):
        with pytest.raises(AssertionError):
            model.read(item)  # type: ignore[arg-type]
    model.read(png())
