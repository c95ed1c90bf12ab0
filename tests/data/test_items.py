"""Finding files: the same ones in the same order everywhere, none lost in silence."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, MissingFileError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path as OurPath
from plainlearn.data.items import find_files, get_files, get_image_files, image_extensions


def grow(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def names(found: L[OurPath], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found]


def test_images_are_found_below_in_order_of_folder_then_name(tmp_path):
    grow(tmp_path, "b/2.jpg", "b/10.jpg", "a/z/1.png", "a/y.gif", "top.jpg", "a/notes.txt", "b/c.JPG")

    found = get_image_files(tmp_path)

    assert isinstance(found, L) and all(type(path) is OurPath for path in found)
    assert names(found, tmp_path) == ["top.jpg", "a/y.gif", "a/z/1.png", "b/10.jpg", "b/2.jpg", "b/c.JPG"]


def test_the_order_does_not_depend_on_the_file_systems(tmp_path, monkeypatch):
    grow(tmp_path, *(f"{folder}/{n}.jpg" for folder in "abc" for n in range(9)))
    expected = get_image_files(tmp_path)
    listing = os.scandir

    class Backwards:
        def __init__(self, path: str) -> None:
            with listing(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Backwards)

    assert get_image_files(tmp_path) == expected


def test_paths_begin_as_the_folder_was_given(tmp_path, monkeypatch):
    grow(tmp_path, "data/a.jpg")
    monkeypatch.chdir(tmp_path)

    assert get_image_files("data") == [OurPath("data/a.jpg")]
    assert get_image_files("data/") == [OurPath("data/a.jpg")]
    assert get_image_files(".") == [OurPath("data/a.jpg")]
    assert get_image_files(tmp_path / "data") == [OurPath(tmp_path / "data" / "a.jpg")]


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        (None, ["A.JPG", "b.jpeg", "c.tar.gz", "d"]),
        ([], ["A.JPG", "b.jpeg", "c.tar.gz", "d"]),
        (".jpg", ["A.JPG"]),
        ("jpg", ["A.JPG"]),
        ([".JPG", "jpeg"], ["A.JPG", "b.jpeg"]),
        (".tar.gz", ["c.tar.gz"]),
        ({"peg"}, []),
    ],
)
def test_extensions_are_compared_without_case_and_whole(tmp_path, extensions, expected):
    grow(tmp_path, "A.JPG", "b.jpeg", "c.tar.gz", "d")

    assert names(get_files(tmp_path, extensions), tmp_path) == expected


def test_every_extension_is_lower_case_and_begins_with_a_dot():
    assert {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"} <= image_extensions
    assert all(ext == ext.lower() and ext.startswith(".") for ext in image_extensions)


def test_without_recursion_only_the_folder_itself_counts(tmp_path):
    grow(tmp_path, "a.jpg", "below/b.jpg")

    assert names(get_image_files(tmp_path, recurse=False), tmp_path) == ["a.jpg"]


def test_folders_chooses_among_the_first_level_only(tmp_path):
    grow(tmp_path, "own.jpg", "train/a.jpg", "train/other/b.jpg", "valid/c.jpg", "other/d.jpg")

    assert names(get_image_files(tmp_path, folders=["valid", "train"]), tmp_path) == [
        "train/a.jpg",
        "train/other/b.jpg",
        "valid/c.jpg",
    ]
    assert names(get_image_files(tmp_path, folders="valid"), tmp_path) == ["valid/c.jpg"]
    assert names(get_image_files(tmp_path, folders=[".", "valid"]), tmp_path) == ["own.jpg", "valid/c.jpg"]
    assert len(get_image_files(tmp_path, folders=[])) == 5


def test_a_folder_that_was_named_and_is_not_there_is_an_error(tmp_path):
    grow(tmp_path, "train/a.jpg", "valid/b.jpg")

    with pytest.raises(
        MissingFileError, match="no folder test, which folders= names; its folders: train, valid"
    ):
        get_image_files(tmp_path, folders=["train", "test"])


def test_hidden_and_system_files_are_passed_over_but_the_folder_given_may_be_hidden(tmp_path):
    root = tmp_path / ".fastai"
    hidden = [".a.jpg", "._b.jpg", ".git/c.jpg", "__MACOSX/d.jpg", "@eaDir/e.jpg", "thumbs.DB", "x/.y/f.jpg"]
    grow(root, "a.jpg", *hidden)

    assert names(get_files(root), root) == ["a.jpg"]
    assert not find_files(root).left_out


def test_an_empty_folder_gives_an_empty_list(tmp_path):
    assert get_image_files(tmp_path) == L()


def test_a_missing_folder_is_named_with_what_is_near(tmp_path):
    grow(tmp_path, "pets/a.jpg", "birds/b.jpg")

    with pytest.raises(MissingFileError) as caught:
        get_image_files(tmp_path / "pest" / "train")

    message = str(caught.value)
    assert (
        f"there is no folder {tmp_path / 'pest' / 'train'}; the nearest that exists is {tmp_path} " in message
    )
    assert "(in it: birds, pets)" in message


def test_a_file_where_a_folder_should_be_is_an_error(tmp_path):
    grow(tmp_path, "a.jpg")

    with pytest.raises(ArgumentError, match=r"a\.jpg is a file; expected a folder"):
        get_image_files(tmp_path / "a.jpg")
    with pytest.raises(ArgumentTypeError, match="expected text"):
        get_image_files(os.fsencode(tmp_path))  # pyright: ignore[reportArgumentType]


unix = pytest.mark.skipif(sys.platform == "win32", reason="links and permissions of Unix")


@unix
def test_links_that_lead_in_circles_end(tmp_path):
    grow(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "across").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to("loop")

    found = find_files(tmp_path, image_extensions)

    assert names(found.files, tmp_path) == ["a/1.jpg", "b/2.jpg"]
    assert [path.name for path, _ in found.left_out] == ["self", "up", "across"]
    assert all("listed already" in why for _, why in found.left_out)


@unix
def test_a_folder_goes_by_its_own_name_even_if_a_link_to_it_sorts_first(tmp_path):
    grow(tmp_path, "real/1.jpg", "zoo/2.jpg")
    (tmp_path / "a_link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "link").symlink_to(tmp_path / "zoo")

    assert names(get_image_files(tmp_path), tmp_path) == ["real/1.jpg", "zoo/2.jpg"]


@unix
def test_links_out_are_followed_once_unless_told_otherwise(tmp_path):
    outside = grow(tmp_path / "outside", "1.jpg", "deep/2.jpg")
    root = grow(tmp_path / "root", "0.jpg")
    for name in ("z_link", "link"):
        (root / name).symlink_to(outside)
    (root / "file.jpg").symlink_to(outside / "1.jpg")

    found = find_files(root)
    assert names(found.files, root) == ["0.jpg", "file.jpg", "link/1.jpg", "link/deep/2.jpg"]
    assert [path.name for path, _ in found.left_out] == ["z_link"]

    unfollowed = find_files(root, followlinks=False)
    assert names(unfollowed.files, root) == ["0.jpg", "file.jpg"]
    assert [why for _, why in unfollowed.left_out] == ["a link to a folder, and followlinks=False"] * 2


@unix
def test_what_cannot_be_read_like_a_file_is_left_out_with_the_reason(tmp_path):
    grow(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "null.png").symlink_to("/dev/null")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "loop.png").symlink_to("loop.png")

    found = find_files(tmp_path, image_extensions)

    assert names(found.files, tmp_path) == ["a.jpg"]
    assert {path.name: why for path, why in found.left_out} == {
        "pipe.jpg": "a named pipe, not a file",
        "null.png": "a device, not a file",
        "gone.png": "a link that leads nowhere: No such file or directory",
        "loop.png": "a link that leads nowhere: Too many levels of symbolic links",
    }


@unix
@pytest.mark.skipif(sys.platform != "win32" and os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_listed_is_an_error_not_a_gap(tmp_path):
    grow(tmp_path, "cats/1.jpg", "dogs/2.jpg")
    (tmp_path / "dogs").chmod(0)
    try:
        with pytest.raises(
            DataError, match="dogs cannot be listed: Permission denied; its files would be missing"
        ):
            get_image_files(tmp_path)
    finally:
        (tmp_path / "dogs").chmod(0o755)


def test_a_folder_that_cannot_be_listed_is_an_error_not_a_gap(tmp_path, monkeypatch):
    grow(tmp_path, "cats/1.jpg", "dogs/2.jpg")
    listing = os.scandir

    def failing(path: str):
        if path.endswith("dogs"):
            raise PermissionError(13, "Permission denied", path)
        return listing(path)

    monkeypatch.setattr(os, "scandir", failing)

    with pytest.raises(
        DataError, match="dogs cannot be listed: Permission denied; its files would be missing"
    ):
        get_image_files(tmp_path)


def test_strange_names_come_back_as_they_are(tmp_path):
    strange = ["two\nlines.jpg", "🐶.jpg", " space .jpg", "n" * 251 + ".jpg", "é.jpg", "é.jpg"]
    for name in strange:
        (tmp_path / name).touch()

    assert sorted(path.name for path in get_image_files(tmp_path)) == sorted(
        {p.name for p in tmp_path.iterdir()}
    )


def test_files_named_like_mnist_samples_are_found_whole(test_data, tmp_path):
    import tarfile

    with tarfile.open(test_data / "mnist_sample.tgz") as archive:
        files = [member.name for member in archive if member.name.endswith(".png")][::20]
    grow(tmp_path, *files)

    assert sorted(names(get_image_files(tmp_path), tmp_path)) == sorted(files)
    assert len(files) == 722
