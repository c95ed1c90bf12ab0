"""The graph in a model file says what torch says, in a program that never loads torch."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from patience import PATIENCE
from PIL import Image
from shipped import draw_pictures, small_learner

from plainlearn.core.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    MissingFileError,
    PlainlearnError,
)
from plainlearn.core.tensorfile import read_tree
from plainlearn.data import MultiCategoryBlock
from plainlearn.inference import UNKNOWN, read_model_file, write_model_file
from plainlearn.inference.onnx_graph import with_graph
from plainlearn.inference.onnx_predictor import QuickPredictor, load_predictor
from plainlearn.inference.predictor import Predictor
from plainlearn.losses import BCEWithLogitsLossFlat
from plainlearn.metrics import accuracy_multi
from plainlearn.vision.export import content_of

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library)

# ---------------------------------------------------------------- predicting


@pytest.fixture(scope="module")
def learn(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder)
    learn = small_learner(folder)
    with learn.no_logging():
        learn.fit_one_cycle(2, 1e-2)
    last = [layer for layer in learn.model.modules() if isinstance(layer, torch.nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    with torch.no_grad(), last.register_forward_pre_hook(lambda _, given: seen.append(given[0])):
        learn.get_preds()
        features = torch.cat(seen)
        spread = torch.linalg.svd(features - features.mean(0)).Vh[0]  # so that answers differ
        spread -= spread @ features.mean(0) / features.mean(0).square().sum() * features.mean(0)
        last.weight.copy_(torch.stack([spread, -spread]) / (features @ spread).std())
    return learn


@pytest.fixture(scope="module")
def file(learn: Any) -> Path:
    return learn.export("it.plain", calibrate=False, graph=True)


def test_onnxruntime_and_torch_agree_on_every_item(learn: Any, file: Path) -> None:
    items = list(learn.dls.datasets.valid.items)
    quick, torchs = load_predictor(file), load_predictor(file, by="torch")
    assert isinstance(quick, QuickPredictor) and isinstance(torchs, Predictor)
    assert quick.vocab == torchs.vocab and quick.output_spec == torchs.output_spec
    assert "the same label as torch's on 16 images" in quick.card["graph"]
    expected = torchs.predict_batch(items)
    for found in (
        quick.predict_batch(items),
        [quick.predict(item) for item in items],
        list(quick.predict_many(items, bs=3)),
    ):
        assert [each.label for each in found] == [each.label for each in expected]
        assert [each.index.tolist() for each in found] == [each.index.tolist() for each in expected]
        for one, other in zip(found, expected, strict=True):
            assert np.abs(one.probabilities - other.probabilities.numpy()).max() < 1e-4
    assert (
        torch.stack([each.probabilities for each in expected]).std(0).max() > 0.01
    )  # so that it says something
    scores = quick.judged([quick.read(item) for item in items])[1]
    assert scores is not None and np.abs(scores - torchs.ood_scores(items).numpy()).max() < 1e-4


def test_what_is_unlike_the_training_data_is_unknown_to_both(learn: Any, file: Path) -> None:
    quick, torchs = QuickPredictor.load(file), Predictor.load(file)
    things = [np.full((40, 40, 3), level, np.uint8) for level in range(0, 256, 32)]
    scores = torchs.ood_scores(things).sort().values
    limit = float(scores[3:5].mean())  # as if these things were on both sides of it
    quick.output_spec = torchs.output_spec = replace(torchs.output_spec, ood_above=limit)
    expected = [torchs.predict(thing, unknown=True) for thing in things]
    found = quick.predict_batch(things, unknown=True)
    assert [each.label for each in found] == [each.label for each in expected]
    assert [each.index.tolist() for each in found] == [each.index.tolist() for each in expected]
    assert [each.label for each in found].count(UNKNOWN) == 4


def test_an_item_may_come_in_any_form_and_from_any_thread(learn: Any, file: Path) -> None:
    item, quick = learn.dls.datasets.valid.items[0], QuickPredictor.load(file, threads=1)
    expected = quick.predict(item).probabilities
    picture = Image.open(item)
    forms = [str(item), Path(item).read_bytes(), picture, np.asarray(picture)]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda form: quick.predict(form).probabilities, forms * 4):
            assert np.abs(found - expected).max() < 1e-6
    with pytest.raises(MissingFileError, match=r"gone\.png"):
        quick.predict("gone.png")


def test_errors_stand_in_the_place_of_what_cannot_be_read(learn: Any, file: Path) -> None:
    good, quick = learn.dls.datasets.valid.items[0], QuickPredictor.load(file)
    found = list(quick.try_many([good, b"none", good, "gone.png"], bs=3))
    assert [isinstance(each, PlainlearnError) for each in found] == [False, True, False, True]
    stream = quick.predict_many([good, good, "gone.png"], bs=3)
    assert next(stream) and next(stream)
    with pytest.raises(MissingFileError):
        next(stream)


def test_several_labels_keep_their_threshold(learn: Any, tmp_path: Path) -> None:
    several = small_learner(learn.path, MultiCategoryBlock, get_y=lambda path: ["any", path.parent.name],
                            metrics=accuracy_multi, loss_func=BCEWithLogitsLossFlat(thresh=0.2))  # fmt: skip
    file = several.export(tmp_path / "it.plain", graph=True)
    item = several.dls.datasets.valid.items[0]
    found, expected = QuickPredictor.load(file).predict(item), Predictor.load(file).predict(item)
    assert found.label == expected.label and found.index.tolist() == expected.index.tolist()
    assert np.abs(found.probabilities - expected.probabilities.numpy()).max() < 1e-4


PROBE = """
import sys
from plainlearn.cli import main
try:
    main(sys.argv[1:])
except SystemExit as leaving:
    assert leaving.code == 0, leaving.code
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "numba", "onnx", "timm", "torchvision"}))
"""


def test_the_command_line_predicts_without_torch(learn: Any, file: Path) -> None:
    items = [str(item) for item in learn.dls.datasets.valid.items[:3]]
    ran = subprocess.run(
        [sys.executable, "-c", PROBE, "predict", str(file), "--json", *items, str(Path(items[0]).parent)],
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr
    *answers, loaded = ran.stdout.splitlines()
    assert loaded == "[]"
    predictor = Predictor.load(file)
    for line in answers:
        answer = json.loads(line)
        expected = predictor.predict(answer["image"])
        assert answer["label"] == expected.label
        assert list(answer["probabilities"].values()) == pytest.approx(
            expected.probabilities.tolist(), abs=1e-4
        )
    assert len(answers) == 3 + 20


# ---------------------------------------------------------------- the file


def test_the_weights_are_in_the_file_once(file: Path) -> None:
    content = read_model_file(file)
    assert content.graph is not None
    assert content.graph.numel() < 0.15 * sum(tensor.nbytes for tensor in content.weights.values())


def test_a_file_without_a_graph_is_as_before_and_predicts_by_torch(
    learn: Any, file: Path, tmp_path: Path
) -> None:
    content = read_model_file(file)
    object.__setattr__(content, "graph", None)
    write_model_file(tmp_path / "it.plain", content)
    kind = "a model of plainlearn's"
    assert read_tree(tmp_path / "it.plain", kind=kind)["version"] == 1
    assert read_tree(file, kind=kind)["version"] == 2
    assert isinstance(load_predictor(tmp_path / "it.plain"), Predictor)
    with pytest.raises(ArgumentError, match=r"it\.plain holds no graph[\s\S]*graph=True"):
        load_predictor(tmp_path / "it.plain", by="onnxruntime")
    with pytest.raises(ArgumentError, match="by is 'fire'"):
        load_predictor(file, by="fire")  # pyright: ignore[reportArgumentType]


def test_a_file_of_numbers_that_numpy_does_not_know_predicts_by_torch(file: Path, tmp_path: Path) -> None:
    content = read_model_file(file)
    ood = {name: tensor.bfloat16() for name, tensor in content.ood.items()}
    write_model_file(tmp_path / "it.plain", replace(content, ood=ood))
    assert isinstance(load_predictor(tmp_path / "it.plain"), Predictor)
    with pytest.raises(ArgumentTypeError, match="numpy does not know"):
        load_predictor(tmp_path / "it.plain", by="onnxruntime")


def test_a_graph_that_is_not_proved_is_left_out_and_the_card_says_why(learn: Any) -> None:
    made = with_graph(content_of(learn), learn.model, [])
    assert made.graph is None and "there is no image to prove" in made.card["graph"]
    other = small_learner(learn.path).model
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.05)
    made = with_graph(content_of(learn), other.eval(), learn.dls.datasets.valid.items[:2])
    assert made.graph is None and "onnxruntime says" in made.card["graph"]


def test_a_damaged_file_is_refused_in_the_same_words(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "it.plain"
    for content in (b"", file.read_bytes()[:-1000], b"\x80\x04pickle", file.read_bytes()[:-1] + b"?"):
        target.write_bytes(content)
        said: list[str] = []
        for load in (QuickPredictor.load, Predictor.load):
            with pytest.raises(DataError) as raised:
                load(target)
            said.append(str(raised.value))
        assert said[0] == said[1] and "it.plain" in said[0]
