"""Claims about `Path`: it is pathlib's, all that comes from it is ours, and it lists and shows itself."""

import copy
import os
import pathlib
import pickle

import pytest

from plainlearn.core.errors import ArgumentError, MissingFileError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path


@pytest.fixture
def folder(tmp_path):
    for name in (
        "train/3/a.png",
        "train/3/b.JPG",
        "train/7/c.png",
        "labels.csv",
        "model.pkl",
        "old.pkl",
        "x.webp",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return Path(tmp_path)


@pytest.fixture
def base(monkeypatch):
    """Set `Path.BASE_PATH` for one test."""
    return lambda path: monkeypatch.setattr(Path, "BASE_PATH", path)


def test_it_is_a_pathlib_path_equal_to_one_of_the_same_name(folder):
    theirs = pathlib.Path(str(folder))
    assert isinstance(folder, pathlib.Path)
    assert folder == theirs
    assert hash(folder) == hash(theirs)
    assert str(folder) == str(theirs) == os.fspath(folder)
    assert sorted([theirs / "b", folder / "a"]) == [theirs / "a", theirs / "b"]


def test_everything_that_comes_from_it_is_ours(folder):
    for made in (
        folder / "train",
        "data" / Path("x"),
        folder.joinpath("a", "b"),
        folder.parent,
        folder.parents[0],
        folder.absolute(),
        folder.resolve(),
        folder.with_name("x"),
        folder.with_suffix(".x"),
        (folder / "train").relative_to(folder),
        Path.cwd(),
        Path.home(),
        *folder.iterdir(),
        *folder.glob("*.csv"),
        *folder.rglob("*.png"),
        *folder.ls(),
        (folder / "model.pkl").rename(folder / "new.pkl"),
        Path(pathlib.Path("x")),
    ):
        assert type(made) is Path


def test_copies_and_pickles_are_equal_and_ours(folder):
    for twin in (copy.copy(folder), copy.deepcopy(folder), pickle.loads(pickle.dumps(folder))):
        assert type(twin) is Path
        assert twin == folder


def test_pathlib_itself_is_left_as_it_was(base):
    base("/data")
    assert not hasattr(pathlib.Path, "ls")
    assert not hasattr(pathlib.Path, "BASE_PATH")
    assert repr(pathlib.PurePosixPath("/data/x")) == "PurePosixPath('/data/x')"


# ---- showing itself


def test_it_is_shown_as_a_path():
    assert repr(Path("data/train")) == "Path('data/train')"
    assert repr(Path()) == "Path('.')"
    assert repr(Path("it's")) == """Path("it's")"""


@pytest.mark.parametrize("kind", [str, pathlib.Path, Path])
def test_below_the_base_path_it_is_shown_relative_and_nothing_else_changes(folder, base, kind):
    before = str(folder / "train"), hash(folder / "train")
    base(kind(str(folder)))
    assert repr(folder / "train" / "3") == "Path('train/3')"
    assert repr(folder) == "Path('.')"
    assert repr(folder.parent) == f"Path('{folder.parent.as_posix()}')"
    assert (str(folder / "train"), hash(folder / "train")) == before
    assert (folder / "train").is_dir()


def test_a_list_of_paths_is_shown_relative_too(folder, base):
    base(folder)
    assert repr((folder / "train").ls()) == "[Path('train/3'), Path('train/7')]"


# ---- ls


def names(listed: L[Path]) -> list[str]:
    assert type(listed) is L
    return [path.name for path in listed]


def test_ls_gives_what_the_folder_holds_in_order_of_name(folder):
    assert names(folder.ls()) == ["labels.csv", "model.pkl", "old.pkl", "train", "x.webp"]
    assert folder.ls()[0] == folder / "labels.csv"


def test_ls_of_an_empty_folder_is_empty(tmp_path):
    assert Path(tmp_path).ls() == []


def test_ls_gives_at_most_n_max(folder):
    assert names(folder.ls(n_max=2)) == ["labels.csv", "model.pkl"]
    assert names(folder.ls(0)) == []
    with pytest.raises(ArgumentError, match="n_max is -1; expected 0 or more"):
        folder.ls(-1)


@pytest.mark.parametrize("exts", [".pkl", "pkl", ".PKL", [".pkl"], (".pkl", ".h5"), L(".pkl")])
def test_ls_keeps_one_extension_or_several(folder, exts):
    assert names(folder.ls(file_exts=exts)) == ["model.pkl", "old.pkl"]


def test_ls_takes_upper_and_lower_case_alike(folder):
    assert names((folder / "train/3").ls(file_exts=".jpg")) == ["b.JPG"]


def test_ls_with_no_extensions_at_all_keeps_nothing(folder):
    assert names(folder.ls(file_exts=[])) == []


def test_ls_keeps_one_kind_of_file(folder):
    assert names(folder.ls(file_type="image")) == ["x.webp"]
    assert names((folder / "train/3").ls(file_type="image")) == ["a.png", "b.JPG"]
    assert names(folder.ls(file_type="text")) == ["labels.csv"]
    assert names(folder.ls(file_type="text", file_exts=".pkl")) == ["labels.csv", "model.pkl", "old.pkl"]


def test_a_kind_that_does_not_exist_is_named_with_those_that_do(folder):
    with pytest.raises(
        ArgumentError, match=r"file_type is 'png'; expected one of application, audio, .*image"
    ):
        folder.ls(file_type="png")


def test_a_missing_folder_is_named_with_the_nearest_and_a_likely_name(folder):
    with pytest.raises(MissingFileError) as caught:
        (folder / "trian" / "3").ls()
    assert str(caught.value) == (
        f"there is no folder {folder}/trian/3; the nearest that exists is {folder} "
        f"(in it: {', '.join(child.name for child in folder.ls()[:5])})\n  Try {folder}/train"
    )
    assert isinstance(caught.value, FileNotFoundError)


def test_a_missing_folder_unlike_any_other_gets_no_hint(folder):
    with pytest.raises(MissingFileError) as caught:
        (folder / "zzzz").ls()
    assert str(caught.value).startswith(
        f"there is no folder {folder}/zzzz; the nearest that exists is {folder} (in it: "
    )
    assert "Try" not in str(caught.value)


def test_a_missing_relative_folder_is_looked_for_from_here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(MissingFileError, match="there is no folder nowhere; the nearest that exists is /"):
        Path("nowhere").ls()


def test_ls_of_a_file_says_that_it_is_a_file(folder):
    with pytest.raises(ArgumentError, match=r"labels.csv is a file; expected a folder"):
        (folder / "labels.csv").ls()


def test_a_link_that_leads_nowhere_is_a_missing_folder(folder):
    (folder / "link").symlink_to(folder / "gone")
    with pytest.raises(MissingFileError, match=r"there is no folder .*link"):
        (folder / "link").ls()
