"""A folder of ours: what its marker lists is replaced and removed, and nothing else ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from plainlearn.core.errors import DataError, StorageError
from plainlearn.core.own_folder import MARKER, OwnFolder, check_claimable, claim
from plainlearn.core.wholefile import Mark

FILES = ("run.json", "models/probe")
OTHER = "another --out"


def taken(folder: Path) -> OwnFolder:
    """The folder with both files written."""
    ours = claim(folder, FILES, other=OTHER)
    (folder / "models").mkdir(exist_ok=True)
    for name in FILES:
        (folder / name).write_text("ours")
    return ours


def tree(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()
    }


def test_a_folder_of_ours_lists_our_files_and_is_removed_with_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    ours = taken(folder)
    assert (folder / MARKER).read_text().splitlines()[1:] == list(FILES)
    ours.remove(["models/probe"])
    assert sorted(tree(folder)) == [MARKER, "run.json"]
    assert not (folder / "models").exists()
    assert check_claimable(folder, other=OTHER) == OwnFolder(folder, ("run.json",), made=True)
    claim(folder, FILES, other=OTHER).remove()
    assert not folder.exists()
    assert (tmp_path / "deep").exists()


def test_a_file_of_the_user_s_in_our_folder_survives(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    taken(folder)
    (folder / "models" / "mine").write_text("mine")
    taken(folder).remove()
    assert tree(folder) == {"models/mine": "mine"}


def test_a_file_of_the_user_s_with_a_name_that_we_need_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    claim(folder, ["run.json"], other=OTHER)
    (folder / "models").mkdir()
    (folder / "models" / "probe").write_text("mine")
    before = tree(folder)
    with pytest.raises(
        StorageError, match=r"did not make what it holds \(models/probe\)[\s\S]*Try another --out"
    ):
        claim(folder, FILES, other=OTHER)
    assert tree(folder) == before


@pytest.mark.parametrize("name", ["mine", "a/b/mine", ".hidden"])
def test_a_folder_without_a_marker_is_refused_by_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("mine")
    with pytest.raises(StorageError, match=rf"{folder} is there already.*\({name.split('/')[0]}\)"):
        claim(folder, FILES, other=OTHER)
    assert tree(folder) == {name: "mine"}


def test_a_folder_of_empty_folders_is_somebody_s_too(tmp_path: Path) -> None:
    (tmp_path / "run" / "plans").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"\(plans\)"):
        claim(tmp_path / "run", FILES, other=OTHER)


def test_a_folder_that_was_there_empty_stays_when_our_files_go(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    taken(folder)
    claim(folder, FILES, other=OTHER).remove()
    assert folder.is_dir() and not any(folder.iterdir())


def test_a_linked_folder_is_used_where_it_is_and_neither_it_nor_the_link_is_removed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    folder = tmp_path / "run"
    folder.symlink_to(tmp_path / "disk")
    ours = taken(folder)
    assert (tmp_path / "disk" / "run.json").read_text() == "ours"
    ours.remove()
    assert folder.is_symlink() and not any((tmp_path / "disk").iterdir())


def test_what_a_link_in_our_folder_leads_to_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "probe").write_text("mine")
    folder = tmp_path / "run"
    ours = claim(folder, FILES, other=OTHER)
    (folder / "models").symlink_to(tmp_path / "elsewhere")
    ours.remove()
    assert (tmp_path / "elsewhere" / "probe").read_text() == "mine"


@pytest.mark.parametrize("name", ["../photos/cat.jpg", "/etc/hostname", "a/../../b"])
def test_a_marker_that_names_files_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    taken(folder)
    with (folder / MARKER).open("a") as marker:
        marker.write(f"{name}\n")
    with pytest.raises(DataError, match="is not as plainlearn writes it"):
        claim(folder, FILES, other=OTHER)


def test_what_older_versions_left_is_taken_over_if_nothing_else_is_there(tmp_path: Path) -> None:
    older = {"run.json": Mark(b'{"version"'), "lock": Mark(b"\0"), "models/*": Mark(b"weights")}
    folder = tmp_path / "run"
    (folder / "models").mkdir(parents=True)
    old = {
        "run.json": '{"version": 1}',
        "lock": "",
        "models/a": "weights",
        "models/.plainlearn-0123456789abcdef.part": "we",
    }
    for name, text in old.items():
        (folder / name).write_text(text)
    assert set(check_claimable(folder, other=OTHER, older=older).files) == set(old)
    (folder / "models" / "b").write_text("mine")
    with pytest.raises(StorageError, match="did not make"):
        claim(folder, FILES, other=OTHER, older=older)
    (folder / "models" / "b").unlink()
    claim(folder, FILES, other=OTHER, older=older).remove()
    assert not folder.exists()


def test_a_place_that_cannot_be_written_and_a_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="file is a file; expected a folder"):
        claim(tmp_path / "file", FILES, other=OTHER)
    with pytest.raises(StorageError, match="cannot be made or written"):
        claim(tmp_path / "file" / "run", FILES, other=OTHER)
    with pytest.raises(StorageError, match="cannot be made or written"):
        claim("/proc/plainlearn/run", FILES, other=OTHER)  # read-only even to root
    assert tree(tmp_path) == {"file": "mine"}
