"""`plainlearn evaluate`: figures that agree with those of training, and labels and files that are named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE
from shipped import draw_pictures, leave, small_learner

from plainlearn.data import MultiCategoryBlock, RegressionBlock
from plainlearn.metrics import accuracy_multi, rmse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=20)
    return folder


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return small_learner(folder).export("it.plain")


@pytest.fixture
def photos(folder: Path, tmp_path: Path) -> Path:
    """A folder of the validation images alone, in folders named after their class."""
    for label in ("dark", "light"):
        (tmp_path / label).mkdir()
        for image in sorted((folder / label).glob("*.png"))[:4]:
            shutil.copy(image, tmp_path / label / image.name)
    return tmp_path


def test_the_figures_are_those_of_validation(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = small_learner(folder)
    with learn.no_logging():
        learn.fit(1, 1e-2)
    file = learn.export(tmp_path / "it.plain")
    rows = ["file,label", *(f"{item},{item.parent.name}" for item in learn.dls.datasets.valid.items)]
    (folder / "valid.csv").write_text("\n".join(rows))
    assert leave("evaluate", file, folder, "--labels", "valid.csv", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    metrics = {each["name"]: each for each in report["metrics"]}
    assert metrics["accuracy"]["value"] == pytest.approx(float(learn.validate()[1]))
    assert metrics["accuracy"]["low"] < metrics["accuracy"]["value"] + 1e-9
    probabilities, targets = learn.get_preds()
    from plainlearn.metrics.calibration import calibration_error

    assert report["calibration_error"] == pytest.approx(calibration_error(probabilities, targets), abs=1e-4)
    said = probabilities.argmax(dim=1)
    for number, label in enumerate(learn.dls.vocab):
        row = next(each for each in report["labels"] if each["label"] == label)
        mine, given = targets == number, said == number
        assert (row["items"], row["right"], row["said"]) == (
            int(mine.sum()),
            int((mine & given).sum()),
            int(given.sum()),
        )
    assert sum(pair["items"] for pair in report["confused"]) == int((said != targets).sum())
    assert report["unlike"] in range(4)


def test_the_table_is_for_people(file: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("evaluate", file, photos) == 0
    text = capsys.readouterr().out
    for words in ("8 items, folders named after their class", "accuracy", "95% between", "calibration error", "always dark",
                  "By label, the worst first", "are unlike what it learned from"):  # fmt: skip
        assert words in text, text


def test_what_cannot_be_read_is_left_out_and_named(
    file: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "dark" / "broken.png").write_bytes(b"no picture")
    assert leave("evaluate", file, photos) == 1
    text = capsys.readouterr().out
    assert (
        "8 items" in text and "Left out, as they cannot be read: 1" in text and text.count("broken.png") == 1
    )
    for image in photos.rglob("*.png"):
        image.write_bytes(b"none")
    assert leave("evaluate", file, photos) == 2
    assert "none of the 9 images can be read; the first is" in capsys.readouterr().err


def test_a_label_that_the_model_does_not_know_is_named(
    file: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "dark").rename(photos / "Darc")
    assert leave("evaluate", file, photos) == 2
    answer = capsys.readouterr()
    assert answer.out == "" and "does not know the label 'Darc', of 4 in 8 images" in answer.err
    assert "the nearest to 'Darc' is 'dark'" in answer.err


def test_held_out_images_count_where_there_are_sides(
    file: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("train", "valid"):
        shutil.copytree(photos / "light", photos / "all" / side / "light")
    (photos / "all" / "valid" / "light" / "0.png").unlink()
    assert leave("evaluate", file, photos / "all", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["items"] == 3 and "these are the valid images; 4 others" in report["notes"][0]
    assert "of 1 labels there is no image here: dark" in report["notes"][1]


def test_several_labels_and_numbers_are_measured_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,label,number\n" + "".join(
        f"{name}/{number}.png,any;{name},{number}.5\n" for name in ("dark", "light") for number in range(4)
    ))  # fmt: skip
    words = small_learner(
        folder, MultiCategoryBlock, get_y=lambda path: ["any", path.parent.name], metrics=accuracy_multi
    )
    file = words.export(tmp_path / "words.plain")
    options = (folder, "--labels", table, "--label-col", "label", "--label-delim", ";", "--json")
    assert leave("evaluate", file, *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert {each["name"] for each in report["metrics"]} == {"F1", "all labels right", "single answers right"}
    assert {row["label"]: row["items"] for row in report["labels"]} == {"any": 8, "dark": 4, "light": 4}
    assert leave("evaluate", file, folder, "--labels", table, "--label-col", "label") == 2
    assert (
        "does not know the labels 'any;dark', 'any;light'" in (error := capsys.readouterr().err)
        and "--label-delim" in error
    )
    numbers = small_learner(folder, RegressionBlock, get_y=lambda path: float(path.stem), metrics=rmse)
    file = numbers.export(tmp_path / "numbers.plain")
    assert leave("evaluate", file, folder, "--labels", table, "--label-col", "number") == 0
    assert "mean absolute error" in capsys.readouterr().out
    assert leave("evaluate", file, folder) == 2
    assert "the label 'dark' is no number" in capsys.readouterr().err


def test_evaluating_does_not_load_the_training_loop(file: Path, photos: Path) -> None:
    code = (
        "import sys\nfrom plainlearn.cli import main\ntry: main(['evaluate', *sys.argv[1:]])\n"
        "except SystemExit as e: print(e.code)\n"
        "print([name for name in sys.modules if name.startswith('plainlearn.train')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(file), str(photos)], capture_output=True, text=True, check=True, timeout=PATIENCE
    )  # fmt: skip
    assert ran.stdout.splitlines()[-2:] == ["0", "[]"] and ran.stderr == ""
