"""Tests of the audit: what it finds in a folder made for it, and what it does not find in good data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from plainlearn.audit.checks import audit, audit_folder
from plainlearn.core.errors import DataError
from plainlearn.images import file_facts as filefacts


def photo(path, seed, size=(96, 80), **kwargs):
    """A smooth random picture, so that copies of it survive resizing and recompression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC).save(path, **kwargs)
    return path


@pytest.fixture
def folder(tmp_path):
    for side in ("train", "valid"):
        for number, label in enumerate(("cat", "dog")):
            for item in range(3):
                photo(
                    tmp_path / side / label / f"{side}{item}.png",
                    100 * (side == "valid") + 10 * number + item,
                )
    return tmp_path


def kinds(report):
    return {found.kind for found in report.findings}


def test_sound_data_give_no_finding(folder):
    report = audit_folder(folder)
    assert report.findings == []
    assert (report.images, report.classes, report.sides) == (
        12,
        {"cat": 6, "dog": 6},
        {"train": 6, "valid": 6},
    )
    assert "Nothing was found" in str(report)


def test_unreadable_files_are_named_with_the_reason(folder):
    (folder / "train/cat/page.jpg").write_text("<html>no image</html>")
    whole = photo(folder / "train/cat/cut.png", 5).read_bytes()
    (folder / "train/cat/cut.png").write_bytes(whole[: len(whole) // 2])
    report = audit_folder(folder)
    bad = [str(folder / "train/cat" / name) for name in ("cut.png", "page.jpg")]
    assert list(report.unreadable) == bad == [path for (path,) in report.of("unreadable")[0].paths]
    assert "HTML" in str(report)
    assert report.findings[0].severity == "error"


def test_one_image_on_both_sides_is_a_leak(folder):
    shutil.copy(folder / "train/cat/train0.png", folder / "valid/cat/again.png")
    (found,) = audit_folder(folder).of("leak")
    assert found.groups == [["train/cat/train0.png (train, cat)", "valid/cat/again.png (valid, cat)"]]


def test_one_image_under_two_labels_is_a_conflict(folder):
    shutil.copy(folder / "train/cat/train0.png", folder / "train/dog/again.png")
    report = audit_folder(folder)
    assert kinds(report) == {"label-conflict"}


def test_a_copy_on_the_same_side_is_a_duplicate_and_no_leak(folder):
    shutil.copy(folder / "train/cat/train0.png", folder / "train/cat/again.png")
    assert kinds(audit_folder(folder)) == {"duplicate"}


@pytest.mark.parametrize("change", ["smaller", "jpeg", "brighter"])
def test_a_changed_copy_is_a_near_leak(folder, change):
    picture = Image.open(folder / "train/cat/train0.png")
    target = folder / "valid/cat/again.png"
    if change == "smaller":
        picture.resize((72, 64), Image.Resampling.LANCZOS).save(target)
    elif change == "jpeg":
        target = target.with_suffix(".jpg")
        picture.save(target, quality=40)
    else:
        picture.point(lambda level: min(255, int(level * 0.9 + 20))).save(target)
    report = audit_folder(folder)
    assert kinds(report) == {"near-leak"}
    assert target.name in str(report)


def test_small_images_are_not_searched_for_near_copies(tmp_path):
    for side, seed in (("train", 1), ("valid", 1)):
        for label in ("a", "b"):
            photo(
                tmp_path / side / label / "1.png",
                seed + ord(label),
                size=(28, 28) if side == "train" else (28, 29),
            )
            photo(tmp_path / side / label / "2.png", seed + 7 * ord(label), size=(28, 28))
    assert not {kind for kind in kinds(audit_folder(tmp_path)) if kind.startswith("near-")}


def test_class_names_that_differ_in_case_or_unicode_form_are_named(folder):
    photo(folder / "train/Cat/1.png", 77)
    photo(folder / "train/Cat/2.png", 78)
    photo(folder / "train/cafe\u0301/1.png", 79)
    photo(folder / "train/cafe\u0301/2.png", 80)
    photo(folder / "train/caf\u00e9/1.png", 81)
    photo(folder / "train/caf\u00e9/2.png", 82)
    (found,) = audit_folder(folder).of("class-names")
    assert sorted(map(tuple, found.groups)) == [("Cat", "cat"), ("cafe\u0301", "caf\u00e9")]


def test_empty_and_one_image_classes_and_imbalance_are_named(folder):
    (folder / "train/bird").mkdir()
    photo(folder / "train/fish/1.png", 90)
    for item in range(10):
        photo(folder / f"train/cat/more{item}.png", 100 + item)
    report = audit_folder(folder)
    assert report.of("empty-class")[0].groups == [["bird"]]
    assert report.of("one-image-class")[0].groups == [["fish"]]
    assert report.of("imbalance")[0].groups == [["cat"], ["fish"]]


def test_a_tiny_image_among_large_ones_and_a_wrong_extension_are_named(folder):
    photo(folder / "train/cat/icon.png", 3, size=(16, 16))
    photo(folder / "train/cat/really.jpg", 4, format="PNG")
    report = audit_folder(folder)
    assert report.of("tiny")[0].groups == [["train/cat/icon.png"]]
    assert report.of("wrong-extension")[0].groups == [["train/cat/really.jpg"]]


def test_an_even_grey_resembles_nothing(tmp_path):
    for label in "ab":
        for item, level in enumerate((10, 200)):
            path = tmp_path / label / f"{item}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new(
                "RGB", (80, 80), (level + ord(label),) * 3 if level < 100 else (level, ord(label), 9)
            ).save(path)
    assert not {kind for kind in kinds(audit_folder(tmp_path)) if kind.startswith("near-")}


def test_nothing_is_changed_in_the_folder(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    audit_folder(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_second_look_reads_only_what_has_changed(folder, monkeypatch):
    audit_folder(folder)
    looked = []
    real = filefacts.image_facts

    def noted(name):
        looked.append(Path(name).name)
        return real(name)

    monkeypatch.setattr(filefacts, "image_facts", noted)
    photo(folder / "train/cat/train0.png", 4242, size=(100, 90))
    audit_folder(folder)
    assert looked == ["train0.png"]


def test_a_damaged_memory_is_made_anew(folder, tmp_path_factory):
    audit_folder(folder)
    (kept,) = (filefacts.cache_home() / "audit").glob("*.json")
    kept.write_text("{ not json")
    assert audit_folder(folder).findings == []


def test_labels_that_are_not_folders_are_taken_as_given(folder):
    files = sorted((folder / "train/cat").iterdir())
    report = audit([*files, files[0]], labels=[1, 2, 1, 2], sides=["train"] * 4)
    assert kinds(report) >= {"label-conflict"}


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no image files"):
        audit_folder(tmp_path)


def run_check(*arguments):
    from plainlearn.cli.root import _app

    return CliRunner().invoke(_app, ["check", *map(str, arguments)])


def test_the_command_leaves_with_one_for_errors_and_with_strict_for_warnings(folder):
    assert run_check(folder).exit_code == 0
    shutil.copy(folder / "train/cat/train0.png", folder / "train/cat/again.png")
    assert (run_check(folder).exit_code, run_check(folder, "--strict").exit_code) == (0, 1)
    (folder / "train/cat/page.jpg").write_text("<html>")
    plain = run_check(folder)
    assert plain.exit_code == 1
    assert (
        "1 file cannot be used\n     train/cat/page.jpg (6 bytes) cannot be used: it looks like HTML"
        in plain.output
    )


def test_the_command_writes_json_of_stable_keys(folder):
    (folder / "train/cat/pa\nge\U0001f600.jpg").write_text("<html>")
    machine = run_check(folder, "--json")
    assert machine.exit_code == 1
    report = json.loads(machine.stdout)
    assert list(report) == ["images", "classes", "sides", "findings", "seconds", "root"]
    found = report["findings"][0]
    assert list(found) == ["kind", "severity", "text", "advice", "groups", "paths"]
    assert found["kind"] == "unreadable"
    assert found["paths"] == [[str(folder / "train/cat/pa\nge\U0001f600.jpg")]]
