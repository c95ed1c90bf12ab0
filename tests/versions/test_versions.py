"""Model files of every released version still load, and say what they said then."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from plainlearn._version import __version__
from plainlearn.inference import read_model_file
from plainlearn.inference.model_card import markdown_of, text_of
from plainlearn.inference.predictor import Predictor
from plainlearn.vision.load_learner import load_learner

HERE = Path(__file__).resolve().parent
VERSIONS = sorted(file.stem for file in HERE.glob("*.json"))


def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_versions", HERE / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_this_version_has_left_its_files() -> None:
    assert __version__ in VERSIONS, "python tests/versions/make.py"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["digits", "own"])
def test_a_file_of_an_older_version_says_what_it_said(version: str, name: str, tmp_path: Path) -> None:
    said: dict[str, Any] = json.loads((HERE / f"{version}.json").read_text())[name]
    maker = make()
    kept = HERE / f"{version}-{name}.plain"
    content = kept.read_bytes() if kept.exists() else gzip.decompress(Path(f"{kept}.gz").read_bytes())
    file = tmp_path / "it.plain"
    file.write_bytes(content)
    own = maker.OwnNet if name == "own" else None
    predictor = Predictor.load(file, model=own)
    assert list(predictor.vocab or ()) == said["labels"]
    expected = torch.tensor(said["probabilities"])
    found = torch.stack([each.probabilities for each in predictor.predict_batch(maker.pictures())])
    assert torch.allclose(found, expected, atol=1e-4), (found - expected).abs().max()
    if said["strangeness"]:
        assert torch.allclose(
            predictor.ood_scores(maker.pictures()), torch.tensor(said["strangeness"]), atol=1e-4
        )
    again = torch.stack([load_learner(file, model=own).predict(each)[2] for each in maker.pictures()])
    assert torch.allclose(again, expected, atol=1e-4)
    assert predictor.drift(maker.pictures() * 10).report().enough
    read = read_model_file(file)
    assert "Tells 3 from 7." in text_of(read) and "| accuracy |" in markdown_of(read, "it.plain")


def test_the_files_are_small() -> None:
    assert sum(file.stat().st_size for file in HERE.glob("*.plain*")) / len(VERSIONS) < 150_000
