"""A run, from a folder to a file and a report: what it makes, what it refuses, and that it can be stopped at any moment."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from patience import PATIENCE

from plainlearn.core.errors import ArgumentError, DataError, DownloadError, MissingFileError, StorageError
from plainlearn.core.seed import set_seed
from plainlearn.data.labelled_items import Labelled
from plainlearn.datasets.download import untar_data
from plainlearn.datasets.urls import URLs
from plainlearn.inference.modelfile import read_model_file
from plainlearn.inference.predictor import Predictor
from plainlearn.models.weights import packaged_file
from plainlearn.runs import RunConfig, plan, train
from plainlearn.runs import run as training
from plainlearn.runs.eject_run import eject_run
from plainlearn.runs.plan import Pace, Plan, fixed_plan, plan_at
from plainlearn.runs.record import locked_folder, read_record
from plainlearn.runs.run import learner_of
from plainlearn.runs.training_data import Pictures, pictures_of

pytestmark = pytest.mark.skipif(
    packaged_file("tf_efficientnet_lite0") is None, reason='needs pip install "plainlearn[offline]"'
)


@pytest.fixture(autouse=True)
def no_graph(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than all else together; the tests that want one say so."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(training, "with_graph", lambda asked: False)


def digits(folder: Path, count: int = 24, names: tuple[str, str] = ("3", "7")) -> Path:
    """Real digits in two folders."""
    source = untar_data(URLs.MNIST_SAMPLE) / "train"
    for digit, name in zip(("3", "7"), names, strict=True):
        (folder / name).mkdir(parents=True)
        for file in sorted((source / digit).iterdir())[:count]:
            shutil.copy(file, folder / name)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return digits(tmp_path / "digits")


def asked(folder: Path, **more: Any) -> RunConfig:
    given: dict[str, Any] = {"epochs": 1, "size": 32, "out": str(folder.parent / "made.plain"), **more}
    return RunConfig(str(folder), **given)


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


class Page(HTMLParser):
    """What a page would fetch, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_a_folder_becomes_a_model_file_and_a_page_that_fetches_nothing_and_is_not_touched(
    folder: Path,
) -> None:
    (folder / "3" / "broken.png").write_bytes(b"no picture")
    before, said = state_of(folder), list[str]()
    outcome = train(asked(folder), say=said.append)
    assert state_of(folder) == before
    page = Page((folder.parent / "made.html").read_text("utf-8"))
    assert all(place.startswith("data:image/jpeg;base64,") for place in page.fetched)
    assert "script" not in page.tags
    assert "broken.png" in page.words
    assert f"{outcome.value:.3f}" in page.words
    assert "plainlearn serve" in page.words
    assert any("1 file" in line for line in said), said
    assert outcome.baselines.keys() == {
        "always the commonest class", "the nearest mean picture", "a linear layer on the network's features",
    }  # fmt: skip
    record = read_record(folder.parent / "made.run")
    assert record.done
    assert record.outcome is not None and record.outcome.value == outcome.value
    assert not (folder.parent / "made.run" / "models").exists()


def test_the_file_says_of_the_validation_images_what_the_run_said(folder: Path) -> None:
    wanted = asked(folder)
    outcome = train(wanted, say=lambda _: None)
    predictor = Predictor.load(wanted.out)
    made = read_record(wanted.run_folder).plan
    assert made is not None
    held_out = pictures_of(wanted).loaders(made.size, made.bs).datasets.valid.items
    right = [predictor.predict(pair.file).label == pair.label for pair in held_out]
    assert len(right) == outcome.validated_on
    assert sum(right) / len(right) == pytest.approx(outcome.value, abs=1e-6)


def test_a_run_of_epochs_is_fine_tune_to_the_bit(folder: Path) -> None:
    wanted = asked(folder, seed=3, size=64)  # at which head and all depths do equally well
    outcome = train(wanted, say=lambda _: None)
    made = read_record(wanted.run_folder).plan
    assert made is not None
    set_seed(3)
    learn = learner_of(pictures_of(wanted), made)
    with learn.no_logging():
        learn.fine_tune(1)
    assert outcome.kept == "tuned"
    tuned = Predictor.load(wanted.out)
    items = [pair.file for pair in learn.dls.datasets.valid.items]  # pyright: ignore[reportAttributeAccessIssue]
    assert torch.equal(tuned.outputs(items).argmax(1), learn.get_preds()[0].argmax(1))
    for name, value in read_model_file(wanted.out).weights.items():
        assert torch.equal(value, learn.model.state_dict()[name]), name


def test_a_table_a_pattern_and_folders_of_sides_all_do(tmp_path: Path) -> None:
    folder = digits(tmp_path / "digits", 12)
    rows = ["file,label"] + [
        f"{file.parent.name}/{file.name},{file.parent.name}" for file in sorted(folder.rglob("*.png"))
    ]
    (folder / "labels.csv").write_text("\n".join(rows))
    found = pictures_of(asked(folder, labels="labels.csv"))
    assert {pair.label for pair in found.pairs} == {"3", "7"}
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in folder.rglob("*.png"):
        shutil.copy(file, flat / f"digit{file.parent.name}_{file.name}")
    found = pictures_of(asked(flat, labels=r"^digit(.)_"))
    assert sorted(pair.label for pair in found.pairs) == ["3"] * 12 + ["7"] * 12
    sides = tmp_path / "sides"
    digits(sides / "train", 12)
    digits(sides / "test", 6)
    found = pictures_of(asked(sides))
    dls = found.loaders(32, 8)
    assert (len(dls.datasets.train), len(dls.datasets.valid)) == (24, 12)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"epochs": 0}, "--epochs is 0"),
        ({"minutes": 1.0}, "one of them"),
        ({"epochs": None, "minutes": float("nan")}, "--minutes is nan"),
        ({"epochs": None, "minutes": -1.0}, "--minutes is -1"),
        ({"size": 7}, "--size is 7"),
        ({"valid": 1.0}, "--valid is 1"),
        ({"devices": 10_000}, "this machine has"),
        ({"out": "a.pth"}, "ends in .plain"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        RunConfig("nowhere", **{"out": "a.plain", "epochs": 1, **more})


def test_a_folder_of_three_images_and_one_of_one_class_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    few = digits(tmp_path / "few", 2)
    sorted((few / "7").iterdir())[0].unlink()
    with pytest.raises(DataError, match=r"3 images.*too few"):
        train(asked(few))
    one = digits(tmp_path / "one", 12)
    shutil.rmtree(one / "7")
    with pytest.raises(DataError, match="one label '3'"):
        train(asked(one))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["few", "one"]


def test_a_file_in_the_way_another_process_and_a_place_that_cannot_be_written_are_named(folder: Path) -> None:
    wanted = asked(folder)
    with locked_folder(wanted), pytest.raises(DataError, match="another process"):
        train(wanted)
    Path(wanted.out).write_text("mine")
    with pytest.raises(ArgumentError, match=r"made\.plain is there already"):
        train(wanted)
    assert Path(wanted.out).read_text() == "mine"
    with pytest.raises(StorageError, match="cannot be made or written"):
        train(replace(wanted, out=str(sorted((folder / "3").iterdir())[0] / "x.plain")))


def test_weights_that_cannot_be_had_are_told_as_such_and_leave_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(arch: str) -> int:
        raise DownloadError(f"the weights of {arch} cannot be had")

    monkeypatch.setattr(plan, "native_size", unreachable)
    with pytest.raises(DownloadError, match="mobilenet"):
        train(asked(folder, size=None, arch="mobilenetv3_small_050"), say=lambda _: None)
    assert [file.name for file in folder.parent.iterdir()] == ["digits"]


def test_images_with_several_labels_are_learned_too(folder: Path) -> None:
    rows = ["file,labels"]
    for file in sorted(folder.rglob("*.png")):
        more = ";round" if file.parent.name == "3" else ""
        rows.append(f"{file.parent.name}/{file.name},{file.parent.name}{more}")
    (folder / "labels.csv").write_text("\n".join(rows))
    wanted = asked(folder, labels="labels.csv", label_delim=";")
    outcome = train(wanted, say=lambda _: None)
    assert outcome.metric == "F1"
    assert list(Predictor.load(wanted.out).vocab or ()) == ["3", "7", "round"]
    assert "round" in Page(wanted.report.read_text("utf-8")).words


def test_names_of_classes_may_hold_anything(tmp_path: Path) -> None:
    names = ("<script>alert(1)</script>🐶".replace("/", "∕"), "a\nb & 'c'")
    folder = digits(tmp_path / "odd", 12, names)
    wanted = asked(folder)
    train(wanted, say=lambda _: None)
    page = Page(wanted.report.read_text("utf-8"))
    assert "script" not in page.tags
    assert "alert(1)" in page.words
    assert set(Predictor.load(wanted.out).vocab or ()) == set(names)
    if shutil.which("chromium"):
        shown = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'chromium'}",
             "--dump-dom", wanted.report.absolute().as_uri()],
            capture_output=True, text=True, timeout=PATIENCE, check=True,
        ).stdout  # fmt: skip
        assert "<svg" in shown and "<script" not in shown
        assert shown.count("<section") == wanted.report.read_text("utf-8").count("<section") > 5


def test_a_page_with_one_class_wrong_shows_the_worst_errors(tmp_path: Path) -> None:
    folder = digits(tmp_path / "digits", 15)
    for file in sorted((folder / "7").iterdir())[:7]:  # wrong labels: they will be what it errs on
        file.rename(folder / "3" / f"wrong-{file.name}")
    wanted = asked(folder, valid=0.4)
    train(wanted, say=lambda _: None)
    page = Page(wanted.report.read_text("utf-8"))
    assert "wrong-" in page.words
    assert page.tags.count("img") > 0


# ---- the plan


def pictures(side: int = 400, size: int | None = None, minutes: float = 5) -> Pictures:
    wanted = RunConfig("photos", "made.plain", minutes=minutes, size=size)
    return Pictures(wanted, [Labelled(Path("a"), "a")], None, "folders", side)  # type: ignore[arg-type]


PACE = Pace(training=0.1, inference=0.03)


def test_the_more_time_the_larger_the_pictures_and_the_more_epochs() -> None:
    plans = [
        plan_at(pictures(minutes=seconds / 60), "net", 224, PACE, (300, 70), seconds)
        for seconds in (14, 60, 300, 3000)
    ]
    assert [plan.size for plan in plans] == sorted(plan.size for plan in plans)
    assert plans[0].size < plans[-1].size == 224
    assert [plan.epochs for plan in plans] == sorted(plan.epochs for plan in plans)
    assert plans[0].epochs == 0
    assert plans[-1].epochs > 50
    assert plans[-1].lr == 2e-3 > plans[2].lr


def test_all_seconds_are_given_to_training_but_those_for_what_must_be_done() -> None:
    plan = plan_at(pictures(), "net", 224, PACE, (300, 70), 300)
    must = 370 * 0.03 + 3 * 70 * 0.03
    assert plan.seconds is not None
    assert 300 - must - 20 < plan.seconds < 300 - must


def test_a_size_that_was_asked_for_is_kept_and_too_little_time_says_how_much_is_needed() -> None:
    assert plan_at(pictures(size=320), "net", 224, PACE, (300, 70), 300).size == 320
    with pytest.raises(DataError, match=r"--minutes is 0\.1") as error:
        plan_at(pictures(minutes=0.1, size=224), "net", 224, PACE, (300, 70), 2)
    needed = float(error.value.try_.split()[1])
    assert 0.1 < needed < 1
    assert plan_at(pictures(minutes=needed, size=224), "net", 224, PACE, (300, 70), needed * 60).epochs == 0


def test_more_pictures_than_there_is_time_to_look_at_are_learned_from_as_far_as_it_goes() -> None:
    plan = plan_at(pictures(size=224), "net", 224, PACE, (100_000, 500), 600)
    assert not plan.features
    assert plan.epochs == 1
    assert plan.seconds is not None and 400 < plan.seconds < 600


# ---- stopped and resumed, in real processes


def command(folder: Path, *more: str) -> list[str]:
    out = str(folder.parent / "made.plain")
    return [sys.executable, "-m", "plainlearn", "train", str(folder), "--out", out, "--size", "32", *more]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on_to_the_same_weights(tmp_path: Path, how: signal.Signals) -> None:
    folder = digits(tmp_path / "digits", 60)
    process = subprocess.Popen(
        command(folder, "--epochs", "12"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[:1] == ["2"]:  # a row of the third epoch
            break
    process.send_signal(how)
    out, err = process.communicate(timeout=PATIENCE)
    if how is signal.SIGINT:
        assert process.returncode == 130, out + err
        assert "--resume" in err
    resumed = subprocess.run(
        command(folder, "--epochs", "12", "--resume", "--json"), capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "Resumed from" in resumed.stderr
    assert json.loads(resumed.stdout)["epochs"] == 12
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(folder, other / "digits")
    whole = subprocess.run(
        command(other / "digits", "--epochs", "12", "--json"), capture_output=True, text=True
    )
    assert whole.returncode == 0, whole.stderr
    first, second = (Predictor.load(place / "made.plain").model.state_dict() for place in (tmp_path, other))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["tuned", "head alone"])
def test_a_run_as_a_script_ends_with_the_weights_of_the_model_file(
    folder: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kept == "head alone":  # as where the minutes leave no epoch

        def without_epochs(*given: Any) -> Plan:
            return replace(fixed_plan(*given), epochs=0)

        monkeypatch.setattr(training, "fixed_plan", without_epochs)
    wanted = asked(folder, size=64)
    outcome = train(wanted, say=lambda _: None)
    assert outcome.kept == kept
    path, note = eject_run(wanted.run_folder)
    assert "to the bit" in note
    subprocess.run([sys.executable, str(path)], check=True, capture_output=True, cwd=folder.parent)
    with np.load(path.with_name("made-trained.npz")) as trained:
        for name, value in read_model_file(wanted.out).weights.items():
            assert np.array_equal(trained[name], value.numpy()), name


def test_what_is_no_run_is_told_by_its_name(folder: Path) -> None:
    with pytest.raises(MissingFileError, match="is no folder of a run"):
        eject_run(folder)
    beside = folder.parent / "made.run"
    beside.mkdir()
    for text in ("{", "[]", '{"version": 9}', '{"version": 1, "asked": {}}', '{"version": 1, "more": 1}'):
        (beside / "run.json").write_text(text)
        with pytest.raises(DataError, match=r"run\.json cannot be used"):
            read_record(beside)
