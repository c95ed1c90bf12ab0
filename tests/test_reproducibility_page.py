"""The page on repeating and resuming runs tells the truth: its snippets run, and two runs of the first are equal."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reproducibility.md"


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page says is there."""
    draws = np.random.default_rng(0)
    for side in ("train", "valid"):
        for number in range(8):
            file = tmp_path / "pets" / side / ("cat", "dog")[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draws.integers(0, 255, (70, 80, 3), np.uint8)).save(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_snippet_runs_and_two_runs_of_one_seed_are_equal(pets: Path) -> None:
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 5
    losses: list[list[float]] = []
    for _ in range(2):
        names: dict[str, object] = {}
        exec(snippets[0], names)
        losses.append(names["learn"].recorder.losses)  # type: ignore[attr-defined]
    assert losses[0] == losses[1]
    for snippet in snippets[1:]:
        exec(snippet, names)
    written = sorted(file.name for file in pets.rglob("*.safetensors"))
    assert written == [f"{n}.safetensors" for n in ("checkpoint-1", "checkpoint-2", "night-1", "stage-1")]
