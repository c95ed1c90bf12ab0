"""Every command on model files that are none, places that cannot be written, and labels that nobody expects."""

from __future__ import annotations

import csv
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from shipped import draw_pictures, leave, small_learner

from plainlearn.core.errors import StorageError
from plainlearn.core.tensorfile import read_tree, write_tree
from plainlearn.data import CategoryBlock

LABELS = ("cat/dog 🐈‍⬛", "two\nlines | <b>\"quoted\", 'text'</b>")


@pytest.fixture(scope="module")
def learn(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=20)
    names = dict(zip(("dark", "light"), LABELS, strict=True))
    learn = small_learner(folder, CategoryBlock(vocab=LABELS), get_y=lambda path: names[path.parent.name])
    learn.export("it.plain")
    return learn


def spoilt(kind: str, good: Path, file: Path) -> Path:
    content = bytearray(good.read_bytes())
    if kind == "truncated":
        content = content[: len(content) // 2]
    elif kind == "flipped":
        content[-100] ^= 1
    elif kind == "empty":
        content = bytearray()
    elif kind == "a pickle":
        content = bytearray(pickle.dumps({"a": 1}))
    else:
        tree: Any = read_tree(good, kind="a model of plainlearn's")
        write_tree(file, {**tree, "version": 99}, kind="a model of plainlearn's")
        return file
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("kind", "message"),
    [("truncated", "is damaged"), ("flipped", "its hash differs"), ("empty", "it is empty"), ("a pickle", "is a pickle"),
     ("newer", "newer version of plainlearn")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["info", "card", "predict", "evaluate", "drift", "export"])
def test_a_file_that_is_none_is_named_by_every_command(
    learn: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str, message: str
) -> None:
    file = spoilt(kind, learn.path / "it.plain", tmp_path / "it.plain")
    image = learn.dls.datasets.valid.items[0]
    more = {"predict": [image], "evaluate": [learn.path], "drift": [learn.path],
            "export": ["--onnx", tmp_path / "it.onnx", "--check", image]}  # fmt: skip
    assert leave(command, file, *more.get(command, [])) == 2
    answer = capsys.readouterr()
    assert (
        answer.out == ""
        and message in answer.err
        and str(file) in answer.err
        and "Traceback" not in answer.err
    )
    assert [each.name for each in tmp_path.iterdir()] == ["it.plain"]


# ---------------------------------------------------------------- labels


def test_odd_labels_come_through_every_command(
    learn: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, image = learn.path / "it.plain", learn.dls.datasets.valid.items[0]
    assert leave("info", file, "--json") == 0
    assert tuple(json.loads(capsys.readouterr().out)["labels"]) == LABELS
    assert leave("info", file) == 0
    assert "two\\nlines" in capsys.readouterr().out
    assert leave("predict", file, image, "--csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert row["label"] in LABELS and set(LABELS) < set(row)
    assert leave("predict", file, image, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["label"] == row["label"] and tuple(answer["probabilities"]) == LABELS
    assert leave("predict", file, image) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert leave("card", file) == 0
    assert "<b>" not in capsys.readouterr().out
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows(
            [
                ("file", "label"),
                *((item, LABELS["light" in str(item)]) for item in learn.dls.datasets.valid.items),
            ]
        )
    assert leave("evaluate", file, learn.path, "--labels", tmp_path / "labels.csv") == 0
    text = capsys.readouterr().out
    assert "20 items" in text and "two\\nlines" in text


def test_odd_labels_are_in_the_onnx_file(learn: Any, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    image = learn.dls.datasets.valid.items[0]
    assert leave("export", learn.path / "it.plain", "--onnx", tmp_path / "it.onnx", "--check", image) == 0
    told = {each.key: each.value for each in onnx.load(tmp_path / "it.onnx").metadata_props}
    assert tuple(json.loads(told["labels"])) == LABELS


# ---------------------------------------------------------------- places


def test_a_folder_that_may_not_be_written_is_named(learn: Any, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = "/proc/plainlearn"  # read-only even to root
    if not Path("/proc").is_dir():
        pytest.skip("needs Linux")
    with pytest.raises(
        StorageError, match=r"it\.plain cannot be written: .*; expected a folder that this user may write"
    ):
        learn.export(f"{nowhere}/it.plain", calibrate=False)
    image = learn.dls.datasets.valid.items[0]
    for arguments in (
        ("card", "--out", f"{nowhere}/card.md"),
        ("export", "--onnx", f"{nowhere}/it.onnx", "--check", image),
    ):
        assert leave(arguments[0], learn.path / "it.plain", *arguments[1:]) == 2
        answer = capsys.readouterr()
        assert f"{arguments[2]} cannot be written" in answer.err and "Traceback" not in answer.err
