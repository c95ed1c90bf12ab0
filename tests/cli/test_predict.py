"""`plainlearn predict` and `plainlearn info`: what a model file says, for people, tables and programs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from shipped import draw_pictures, leave, small_learner

from plainlearn.inference.predictor import Predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=6)
    small_learner(folder).export("it.plain")
    return folder


def test_predict_gives_a_line_an_image_that_agrees_with_python(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("predict", folder / "it.plain", folder / "dark", folder / "light" / "1.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    predictor = Predictor.load(folder / "it.plain")
    for line in lines:
        label, sure, place = line.split("\t")
        expected = predictor.predict(place)
        assert label == expected.label and float(sure) == pytest.approx(
            float(expected.probabilities.max()), abs=1e-3
        )


def test_a_table_and_objects_hold_every_probability(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = folder / "dark" / "0.png"
    assert leave("predict", folder / "it.plain", image, "--csv") == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert leave("predict", folder / "it.plain", image, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["label"] == row["label"] and answer["image"] == row["image"] == str(image)
    assert {name: float(row[name]) for name in ("dark", "light")} == answer["probabilities"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_what_cannot_be_predicted_is_said_in_one_message(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.png").write_bytes(b"none")
    image = folder / "dark" / "0.png"
    for arguments, message in (
        ((folder / "it.plain", tmp_path / "no.png"), "no.png"),
        ((folder / "it.plain", tmp_path / "gone.png"), "gone.png"),
        ((tmp_path / "gone.plain", image), "there is no file"),
        ((image, image), "is no safetensors file"),
        ((folder / "it.plain", image, "--csv", "--json"), "two forms of one answer"),
    ):
        assert leave("predict", *arguments) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert leave("predict", folder / "it.plain", tmp_path / "empty") == 2
    assert "holds no image" in capsys.readouterr().err


def test_one_bad_image_among_good_ones_is_named_and_the_others_are_answered(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no\n.png").write_bytes(b"none")
    images = [
        folder / "dark" / "0.png",
        tmp_path / "no\n.png",
        folder / "light" / "1.png",
        tmp_path / "gone.png",
    ]
    assert leave("predict", folder / "it.plain", *images) == 2
    said = capsys.readouterr()
    assert [line.split("\t")[2] for line in said.out.splitlines()] == [str(images[0]), str(images[2])]
    assert "expected an image" in said.err and "gone.png" in said.err
    assert "2 of 4 images could not be read" in said.err
    assert leave("predict", folder / "it.plain", *images, "--json") == 2
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["image"] for answer in answers] == list(map(str, images))
    assert ["error" in answer for answer in answers] == [False, True, False, True]
    assert leave("predict", folder / "it.plain", *images, "--csv") == 2
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2


def test_info_is_for_people_and_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("info", folder / "it.plain") == 0
    text = capsys.readouterr().out
    assert "2 labels: dark, light" in text and "licence" in text
    assert leave("info", folder / "it.plain", "--json") == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["dark", "light"]
