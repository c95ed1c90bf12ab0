"""`plainlearn card`: to the terminal or to a file, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from plainlearn.cli import main
from plainlearn.inference import ModelFile, write_model_file
from plainlearn.inference.output_spec import OutputSpec


def leave(*arguments: object) -> int:
    with pytest.raises(SystemExit) as leaving:
        main([str(each) for each in arguments])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def test_the_card_goes_where_it_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["a/b", "🐈", "line\nbreak"]
    file = ModelFile(
        {"custom": "x"},
        {"w": torch.zeros(1)},
        {},
        {"kind": "CategoryBlock", "vocab": labels},
        OutputSpec("softmax"),
    )
    write_model_file(tmp_path / "it.plain", file)
    assert leave("card", tmp_path / "it.plain") == 0
    shown = capsys.readouterr().out
    assert "a/b, 🐈, line\\\\nbreak" in shown
    assert leave("card", tmp_path / "it.plain", "--out", tmp_path / "card.md") == 0
    assert capsys.readouterr().out == "" and (tmp_path / "card.md").read_text() == shown
    assert leave("card", tmp_path / "gone.plain") == 2
    assert "there is no file" in capsys.readouterr().err
    assert leave("card", tmp_path / "it.plain", "--out", tmp_path / "no" / "card.md") in (0, 2)
