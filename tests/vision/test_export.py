"""One file: the numbers that leave it are those that went in, and what cannot be data is refused by name."""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import tarfile
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
from torch import nn

from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import ArgumentError, DataError, LossError, MissingFileError, StorageError
from plainlearn.data import (
    CategoryBlock,
    DataLoaders,
    MultiCategoryBlock,
    RegexLabeller,
    RegressionBlock,
    using_attr,
)
from plainlearn.data.items import get_image_files
from plainlearn.data.split import RandomSplitter
from plainlearn.inference import UNKNOWN, read_model_file, write_model_file
from plainlearn.inference.model_card import facts_of, text_of
from plainlearn.inference.predictor import Predictor
from plainlearn.losses import BCEWithLogitsLossFlat
from plainlearn.metrics import accuracy_multi, rmse
from plainlearn.train import Learner
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.export import content_of, export
from plainlearn.vision.load_learner import load_learner


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def learn(folder: Path) -> Any:
    learn = small_learner(folder)
    with learn.no_logging():
        learn.fit_one_cycle(3, 1e-2)
    return learn


@pytest.fixture(scope="module")
def file(learn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn.export(tmp_path_factory.mktemp("models") / "it.plain", about="Noise, dark or light.")


# ---------------------------------------------------------------- the numbers are one


def test_validation_predict_and_the_file_agree(learn: Any, file: Path) -> None:
    items = list(learn.dls.datasets.valid.items)
    validated, _ = learn.get_preds()
    predictor, again = Predictor.load(file), load_learner(file)
    assert (
        torch.stack([each.probabilities for each in predictor.predict_many(items, bs=3)]) - validated
    ).abs().max() < 1e-5
    for place in range(0, len(items), 5):
        label, index, values = learn.predict(items[place])
        assert label == learn.dls.vocab[int(index)] == learn.dls.vocab[int(validated[place].argmax())]
        assert torch.allclose(values, validated[place], atol=1e-5)
        for other in (predictor.predict(items[place]), again.predict(items[place])):
            assert other[0] == label and other[1] == index and torch.allclose(other[2], values, atol=1e-5)


def test_pets_by_a_pretrained_network_agree_label_for_label(test_data: Path, tmp_path: Path) -> None:
    from plainlearn.vision.all import DataBlock, vision_learner

    with tarfile.open(test_data / "oxford-iiit-pet.tgz") as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".jpg"))
        archive.extractall(tmp_path, [archive.getmember(name) for name in names[:60]], filter="data")
    dls = DataBlock(
        (ImageBlock, CategoryBlock), get_items=lambda source: sorted(get_image_files(source)),
        get_y=using_attr(RegexLabeller(r"(.+)_\d+.jpg$"), "name"), splitter=RandomSplitter(0.3, seed=1),
        item_tfms=Resize(128), batch_tfms=Resize(96),
    ).dataloaders(tmp_path, bs=16, num_workers=0, device="cpu")  # fmt: skip
    learn = vision_learner(dls, "tf_efficientnet_lite0")
    with learn.no_logging():
        learn.fit_one_cycle(1, 3e-3)
    file = learn.export(tmp_path / "pets.plain")
    validated, _ = learn.get_preds()
    answers = Predictor.load(file).predict_batch(list(dls.datasets.valid.items))
    assert [int(each.index) for each in answers] == validated.argmax(1).tolist()
    assert (torch.stack([each.probabilities for each in answers]) - validated).abs().max() < 1e-4
    assert "apache-2.0" in text_of(read_model_file(file))
    assert load_learner(file).model.expects == learn.model.expects


def test_an_item_may_come_as_path_bytes_picture_or_array(learn: Any, file: Path) -> None:
    item = learn.dls.datasets.valid.items[0]
    predictor = Predictor.load(file)
    expected = predictor.predict(item).probabilities
    picture = Image.open(item)
    for form in (str(item), Path(item).read_bytes(), picture, np.asarray(picture)):
        assert torch.equal(predictor.predict(form).probabilities, expected), type(form)
        assert torch.allclose(learn.predict(form)[2], expected, atol=1e-5), type(form)


def test_an_address_is_read_by_its_protocol(learn: Any, file: Path) -> None:
    pytest.importorskip("fsspec")
    item = Path(learn.dls.datasets.valid.items[0])
    predictor = Predictor.load(file)
    expected = predictor.predict(item).probabilities
    assert torch.equal(predictor.predict(item.as_uri()).probabilities, expected)


def test_threads_share_a_predictor(learn: Any, file: Path) -> None:
    items, predictor = list(learn.dls.datasets.valid.items), Predictor.load(file)
    expected = [predictor.predict(item).probabilities for item in items]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda item: predictor.predict(item).probabilities, items * 3))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected * 3, strict=True))


def test_reading_apart_from_answering_changes_no_number(learn: Any, file: Path) -> None:
    items, predictor = list(learn.dls.datasets.valid.items), Predictor.load(file)
    with ThreadPoolExecutor(2) as pool:
        samples = list(pool.map(predictor.read, items))
    for found, expected in zip(predictor.answer(samples), predictor.predict_batch(items), strict=True):
        assert found.label == expected.label and torch.equal(found.probabilities, expected.probabilities)
    with pytest.raises(MissingFileError, match=r"gone\.png"):
        predictor.read("gone.png")
    with pytest.raises(DataError, match="none"):
        predictor.read(b"none, no picture")


def test_a_stream_is_read_as_it_is_needed(learn: Any, file: Path) -> None:
    item = learn.dls.datasets.valid.items[0]
    taken: list[int] = []

    def endless() -> Any:
        while True:
            taken.append(1)
            yield item

    stream = Predictor.load(file).predict_many(endless(), bs=2)
    assert [next(stream).label for _ in range(5)] and len(taken) <= 12
    stream.close()


@pytest.mark.parametrize("size", [1, 12_000])
def test_pictures_that_a_network_cannot_take_are_named_or_left_until_they_come(
    size: int, file: Path, tmp_path: Path
) -> None:
    content = read_model_file(file)
    resize = {"kind": "Resize", "size": size, "method": "crop", "pad_mode": "reflection"}
    content = replace(content, pipeline=content.pipeline | {"item_tfms": [resize], "batch_tfms": []})
    write_model_file(tmp_path / "it.plain", content)
    predictor = Predictor.load(tmp_path / "it.plain")  # huge ones take no memory yet
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in predictor.model.modules()) == (size > 1)


def test_a_model_that_fails_on_its_own_size_is_refused_by_name(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("Kernel size can't be greater than actual input size")

    monkeypatch.setattr("plainlearn.inference.predictor.ready_to_predict", fails)
    with pytest.raises(DataError, match=r"it\.plain cannot be used[\s\S]*pictures of 32×32: Kernel size"):
        Predictor.load(file)


def test_predicting_does_not_load_the_training_loop(learn: Any, file: Path) -> None:
    code = (
        "import sys\nfrom plainlearn.inference.predictor import Predictor\n"
        "print(Predictor.load(sys.argv[1]).predict(sys.argv[2]).label)\n"
        "print([name for name in sys.modules if name.startswith('plainlearn.train')])"
    )
    item = learn.dls.datasets.valid.items[0]
    ran = subprocess.run(
        [sys.executable, "-c", code, str(file), str(item)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    label, modules = ran.stdout.splitlines()
    assert label == learn.predict(item)[0] and modules == "[]"
    assert ran.stderr == ""


def test_a_learner_from_a_file_learns_on(learn: Any, file: Path, folder: Path) -> None:
    again = load_learner(file)
    assert list(again.dls.vocab) == list(learn.dls.vocab)
    with pytest.raises(DataError, match=r"holds no items to train on[\s\S]*learn\.dls = loaders"):
        again.fit(1)
    again.dls = learn.dls
    with again.no_logging():
        before = again.validate()[0]
        assert before == pytest.approx(learn.validate()[0], abs=1e-5)
        again.fine_tune(1)
    assert any(
        not torch.equal(a, b) for a, b in zip(again.model.parameters(), learn.model.parameters(), strict=True)
    )


def test_a_file_exported_again_predicts_the_same(learn: Any, file: Path, tmp_path: Path) -> None:
    second = load_learner(file).export(tmp_path / "second.plain")
    item = learn.dls.datasets.valid.items[0]
    assert torch.equal(
        Predictor.load(second).predict(item).probabilities, Predictor.load(file).predict(item).probabilities
    )


# ---------------------------------------------------------------- what a target may be


def test_several_labels_keep_their_threshold(folder: Path, tmp_path: Path) -> None:
    def words(path: Path) -> list[str]:
        return ["any", path.parent.name]

    learn = small_learner(folder, MultiCategoryBlock, get_y=words, metrics=accuracy_multi,
                          loss_func=BCEWithLogitsLossFlat(thresh=0.2))  # fmt: skip
    item = learn.dls.datasets.valid.items[0]
    label, index, values = Predictor.load(learn.export(tmp_path / "it.plain")).predict(item)
    assert index.tolist() == (values > 0.2).tolist() and len(values) == 3
    assert list(label) == list(learn.predict(item)[0])
    again = load_learner(tmp_path / "it.plain")
    assert again.loss_func.thresh == 0.2


def test_several_labels_are_made_honest_too(folder: Path, tmp_path: Path) -> None:
    learn = small_learner(folder, MultiCategoryBlock, get_y=lambda path: ["any", path.parent.name],
                          metrics=accuracy_multi)  # fmt: skip
    with learn.no_logging():
        learn.fit(2, 1e-2)
    with torch.no_grad():
        list(learn.model.parameters())[-1].mul_(20)
    predictor = Predictor.load(learn.export(tmp_path / "it.plain"))
    told = predictor.card["calibration"]
    assert told["temperature"] == predictor.output_spec.temperature > 1.5 and told["after"] < told["before"]
    item = learn.dls.datasets.valid.items[0]
    expected = (predictor.outputs([item])[0] / told["temperature"]).sigmoid()
    assert torch.allclose(predictor.predict(item).probabilities, expected, atol=1e-6)
    assert torch.allclose(learn.predict(item)[2], expected, atol=1e-5)
    assert torch.allclose(load_learner(tmp_path / "it.plain").predict(item)[2], expected, atol=1e-5)


def test_numbers_come_back_as_numbers(folder: Path, tmp_path: Path) -> None:
    learn = small_learner(folder, RegressionBlock, get_y=lambda path: float(path.stem), metrics=rmse)
    item = learn.dls.datasets.valid.items[0]
    predictor = Predictor.load(learn.export(tmp_path / "it.plain"))
    assert predictor.predict(item).label == pytest.approx(learn.predict(item)[0], abs=1e-4)
    (metric,) = predictor.card["metrics"]
    assert metric["low"] <= metric["value"] <= metric["high"]


@pytest.mark.parametrize(
    "labels",
    [("a/b", "c\\d"), ("🐈", "line\nbreak"), ("", "-"), ("$tensor", "'); --"), (True, False), (3, 7)],
)
def test_any_label_survives(folder: Path, tmp_path: Path, labels: tuple[Any, Any]) -> None:
    names = dict(zip(("dark", "light"), labels, strict=True))
    learn = small_learner(folder, CategoryBlock(vocab=labels), get_y=lambda path: names[path.parent.name])
    file = learn.export(tmp_path / "it.plain", calibrate=False)
    assert list(Predictor.load(file).vocab) == list(labels)
    assert Predictor.load(file).predict(learn.dls.datasets.valid.items[0]).label in labels
    assert "\n" not in text_of(read_model_file(file)).split("answers")[1].split("input")[0].strip()


def test_a_class_of_ones_own_is_named_and_never_imported(folder: Path, tmp_path: Path) -> None:
    def made() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))

    given = small_learner(folder)
    learn = Learner(given.dls, made(), path=tmp_path)
    file = export(learn, "own.plain")
    with pytest.raises(ArgumentError, match=r"container\.Sequential[\s\S]*model=TheClass"):
        Predictor.load(file)
    item = given.dls.datasets.valid.items[0]
    assert torch.allclose(
        Predictor.load(file, model=made).predict(item).probabilities, learn.predict(item)[2], atol=1e-5
    )
    with pytest.raises(DataError, match="do not fit Linear"):
        Predictor.load(file, model=nn.Linear(2, 2))


# ---------------------------------------------------------------- calibration, unknown, card


def test_calibrating_changes_probabilities_and_no_answer(folder: Path) -> None:
    learn = small_learner(folder)
    with learn.no_logging():
        learn.fit(2, 1e-2)
        with torch.no_grad():
            list(learn.model.parameters())[-1].mul_(0.1)  # less sure than it may be
        before, targets = learn.get_preds()
        found = learn.calibrate()
        after, _ = learn.get_preds()
    assert torch.equal(before.argmax(1), after.argmax(1)) and not torch.allclose(before, after)
    wanted = -after.log()[range(len(targets)), targets].mean()
    assert wanted <= -before.log()[range(len(targets)), targets].mean() + 1e-6
    assert found["items"] == len(targets) and found["after"] < found["before"]
    assert found["sure"] >= found["sure_right"]
    learn.loss_func = nn.CrossEntropyLoss()
    with pytest.raises(LossError, match="has no temperature"):
        learn.calibrate()


def test_what_is_unlike_the_training_data_is_unknown_when_asked(learn: Any, file: Path) -> None:
    predictor = Predictor.load(file)
    items = list(learn.dls.datasets.valid.items)
    known = [each.label for each in predictor.predict_many(items, unknown=True)]
    assert known.count(UNKNOWN) <= 2
    limit = predictor.output_spec.ood_above
    assert limit is not None and (predictor.ood_scores(items) <= limit).float().mean() >= 0.9
    strange = next(
        each for each in (np.full((40, 40, 3), level, np.uint8) for level in (0, 255, 128))
        if float(predictor.ood_scores([each])) > limit
    )  # fmt: skip
    assert predictor.predict(strange).label in learn.dls.vocab
    label, index, _ = predictor.predict(strange, unknown=True)
    assert label == UNKNOWN and index == -1


def test_the_card_can_be_read_by_people_and_programs(file: Path) -> None:
    content = read_model_file(file)
    text = text_of(content)
    for word in (
        "Noise, dark or light.",
        "2 labels: dark, light",
        "accuracy",
        "95% between",
        "licence",
        "timm:test_eff",
    ):
        assert word in text, text
    facts = json.loads(json.dumps(facts_of(content)))
    assert facts["data"]["train"] == 20 and facts["labels"] == ["dark", "light"]
    assert facts["history"]["epochs"] == 3 and len(facts["data"]["fingerprint"]) == 64


# ---------------------------------------------------------------- what is refused


def change(things: tuple[Any, ...]) -> tuple[Any, ...]:
    return things


def test_a_function_on_the_way_is_refused_by_name(folder: Path) -> None:
    learn = small_learner(folder, item_tfms=[Resize(32), change])
    with pytest.raises(ArgumentError, match=r"Function\(change\) acts in validation[\s\S]*holds no code"):
        learn.export("it.plain")


def test_a_block_of_ones_own_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    class OwnBlock(CategoryBlock):
        pass

    with pytest.raises(ArgumentError, match="OwnBlock"):
        small_learner(folder, OwnBlock).export(tmp_path / "it.plain")
    assert list(tmp_path.iterdir()) == []


def test_what_no_file_can_say_is_refused_by_name(learn: Any, folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"export\.pkl is a name for a pickle"):
        learn.export("export.pkl")
    plain = Learner(
        DataLoaders([(torch.ones(2, 1), torch.ones(2, 1))], []), nn.Linear(1, 1), nn.functional.mse_loss
    )
    with pytest.raises(ArgumentError, match="DataLoaders do not say how an input becomes a batch"):
        export(plain, "it.plain")
    with pytest.raises(ArgumentError, match="DataLoaders do not say how an item becomes a batch"):
        plain.predict(1)


def test_two_exports_to_one_path_leave_a_whole_one(learn: Any, tmp_path: Path) -> None:
    content = content_of(learn, calibrate=False)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write_model_file(tmp_path / "it.plain", content), range(8)))
    assert [path.name for path in tmp_path.iterdir()] == ["it.plain"]
    assert Predictor.load(tmp_path / "it.plain").predict(learn.dls.datasets.valid.items[0])


def test_a_full_disk_is_named_and_the_old_file_stays(learn: Any, file: Path) -> None:
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=r"no room to write .*it\.plain"):
            learn.export(file, calibrate=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "item", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40), "nowhere.png", 3, None]
)
def test_what_is_no_image_is_refused_by_name(learn: Any, file: Path, item: Any) -> None:
    for predict in (Predictor.load(file).predict, learn.predict):
        with pytest.raises((DataError, MissingFileError, TypeError), match=r"image|nowhere|PNG|NoneType"):
            predict(item)


def test_a_truncated_picture_is_refused(learn: Any, file: Path) -> None:
    whole = io.BytesIO()
    Image.open(learn.dls.datasets.valid.items[0]).save(whole, "png")
    with pytest.raises(DataError):
        Predictor.load(file).predict(whole.getvalue()[:-200])


def test_a_file_of_somebody_s_own_is_replaced_only_by_force(learn: Any, tmp_path: Path) -> None:
    file = tmp_path / "it.plain"
    file.write_text("mine")
    with pytest.raises(
        StorageError, match=r"is there already, and plainlearn did not make it[\s\S]*force=True"
    ):
        learn.export(file)
    assert file.read_text() == "mine"
    learn.export(file, calibrate=False, force=True)
    learn.export(file, calibrate=False)  # over its own
    assert Predictor.load(file).vocab is not None
