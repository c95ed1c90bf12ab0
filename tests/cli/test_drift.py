"""`plainlearn drift`: silent on images of the same kind, loud on others, and it names what it could not read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shipped import draw_pictures, leave, small_learner

from plainlearn.inference.predictor import Predictor
from plainlearn.vision.load_learner import load_learner


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=40)
    learn = small_learner(folder)
    with learn.no_logging():
        learn.fit_one_cycle(2, 1e-2)
    return learn.export("it.plain")


def test_images_of_the_same_kind_are_no_drift_and_others_are(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("dark", "light"):  # those that it was validated on
        (tmp_path / label).symlink_to(file.parent / label)
    assert leave("drift", file, tmp_path) == 0
    assert "nothing moved; 80 items against 40 of validation" in capsys.readouterr().out
    for label in ("dark", "light"):
        (tmp_path / label).unlink()
    rng = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "no.png").write_bytes(b"none")
    assert leave("drift", file, tmp_path, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (
        report["moved"]
        and report["items"] == 40
        and len(report["left_out"]) == 1
        and "no.png" in report["left_out"][0]
    )
    predictor = Predictor.load(file)
    assert predictor.drift(sorted(tmp_path.glob("?*[0-9].png"))).report().moved == tuple(report["moved"])


def test_what_cannot_be_told_is_said(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("drift", file, tmp_path) == 2
    assert "holds no image" in capsys.readouterr().err
    Image.new("L", (40, 40)).save(tmp_path / "1.png")
    assert leave("drift", file, tmp_path) == 0
    assert "too few items to tell, 1 against 40" in capsys.readouterr().out
    again = load_learner(file).export(
        tmp_path / "again.plain"
    )  # a learner from a file has no items to compare with
    assert leave("drift", again, tmp_path) == 2
    assert "does not say what is usual" in capsys.readouterr().err
