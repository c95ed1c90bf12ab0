"""A file is written whole or not at all, and what a killed writer leaves is swept, a living one's never."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plainlearn.core.errors import ArgumentError, StorageError
from plainlearn.core.wholefile import Mark, check_replaceable, sweep, whole_file, write_whole

ANY = Mark(b"")  # every file carries it

WRITER = """
import sys, time
from plainlearn.core.wholefile import Mark, whole_file
with whole_file(sys.argv[1], 3, mark=Mark(b"")) as file:
    file.write(b"new")
    print("writing", flush=True)
    time.sleep(60)
"""


def begin_writing(path: Path) -> subprocess.Popen[str]:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    return writer


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def parts(folder: Path) -> list[str]:
    return [name for name in names(folder) if name.endswith(".part")]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), whole_file(path, 3, mark=ANY) as file:
        file.write(b"ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_killed_writer_s_part_is_swept_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    writer = begin_writing(path)
    try:
        sweep(tmp_path)
        assert len(parts(tmp_path)) == 1
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert path.read_bytes() == b"old"
        assert len(parts(tmp_path)) == 1
        with whole_file(tmp_path / "b", 1, mark=ANY) as file:
            assert len(parts(tmp_path)) == 1  # its own
            file.write(b"b")
    finally:
        writer.kill()
        writer.communicate()
    assert names(tmp_path) == ["a", "b"]


def test_a_link_is_followed_to_its_own_file_system(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "a"
    real.parent.mkdir()
    real.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(real)
    with whole_file(link, 3, mark=ANY) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def a_folder_in_its_place(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    return tmp_path / "a"


def a_file_in_the_folder_s_place(tmp_path: Path) -> Path:
    (tmp_path / "run").write_text("")
    return tmp_path / "run" / "deep" / "a"


def a_folder_that_cannot_be_written(tmp_path: Path) -> Path:
    return Path("/proc/plainlearn/a")  # read-only even to root


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (a_folder_in_its_place, "a folder has that name"),
        (a_file_in_the_folder_s_place, "run is a file; expected a folder"),
        (a_folder_that_cannot_be_written, "expected a folder that this user may write"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(
    make: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(StorageError, match=said) as caught, whole_file(path, 3, mark=ANY):
        pass
    assert str(path) in str(caught.value)
    assert parts(tmp_path) == []


def test_a_name_with_a_zero_byte_is_no_name(tmp_path: Path) -> None:
    with (
        pytest.raises(ArgumentError, match="cannot be a file's name"),
        whole_file(tmp_path / "a\0b", 3, mark=ANY),
    ):
        pass


def test_a_file_that_cannot_grow_leaves_the_old_one_and_says_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        said = r"no room to write .*it needs 0.2 MB, and .* are free"
        with pytest.raises(StorageError, match=said) as caught, whole_file(path, 200_000, mark=ANY) as file:
            file.write(bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


# ---- what may be replaced

OURS = Mark(b"<ours>", within=16)


@pytest.mark.parametrize("content", [b"", b"<ours> and more", b"# <ours>"])
def test_a_file_with_our_mark_and_an_empty_one_may_be_replaced(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    write_whole(tmp_path / "a", b"<ours>", mark=OURS)
    assert (tmp_path / "a").read_bytes() == b"<ours>"


@pytest.mark.parametrize("content", [b"mine", b"                mine <ours>"])
def test_any_other_file_is_refused_by_name_and_stays_unless_it_is_forced(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    for force, said in ((False, r"another name, or --force"), (None, r"Try another name$")):
        with pytest.raises(StorageError, match=said) as caught:
            write_whole(path, b"<ours>", mark=OURS, force=force)
        assert f"{path} is there already, and plainlearn did not make it" in str(caught.value)
    assert path.read_bytes() == content
    assert names(tmp_path) == ["a"]
    write_whole(path, b"<ours>", mark=OURS, force=True)
    assert path.read_bytes() == b"<ours>"


def test_a_link_to_a_file_of_somebody_s_own_is_no_way_around(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError, match="plainlearn did not make it"):
        write_whole(tmp_path / "link", b"<ours>", mark=OURS)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_what_is_no_file_is_not_replaced_even_by_force(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="it is no ordinary file"):
        check_replaceable(tmp_path / "pipe", OURS)
    with pytest.raises(StorageError, match="a folder has that name"):
        check_replaceable(tmp_path, OURS, force=True)
