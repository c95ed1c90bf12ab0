"""The pictures of an audit: a page that needs nothing and trusts no name, a drawing of the same."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from patience import PATIENCE
from PIL import Image
from typer.testing import CliRunner

from plainlearn.audit.checks import Audit, audit_folder
from plainlearn.audit.findings import page_html
from plainlearn.core.errors import ArgumentError, StorageError
from plainlearn.images.html import thumbnail

HOSTILE = "<script>document.title='hurt'<b onload=x>&amp;\"'.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    for number in range(8):
        file = root / ("train", "valid")[number % 2] / ("cat", "dog")[number // 2 % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        rough = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((120, 80), Image.Resampling.BICUBIC).save(file)
    shutil.copy(root / "train/cat/0.png", root / "valid/dog/copy\n\U0001f436 $x^2$.png")
    (root / "train" / "cat" / HOSTILE).write_text("no image")
    (root / "train" / "cat" / "<i>").mkdir()
    shutil.copy(root / "train/cat/4.png", root / "train/cat/<i>/1.png")
    return root


class Seen(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.pictures: list[Image.Image] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on") and name not in ("href", "srcset")
            if name == "src":
                kind, _, data = (value or "").partition(",")
                assert kind == "data:image/jpeg;base64"
                self.pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_has_its_pictures_and_trusts_no_name(folder: Path, tmp_path: Path) -> None:
    written = audit_folder(folder).write_page(tmp_path / "report.html")
    seen = Seen(written.read_text("utf-8"))
    assert seen.open == [] and not {"script", "b", "i ", "link", "iframe"} & set(seen.tags)
    assert f"train/cat/{HOSTILE}" in seen.text
    assert "copy\\n\\U0001f436 $x^2$.png' (valid, dog)" in seen.text
    assert "The same image is in training and in validation: once" in seen.text and "<i>" in seen.text
    assert "url(" not in written.read_text("utf-8") and "@import" not in written.read_text("utf-8")
    leaked = Image.open(folder / "train/cat/0.png")
    shown = np.asarray(seen.pictures[0].convert("RGB"), dtype=int)
    assert (
        np.abs(shown - np.asarray(leaked, dtype=int)).mean() < 8
    )  # its first picture is of the leak, upright


def test_nothing_found_is_said(folder: Path) -> None:
    assert "Nothing was found that speaks against training." in page_html(Audit(2, {"cat": 2}, {"all": 2}))


def test_long_findings_are_cut_and_counted(tmp_path: Path) -> None:
    for number in range(60):
        file = tmp_path / "cat" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
    text = page_html(audit_folder(tmp_path))
    assert text.count("<figure>") == 48 and "… and 12 more" in text


def test_a_thumbnail_is_upright_small_and_none_of_what_has_no_pixels(tmp_path: Path) -> None:
    lying = Image.new("RGB", (400, 200), "white")
    lying.paste("red", (0, 0, 200, 200))
    exif = lying.getexif()
    exif[0x0112] = 6  # to be turned to the right
    lying.save(tmp_path / "lying.jpg", exif=exif)
    small = thumbnail(str(tmp_path / "lying.jpg"), 100)
    assert small is not None and small.shape == (100, 50, 3)
    assert np.abs(small[10, 25].astype(int) - (255, 0, 0)).max() < 20 and small[90, 25].min() > 235
    assert thumbnail(str(tmp_path / "nowhere.jpg"), 100) is None


def test_a_page_that_cannot_be_written_names_its_place(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StorageError, match=r"report\.html cannot be written"):
        audit_folder(folder).write_page(tmp_path / "report.html")


def test_the_command_writes_the_page_and_says_where(folder: Path, tmp_path: Path) -> None:
    from plainlearn.cli.root import _app

    file = tmp_path / "a report.html"
    done = CliRunner().invoke(_app, ["check", str(folder), "--html", str(file), "--json"])
    assert done.exit_code == 1 and f"The pictures are in {file.as_uri()}" in done.stderr
    assert Seen(file.read_text("utf-8")).pictures


def test_the_drawing_has_a_row_for_each_group_and_single_files_side_by_side(folder: Path) -> None:
    audit_folder(folder).show()
    figure = plt.gcf()
    figure.canvas.draw()  # which would warn of signs that the font lacks
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles[0].startswith("train/cat/<script>")
    assert sum(bool(ax.images) for ax in figure.axes) == len(titles) - 1
    with pytest.raises(ArgumentError, match="max_groups is 0"):
        audit_folder(folder).show(0)


def test_a_drawing_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Audit(2, {"cat": 2}, {"all": 2}).show()
    assert capsys.readouterr().out == "Nothing was found that a picture could show.\n"
    assert not plt.get_fignums()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_runs_nothing_of_it(folder: Path, tmp_path: Path) -> None:
    file = audit_folder(folder).write_page(tmp_path / "report.html")
    made = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'chromium'}",
         "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert "<title>Audit: " in made.stdout and "<script" not in made.stdout
    assert made.stdout.count("<img") == file.read_text("utf-8").count("<img") > 3
