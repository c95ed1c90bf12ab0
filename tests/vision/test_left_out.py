"""No bad file spoils a run: each is used, left out by name, or named in an error, whatever loaders it meets."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from corpus.cases import CASES, make_corpus
from PIL import Image

from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import DataError, MissingFileError
from plainlearn.data import Block, CategoryBlock, ColReader, DataBlock, IndexSplitter, get_image_files
from plainlearn.data.validate_items import DataWarning
from plainlearn.images import file_facts as filefacts
from plainlearn.images.load import load_image
from plainlearn.vision.blocks import ImageBlock, MaskBlock
from plainlearn.vision.loaders import ImageDataLoaders, SegmentationDataLoaders


def draw(file: Path, seed: int, size: tuple[int, int] = (8, 8)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(12):
        side = "train" if number < 8 else "valid"
        draw(tmp_path / side / ("cat", "dog")[number % 2] / f"{number}.png", number)
    return tmp_path


def break_(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:60])
    return file


def epoch(dls: Any) -> int:
    """How many items both loaders give."""
    return sum(len(batch[0]) for loader in (dls.train, dls.valid) for batch in loader)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes, sockets and such names are of Unix")
@pytest.mark.parametrize("workers", [0, 2])
def test_every_bad_file_among_good_ones_is_left_out_by_name_and_the_epoch_comes_to_its_end(
    folder: Path, workers: int
) -> None:
    made = make_corpus(folder / "train" / "cat")
    for file in get_image_files(folder):
        if file.parent.name not in ("cat", "dog"):
            file.unlink()  # one in a folder below would be of another class
    items = set(get_image_files(folder))
    bad = {path for path, case in made.items() if case.outcome == "refused"} & items
    assert len(bad) >= 60 and len(items) - len(bad) > 60

    with pytest.warns(DataWarning, match=f"{len(bad)} of {len(items)} items cannot be used"):
        dls = ImageDataLoaders.from_folder(
            folder, item_tfms=Resize(8), num_workers=workers, bs=16, drop_last=False, device="cpu"
        )

    assert {item for item, _ in dls.left_out} == bad
    assert all(str(item) in reason or ascii(str(item)) in reason for item, reason in dls.left_out)
    assert epoch(dls) == len(items) - len(bad)


def test_the_quick_look_and_the_opening_agree_on_every_file(tmp_path: Path) -> None:
    made = make_corpus(tmp_path)
    for path, case in made.items():
        if case.outcome != "skipped":
            assert bool(filefacts.image_facts(str(path)).problem) == (case.outcome == "refused"), case.title
    assert len(made) > len(CASES) - 20


def test_a_large_picture_is_tried_as_training_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "large.jpg"
    Image.new("RGB", (900, 800)).save(file)
    opened: list[Any] = []

    def noted(name: str, **settings: Any) -> Any:
        opened.append(settings)
        return load_image(name, **settings)

    monkeypatch.setattr(filefacts, "load_image", noted)
    filefacts.image_facts(str(file))
    monkeypatch.setattr(filefacts, "MAX_MEMORY", 20_000_000)
    filefacts.image_facts(str(file))
    assert opened == [{"mode": "L", "draft_to": 32}, {"mode": "L", "draft_to": 32}, {}]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are of Unix")
def test_a_pipe_among_the_items_is_left_out_at_once(folder: Path) -> None:
    pipe = folder / "train" / "cat" / "pipe.png"
    os.mkfifo(pipe)
    files = [*get_image_files(folder), pipe]
    block = DataBlock(
        (ImageBlock, CategoryBlock), get_y=lambda file: file.parent.name, splitter=IndexSplitter([8, 9])
    )
    with pytest.warns(DataWarning, match=r"pipe\.png is a named pipe"):
        dls = block.dataloaders(files, num_workers=0, device="cpu")
    assert [item for item, _ in dls.left_out] == [pipe] and epoch(dls) == 12


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_goes_bad_during_training_is_named(folder: Path, workers: int) -> None:
    dls = ImageDataLoaders.from_folder(folder, num_workers=workers, bs=2, device="cpu")
    gone = folder / "train" / "cat" / "2.png"
    gone.unlink()
    with pytest.raises(MissingFileError, match=rf"there is no file {gone}"):
        list(dls.train)
    broken = break_(folder / "valid" / "dog" / "9.png")
    with pytest.raises(DataError, match=f"{broken} .* is a damaged PNG"):
        list(dls.valid)


def test_every_factory_leaves_out_and_takes_strict_and_check(folder: Path) -> None:
    files = sorted(get_image_files(folder))
    labels = [file.parent.name for file in files]
    names = [str(file.relative_to(folder)) for file in files]
    df = pd.DataFrame({"name": names, "label": labels})
    df.to_csv(folder / "labels.csv", index=False)
    bad = break_(files[1])
    make = ImageDataLoaders
    for arguments in (
        (make.from_folder, folder),
        (make.from_path_func, folder, files, lambda path: path.parent.name),
        (make.from_name_func, folder, files, lambda name: "odd" if int(name[:-4]) % 2 else "even"),
        (make.from_path_re, folder, files, r"/(cat|dog)/"),
        (make.from_lists, folder, names, labels),
        (make.from_df, df, folder),
        (make.from_csv, folder),
    ):
        function, *given = arguments
        settings: Any = {"num_workers": 0, "device": "cpu", "drop_last": False}
        if function is not make.from_folder:
            settings |= {"valid_pct": 0.25, "seed": 1}
        with pytest.warns(DataWarning, match="1 of 12 items cannot be used"):
            dls = function(*given, **settings)
        assert len(dls.left_out) == 1 and bad.name in dls.left_out[0][1] and epoch(dls) == 11
        with pytest.raises(DataError, match="1 of 12 items cannot be used"):
            function(*given, strict=True, **settings)
        assert function(*given, check=False, **settings).left_out == []


def test_masks_that_are_missing_damaged_or_of_other_labels_take_their_item_along(folder: Path) -> None:
    files = sorted(get_image_files(folder))
    masks = folder / "masks"
    masks.mkdir()
    for number, file in enumerate(files):
        level = np.full((8, 8), 7 if number == 3 else number % 2, dtype=np.uint8)
        Image.fromarray(level).save(masks / file.name)
    (masks / files[0].name).unlink()
    break_(masks / files[1].name)
    settings: Any = {"codes": ["no", "yes"], "seed": 1, "num_workers": 0, "device": "cpu", "drop_last": False}

    def make(**more: Any) -> Any:
        return SegmentationDataLoaders.from_label_func(
            folder, files, lambda file: masks / file.name, **settings, **more
        )

    with pytest.warns(DataWarning, match="3 of 12 items cannot be used"):
        dls = make()
    reasons = dict(dls.left_out)
    assert set(reasons) == {files[0], files[1], files[3]} and epoch(dls) == 9
    assert "there is no file" in reasons[files[0]] and "damaged PNG" in reasons[files[1]]
    assert "has the label 7; codes name 0 to 1 (values= is for files with other numbers)" in reasons[files[3]]
    told = dls.check().of("unreadable")[0].groups
    assert len(told) == 3 and any("has the label 7" in text for (text,) in told)
    with pytest.raises(MissingFileError, match="1 of 12 masks that label_func names are not there"):
        make(check=False)


def test_a_mask_of_another_size_than_its_picture_takes_its_item_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: 8 × 12 in the file, 12 × 8 to see
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg", exif=exif)
        shape = (8, 12) if number == 3 else (12, 8)
        Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / f"{number}.png")
    files = [tmp_path / f"{number}.jpg" for number in range(6)]
    settings: Any = {"splitter": IndexSplitter([0]), "get_y": lambda file: file.with_suffix(".png")}
    with pytest.warns(
        DataWarning, match=r"1 of 6 items .*\n  the mask .*3\.png is 8 × 12 and its image 12 × 8; expe"
    ):
        dls = DataBlock((ImageBlock, MaskBlock), **settings).dataloaders(files, num_workers=0, device="cpu")
    assert dls.left_out[0][0] == files[3] and epoch(dls) == 5

    def cut(things: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(thing[:8, :8] for thing in things)

    with warnings.catch_warnings():  # what a function of the user's own makes of them, nobody can know
        warnings.simplefilter("error")
        block = DataBlock((ImageBlock, MaskBlock), item_tfms=cut, **settings)
        assert epoch(block.dataloaders(files, num_workers=0, device="cpu")) == 6


@pytest.mark.parametrize("values, codes, said", [
    ((0, 255), None, "has the value 7; expected one of (0, 255)"), ((), ("a",), "has the label 7; codes name 0 to 0"),
    ((), None, ""), ((0, 7), None, ""), ((), range(8), ""),
])  # fmt: skip
def test_a_mask_is_held_to_what_its_block_says(tmp_path: Path, values: Any, codes: Any, said: str) -> None:
    file = tmp_path / "mask.png"
    Image.fromarray(np.array([[0, 7]], dtype=np.uint8)).save(file)
    block = MaskBlock(codes, values or None)
    found = block.examine([file]).problems
    assert (said in found[0]) if said else not found
    if said:
        with pytest.raises(DataError):
            block.open(file)
    else:
        block.open(file)


def test_rows_of_a_table_without_a_file_or_with_a_bad_one_are_left_out(folder: Path) -> None:
    files: list[Any] = [str(file) for file in sorted(get_image_files(folder))]
    break_(Path(files[1]))
    df = pd.DataFrame({"file": [None, *files, float("nan")], "label": list("ab" * 7)})
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_x=ColReader("file"),
        get_y=ColReader("label"),
        splitter=IndexSplitter([5, 6]),
    )
    with pytest.warns(
        DataWarning, match=r"3 of 14 items .*\n  row 0 \(file=.*, label=a\): no file is named: nan"
    ):
        dls = block.dataloaders(df, num_workers=0, device="cpu", drop_last=False)
    assert sorted(row.name for row, _ in dls.left_out) == [0, 2, 13]
    assert epoch(dls) == 11


def test_of_two_images_of_an_item_either_can_be_bad_and_both_are_audited(folder: Path) -> None:
    files = sorted(get_image_files(folder))
    pairs = list(zip(files, reversed(files), strict=True))
    break_(files[0])
    block = DataBlock(
        (ImageBlock, ImageBlock, Block), n_inp=2, splitter=IndexSplitter([3, 4]),
        get_x=[lambda pair: pair[0], lambda pair: pair[1]], get_y=lambda pair: 1,
    )  # fmt: skip
    with pytest.warns(DataWarning, match="2 of 12 items cannot be used"):
        dls = block.dataloaders(pairs, num_workers=0, device="cpu", drop_last=False)
    assert [item for item, _ in dls.left_out] == [pairs[0], pairs[11]] and epoch(dls) == 10
    report = dls.check()
    # Each image once a side: 12 files, four of which are in a training pair and in one of validation.
    assert report.images == 16 and list(report.unreadable) == [str(files[0])]
    assert len(report.of("leak")[0].groups) == 4


def test_a_block_with_an_opening_of_its_own_is_not_held_to_ours(tmp_path: Path) -> None:
    class Numbers(ImageBlock):
        def open(self, value: Any) -> Any:
            return np.load(value)

    files = [tmp_path / f"{number}.npy" for number in range(4)]
    for file in files:
        np.save(file, np.zeros((4, 4, 3), np.uint8))
    block = DataBlock((Numbers, Block), get_y=lambda file: 1, splitter=IndexSplitter([0]))
    assert epoch(block.dataloaders(files, num_workers=0, device="cpu", drop_last=False)) == 4


def test_a_getter_that_opens_images_itself_is_not_called_for_all_before_training(folder: Path) -> None:
    opened: list[Path] = []

    def open_it(file: Path) -> Any:
        opened.append(file)
        return load_image(file)

    block = DataBlock((ImageBlock, Block), get_x=open_it, get_y=lambda file: 1, splitter=IndexSplitter([0]))
    dls = block.dataloaders(get_image_files(folder), num_workers=0, device="cpu")
    assert len(opened) == 1
    with pytest.raises(DataError, match=r"an image is ndarray of shape .*; expected the files of all"):
        dls.check()


def test_check_tells_of_all_items_with_their_labels_and_sides(folder: Path) -> None:
    copy = folder / "valid" / "dog" / "copy.png"
    copy.write_bytes((folder / "train" / "cat" / "0.png").read_bytes())
    bad = break_(folder / "train" / "dog" / "1.png")
    with pytest.warns(DataWarning):
        dls = ImageDataLoaders.from_folder(folder, vocab=["cat", "dog", "emu"], num_workers=0, device="cpu")
    report = dls.check()
    assert (report.images, report.sides, report.root) == (13, {"train": 8, "valid": 5}, str(folder))
    assert report.of("leak")[0].groups == [
        ["train/cat/0.png (train, cat)", "valid/dog/copy.png (valid, dog)"]
    ]
    assert report.of("empty-class")[0].groups == [["emu"]]
    assert list(report.unreadable) == [str(bad)]
    assert report.of("unreadable")[0].groups[0][0].startswith("train/dog/1.png (60 bytes) is a damaged PNG")


def test_labels_that_are_several_are_counted_each_and_compared_as_sets(folder: Path) -> None:
    from plainlearn.data import MultiCategoryBlock

    files = sorted(get_image_files(folder))
    files[1].write_bytes(files[0].read_bytes())
    block = DataBlock(
        (ImageBlock, MultiCategoryBlock),
        get_y=lambda file: ["pet", file.parent.name],
        splitter=IndexSplitter([4, 5]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = block.dataloaders(files, num_workers=0, device="cpu").check()
    assert report.classes == {"cat": 6, "dog": 6, "pet": 12}
    assert {found.kind for found in report.findings} == {"duplicate", "missing-class"}


def test_what_is_remembered_ends_with_any_change_of_the_file_and_problems_are_never_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(get_image_files(folder))
    break_(files[0])
    looked: list[str] = []
    real = filefacts.image_facts

    def noted(name: str) -> Any:
        looked.append(name)
        return real(name)

    filefacts.gather(files)
    monkeypatch.setattr(filefacts, "image_facts", noted)
    status = files[3].stat()
    data = bytearray(files[3].read_bytes())
    data[60] ^= 255
    files[3].write_bytes(data)
    os.utime(files[3], ns=(status.st_atime_ns, status.st_mtime_ns))  # the same size and time of change
    facts = filefacts.gather(files)
    assert looked == [str(files[0]), str(files[3])]
    assert [bool(fact.problem) for fact in facts[:4]] == [True, False, False, True]


def test_a_memory_with_one_wrong_letter_is_made_anew(folder: Path) -> None:
    files = get_image_files(folder)
    sound = filefacts.gather(files)
    (kept,) = (filefacts.cache_home() / "audit").glob("*.json")
    kept.write_bytes(kept.read_bytes().replace(b'"PNG"', b'"GIF"', 1))
    assert filefacts.gather(files) == sound


def test_nothing_is_written_beside_the_data_and_a_full_disk_only_costs_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr(filefacts, "cache_home", lambda: folder / "train" / "cat" / "0.png")  # no folder
    dls = ImageDataLoaders.from_folder(folder, num_workers=0, device="cpu")
    assert epoch(dls) == 12 and sorted(folder.rglob("*")) == before
