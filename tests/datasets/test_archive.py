"""Archives, all made here. Honest ones: what comes out and where it goes; full and closed disks; killed processes.

Then hostile and damaged ones: each is refused by name, and nothing of it is kept.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import PATIENCE

from plainlearn.core.errors import ArgumentError, DataError, DownloadError, MissingFileError
from plainlearn.core.paths import Path as OurPath
from plainlearn.datasets.archive import Limits, extract, refusable
from plainlearn.datasets.storage import locked

ALONE = """
import sys
from plainlearn.datasets.archive import extract
from plainlearn.core.errors import PlainlearnError
"""
TREE = {"top/a.txt": b"one", "top/sub/b.bin": bytes(range(256)) * 9, "top/empty": b""}


def python_alone(
    code: str, *arguments: object, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-c", ALONE + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def file(name: str, data: bytes = b"x", **header: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in header.items():
        setattr(info, field, value)
    return info, data


def entry(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    return file(name, b"", type=kind, linkname=target)


def tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.GNU_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def tar_of(tree: dict[str, bytes]) -> bytes:
    return tar(*(file(name, data) for name, data in tree.items()))


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return packed.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def left_in(folder: Path) -> list[str]:
    return sorted(child.name for child in folder.iterdir() if not child.name.endswith(".lock"))


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    folder = tmp_path / "dest"
    folder.mkdir()
    return folder


@pytest.fixture
def put(tmp_path: Path):
    """Write bytes to an archive file and give its path."""

    def put(data: bytes, name: str = "pets.tgz") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return put


PACKINGS = {
    "pets.tar": tar_of(TREE),
    "pets.tgz": gzip.compress(tar_of(TREE)),
    "pets.tar.gz": gzip.compress(tar_of(TREE)),
    "pets.tar.bz2": bz2.compress(tar_of(TREE)),
    "pets.tar.xz": lzma.compress(tar_of(TREE)),
    "pets.zip": zip_of(*TREE.items()),
}


@pytest.mark.parametrize("name", PACKINGS)
def test_every_packing_gives_the_same_files(put, dest, name):
    result = extract(put(PACKINGS[name], name), dest, show_progress=False)
    assert result == dest / "top"
    assert isinstance(result, OurPath)
    assert contents(dest) == TREE | {".pets.lock": b""}


def test_the_kind_is_read_from_the_bytes_and_not_from_the_name(put, dest):
    assert extract(put(PACKINGS["pets.zip"], "download"), dest, show_progress=False) == dest / "top"


def test_an_archive_without_one_top_folder_goes_into_a_folder_of_its_own_name(put, dest):
    data = gzip.compress(tar_of({"a.txt": b"1", "sub/b.txt": b"2"}))
    result = extract(put(data, "two.things.tar.gz"), dest, show_progress=False)
    assert result == dest / "two.things"
    assert contents(result) == {"a.txt": b"1", "sub/b.txt": b"2"}


def test_a_single_file_at_the_top_is_not_taken_for_the_folder(put, dest):
    assert contents(extract(put(tar_of({"a.txt": b"1"}), "one.tar"), dest, show_progress=False)) == {
        "a.txt": b"1"
    }


def test_a_name_can_be_given(put, dest):
    assert extract(put(PACKINGS["pets.tgz"]), dest, name="cats", show_progress=False) == dest / "cats"
    assert left_in(dest) == ["cats"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "/a"])
def test_a_name_that_is_no_folder_s_is_refused(put, dest, name):
    with pytest.raises(ArgumentError, match="expected the name of one folder"):
        extract(put(PACKINGS["pets.tgz"]), dest, name=name)


@given(
    tree=st.dictionaries(
        st.lists(st.text("abcé ._-", min_size=1, max_size=5), min_size=1, max_size=3)
        .map("/".join)
        .filter(lambda name: not refusable(name) and not any(set(part) <= {"."} for part in name.split("/"))),
        st.binary(max_size=1500),
        min_size=1,
        max_size=6,
    ).filter(lambda tree: not any(other.startswith(f"{name}/") for name in tree for other in tree)),
    packing=st.sampled_from(["tar", "gz", "zip"]),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_what_was_packed_comes_out(tmp_path_factory, tree, packing):
    folder = tmp_path_factory.mktemp("tree")
    named = {f"top/{name}": data for name, data in tree.items()}
    data = zip_of(*named.items()) if packing == "zip" else tar_of(named)
    path = folder / "packed"
    path.write_bytes(gzip.compress(data) if packing == "gz" else data)
    assert contents(extract(path, folder / "out", show_progress=False)) == tree


def test_a_long_name_and_a_large_header_number_survive(put, dest):
    name = "top/" + "/".join(["folder-with-a-name-of-thirty-six-chars"] * 6) + "/é.txt"
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        result = extract(put(tar(file(name, b"1"), format=format), "x.tar"), dest, name=f"f{format}")
        assert list(contents(result).values()) == [b"1"]


def test_links_that_stay_inside_are_kept(put, dest):
    data = tar(
        file("top/a.txt", b"one"),
        entry("top/hard", tarfile.LNKTYPE, "top/a.txt"),
        entry("top/sub/soft", tarfile.SYMTYPE, "../a.txt"),
    )
    result = extract(put(data, "x.tar"), dest, show_progress=False)
    assert (result / "sub/soft").is_symlink()
    assert contents(result) == {"a.txt": b"one", "hard": b"one", "sub/soft": b"one"}


def test_a_link_beside_the_top_folder_counts_as_a_second_thing(put, dest):
    data = tar(file("top/a.txt", b"one"), entry("newest", tarfile.SYMTYPE, "top/a.txt"))
    result = extract(put(data, "both.tar"), dest, show_progress=False)
    assert result == dest / "both"
    assert contents(result) == {"top/a.txt": b"one", "newest": b"one"}


def test_links_are_kept_also_where_the_destination_is_behind_a_link_itself(put, dest, tmp_path):
    (tmp_path / "other").symlink_to(dest)
    data = tar(file("top/sub/a.txt", b"one"), entry("top/soft", tarfile.SYMTYPE, "sub/a.txt"))
    result = extract(put(data, "x.tar"), tmp_path / "other", show_progress=False)
    assert contents(result) == {"sub/a.txt": b"one", "soft": b"one"}


def test_modes_owners_and_times_are_not_taken_over(put, dest):
    data = tar(
        file("top/tool", b"#!/bin/sh", mode=0o6777, uid=12345, mtime=1), file("top/secret", b"", mode=0)
    )
    result = extract(put(data, "x.tar"), dest, show_progress=False)
    umask = os.umask(0)
    os.umask(umask)
    for name in ("tool", "secret"):
        found = (result / name).stat()
        assert stat.S_IMODE(found.st_mode) == 0o666 & ~umask
        assert found.st_uid == os.geteuid()
    assert stat.S_IMODE(result.stat().st_mode) == 0o777 & ~umask


def test_names_that_differ_in_case_are_both_there_or_refused_as_the_disk_allows(put, dest, tmp_path):
    (tmp_path / "probe").touch()
    archive = put(tar_of({"top/A": b"1", "top/a": b"2"}), "x.tar")
    if (tmp_path / "PROBE").exists():
        with pytest.raises(DownloadError, match="is there twice"):
            extract(archive, dest)
    else:
        assert contents(extract(archive, dest, show_progress=False)) == {"A": b"1", "a": b"2"}


def test_a_missing_archive_is_named(dest):
    with pytest.raises(MissingFileError, match=r"there is no archive .*none\.tgz"):
        extract(dest / "none.tgz", dest)


def test_a_folder_that_is_there_is_left_alone_unless_it_may_be_replaced(put, dest):
    archive = put(PACKINGS["pets.tgz"])
    (dest / "top").mkdir()
    (dest / "top/mine.txt").write_text("mine")
    with pytest.raises(DataError, match="top is there already, and is not empty"):
        extract(archive, dest, show_progress=False)
    assert contents(dest / "top") == {"mine.txt": b"mine"}
    extract(archive, dest, overwrite=True, show_progress=False)
    assert contents(dest) == TREE | {".pets.lock": b""}


def test_a_folder_that_cannot_be_replaced_after_all_is_put_back(put, dest, monkeypatch):
    (dest / "top").mkdir()
    (dest / "top/mine.txt").write_text("mine")
    rename = OurPath.rename

    def refuse_the_new_one(path, target):
        if OurPath(target) == dest / "top" and path.name != "replaced":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(OurPath, "rename", refuse_the_new_one)
    with pytest.raises(DownloadError, match="top cannot be written: permission denied"):
        extract(put(PACKINGS["pets.tgz"]), dest, overwrite=True, show_progress=False)
    assert left_in(dest) == ["top"]
    assert contents(dest / "top") == {"mine.txt": b"mine"}


def test_an_empty_folder_in_the_place_is_no_hindrance(put, dest):
    (dest / "top").mkdir()
    assert contents(extract(put(PACKINGS["pets.tgz"]), dest, show_progress=False))


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_has_is_not(put, dest):
    for name in (
        ".pets.abcd1234.partial",
        ".dead.abcd1234.partial",
        ".alive.abcd1234.partial",
        ".not-ours.partial",
    ):
        (dest / name / "tree").mkdir(parents=True)
    with locked(dest, "alive"):
        extract(put(PACKINGS["pets.tgz"]), dest, show_progress=False)
    assert left_in(dest) == [".alive.abcd1234.partial", ".not-ours.partial", "top"]


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is a Unix thing")
def test_a_file_that_the_system_will_not_let_grow_is_named_and_nothing_is_left(put, dest):
    import resource

    archive = put(gzip.compress(tar_of({"top/zeros": bytes(1 << 20)})))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, hard))
    try:
        with pytest.raises(DownloadError) as caught:
            extract(archive, dest, show_progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "there is no room to write" in str(caught.value)
    assert "top/zeros: file too large" in str(caught.value)
    assert "export PLAINLEARN_HOME=" in str(caught.value)
    assert left_in(dest) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs a disk of its own, by Linux's name spaces")
def test_a_full_disk_is_named_and_nothing_is_left_on_it(put, dest):
    archive = put(gzip.compress(tar_of({"top/zeros": bytes(1 << 20)})))
    mount = (
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        'mount -t tmpfs -o size=256k none "$0" && exec "$@"',
    )
    if subprocess.run([*mount, str(dest), "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets no user mount a disk of his own")
    done = python_alone(
        """
        import os
        try:
            extract(sys.argv[1], sys.argv[2], show_progress=False)
        except PlainlearnError as error:
            print(error, [name for name in os.listdir(sys.argv[2]) if not name.endswith(".lock")], sep="\\n")
        """,
        archive,
        dest,
        before=(*mount, str(dest)),
    )
    assert done.stderr == ""
    assert "there is no room to write" in done.stdout
    assert "no space left on device" in done.stdout
    assert f"free on the disk of {dest}" in done.stdout
    assert done.stdout.endswith("[]\n")


def unwritable(tmp_path: Path) -> Path:
    """A folder that this user cannot write, even if he is root."""
    if os.geteuid():
        tmp_path.chmod(0o555)
        return tmp_path
    if not Path("/sys/kernel").is_dir():
        pytest.skip("root may write everywhere here")
    return Path("/sys/kernel")


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such modes there")
def test_a_folder_that_may_not_be_written_is_named(put, tmp_path_factory):
    folder = unwritable(tmp_path_factory.mktemp("closed"))
    for dest in (folder, folder / "new"):
        with pytest.raises(DownloadError) as caught:
            extract(put(PACKINGS["pets.tgz"]), dest)
        assert f"{dest} cannot be written: " in str(caught.value)
        assert "expected a folder that this user may write" in str(caught.value)


def test_a_file_where_the_folder_should_be_is_named(put, tmp_path):
    (tmp_path / "data").write_text("not a folder")
    for dest in (tmp_path / "data", tmp_path / "data" / "sub"):
        with pytest.raises(DownloadError) as caught:
            extract(put(PACKINGS["pets.tgz"]), dest)
        assert f"the folder {dest} cannot be made: {tmp_path / 'data'} is a file" in str(caught.value)


# ---------------------------------------------------------------- hostile and damaged ones


def zip_entry(name: str, kind: int, data: bytes = b"") -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info, data


def zip_link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    return zip_entry(name, stat.S_IFLNK, target.encode())


def pax_bomb(size: int) -> bytes:
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, size
    return header.tobuf(tarfile.USTAR_FORMAT) + bytes(size) + bytes(1024)


def with_size_field(size_field: bytes) -> bytes:
    block = bytearray(tarfile.TarInfo("top/a").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size_field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)


DEEP_HEADERS = tarfile.TarInfo("././@LongLink")
DEEP_HEADERS.type, DEEP_HEADERS.size = tarfile.GNUTYPE_LONGNAME, 5

HOSTILE = {
    "dots": (tar(file("../evil")), "leads out of the archive"),
    "dots within": (tar(file("top/a/../../../evil")), "leads out of the archive"),
    "absolute": (tar(file("/tmp/evil")), "is an absolute path"),
    "drive": (tar(file("C:/evil")), "is an absolute path"),
    "backslashes": (tar(file("top\\..\\..\\evil")), "has a backslash"),
    "no name": (tar(file("./")), "has no name"),
    "folder outside": (tar(entry("../evil", tarfile.DIRTYPE)), "leads out of the archive"),
    "symlink absolute": (
        tar(file("top/a"), entry("top/evil", tarfile.SYMTYPE, "/etc")),
        "links to '/etc', outside",
    ),
    "symlink up": (
        tar(file("top/a"), entry("top/evil", tarfile.SYMTYPE, "../..")),
        "links to '../..', outside",
    ),
    # After the top folder is taken out, what was beside it would be anything.
    "symlink beside": (
        tar(file("top/a"), entry("top/evil", tarfile.SYMTYPE, "../secrets")),
        "links to '../secrets', outside",
    ),
    "symlink around": (
        tar(file("top/a"), entry("top/evil", tarfile.SYMTYPE, "../top/a")),
        "links to '../top/a', outside",
    ),
    # The same by a detour, whose two ".." count as one down in between.
    "symlink around by another": (
        tar(
            file("top/a"),
            file("top/x/y/z/b"),
            entry("top/x/y/z/up", tarfile.SYMTYPE, "../../.."),
            entry("top/x/y/z/evil", tarfile.SYMTYPE, "up/../top/a"),
        ),
        "links to 'up/../top/a', outside",
    ),
    "symlink chain": (
        tar(
            file("top/a/b/c"),
            entry("top/a/b/up", tarfile.SYMTYPE, "../.."),
            entry("top/a/b/evil", tarfile.SYMTYPE, "up/../../.."),
        ),
        "links to 'up/../../..', outside",
    ),
    "through a symlink": (
        tar(entry("top/d", tarfile.SYMTYPE, "sub"), file("top/d/evil"), file("top/sub/a")),
        "is there twice",
    ),
    "link behind a link": (
        tar(
            file("top/sub/a"), entry("top/d", tarfile.SYMTYPE, "sub"), entry("top/d/e", tarfile.SYMTYPE, "a")
        ),
        "lies behind another link",
    ),
    "hard link out": (tar(entry("top/evil", tarfile.LNKTYPE, "/etc/passwd")), "is an absolute path"),
    "hard link up": (tar(entry("top/evil", tarfile.LNKTYPE, "../../evil")), "leads out of the archive"),
    "hard link to nothing": (
        tar(entry("top/evil", tarfile.LNKTYPE, "top/none")),
        "is no file in the archive before",
    ),
    "hard link to a symlink": (
        tar(entry("top/s", tarfile.SYMTYPE, "/etc/passwd"), entry("top/evil", tarfile.LNKTYPE, "top/s")),
        "is no file in the archive before",
    ),
    "device": (tar(entry("top/null", tarfile.CHRTYPE)), "is a device, a pipe or a sparse file"),
    "disk": (tar(entry("top/sda", tarfile.BLKTYPE)), "is a device, a pipe or a sparse file"),
    "pipe": (tar(entry("top/pipe", tarfile.FIFOTYPE)), "is a device, a pipe or a sparse file"),
    "sparse": (tar(entry("top/holes", tarfile.GNUTYPE_SPARSE)), "is a device, a pipe or a sparse file"),
    "unknown kind": (tar(entry("top/what", b"Z")), "is a device, a pipe or a sparse file"),
    "twice": (tar(file("top/a", b"1"), file("top/./a", b"2")), "is there twice"),
    "file and folder": (tar(file("top/a"), file("top/a/b")), "is there twice, or as a file and a folder"),
    "folder and file": (tar(file("top/a/b"), file("top/a")), "is there twice, or as a file and a folder"),
    "nothing": (tar(file("a"))[:0], "is not an archive: it is empty"),
    "empty tar.gz": (gzip.compress(tar()), "is empty: it holds no file"),
    "empty zip": (zip_of(), "is empty: it holds no file"),
    "html": (b"<!DOCTYPE html><p>Please log in", "a page of HTML came from a wrong address"),
    "text": (b"hello", "is not an archive: it begins with b'hello'"),
    "gzip of text": (gzip.compress(b"hello" * 200), "is damaged or cut off"),
    "long header": (pax_bomb(8 << 20), "a header claims a length of"),
    "negative size": (with_size_field(b"\xff" * 12), "is wrong about its size"),
    "size of nonsense": (with_size_field(b"nonsense\0\0\0\0"), "is not an archive"),
    "too much promised": (with_size_field(b"77777777777\0"), "is damaged or cut off"),
    "headers in headers": (
        (DEEP_HEADERS.tobuf() + b"hello".ljust(512, b"\0")) * 3000,
        "is damaged or cut off",
    ),
    "zip dots": (zip_of(("../evil", b"x")), "leads out of the archive"),
    "zip absolute": (zip_of(("/tmp/evil", b"x")), "is an absolute path"),
    "zip symlink": (zip_of(("top/a", b"x"), zip_link("top/evil", "/etc")), "links to '/etc', outside"),
    "zip device": (zip_of(zip_entry("top/null", stat.S_IFCHR)), "is a device, a pipe or a sparse file"),
    "zip long link": (zip_of(zip_link("top/evil", "a" * 5000)), "has a target of 5000 bytes"),
    "zip cut off": (zip_of(("top/a", b"x" * 1000))[:-30], "is damaged or cut off"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_is_kept(put, dest, tmp_path, case):
    data, message = HOSTILE[case]
    archive = put(data, "evil.tar")
    (tmp_path / "secrets").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DownloadError) as caught:
        extract(archive, dest, show_progress=False)
    assert message in str(caught.value)
    assert str(archive) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, dest / ".evil.lock"])
    assert not Path("/tmp/evil").exists()


PLACES = st.lists(st.sampled_from(["..", ".", "", "top", "a", "sub", "C:"]), min_size=1, max_size=5).map(
    "/".join
)


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4 has no data filter")
@given(name=PLACES, target=PLACES, kind=st.sampled_from("01234567"))
@settings(max_examples=200)
def test_what_tarfile_s_data_filter_refuses_is_refused_here_too(tmp_path_factory, name, target, kind):
    folder = tmp_path_factory.mktemp("filter")
    member, _ = entry(name, kind.encode(), target)
    try:
        tarfile.data_filter(member, str(folder / "out"))
    except tarfile.FilterError:
        (folder / "x.tar").write_bytes(tar(file("top/a"), (member, b"")))
        with pytest.raises(DownloadError):
            extract(folder / "x.tar", folder / "out", show_progress=False)
        assert left_in(folder / "out") == []


def test_a_zip_with_a_password_is_refused_by_name(put, dest):
    data = bytearray(zip_of(("top/a", b"secret")))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    with pytest.raises(
        DownloadError, match=r"is encrypted \('top/a'\); expected an archive without a password"
    ):
        extract(put(bytes(data), "x.zip"), dest)


def test_a_zip_whose_contents_do_not_fit_their_check_sum_is_refused(put, dest):
    data = bytearray(zip_of(("top/a", b"hello hello hello")))
    at = data.index(b"PK\x01\x02") + 16
    data[at : at + 4] = struct.pack("<I", 7)
    with pytest.raises(DownloadError, match="is damaged or cut off: Bad CRC-32"):
        extract(put(bytes(data), "x.zip"), dest)
    assert left_in(dest) == []


def bomb(size: int) -> tuple[tarfile.TarInfo, bytes]:
    return file("top/zeros", bytes(size))


def test_an_archive_that_expands_too_far_is_stopped_and_says_which_limit(put, dest):
    archive = put(gzip.compress(tar(bomb(4 << 20))))
    with pytest.raises(DownloadError, match=r"expands to more than 1\.0 MiB; nothing was kept") as caught:
        extract(archive, dest, limits=Limits(max_bytes=1 << 20))
    assert "Try limits=Limits(max_bytes=4194304), if you trust its source" in str(caught.value)
    assert left_in(dest) == []


@pytest.mark.parametrize("packing", ["tgz", "zip"])
def test_a_bomb_is_stopped_by_its_ratio(put, dest, packing):
    data = (
        zip_of(("top/zeros", bytes(66 << 20))) if packing == "zip" else gzip.compress(tar(bomb(66 << 20)), 1)
    )
    with pytest.raises(DownloadError, match="expands to more than 200 times its size"):
        extract(put(data), dest, show_progress=False)
    assert left_in(dest) == []
    assert (extract(put(data), dest, limits=Limits(max_ratio=2000)) / "zeros").stat().st_size == 66 << 20


@pytest.mark.parametrize(
    "data", [tar_of({"top/a": b"", "top/b": b"", "top/c": b""}), zip_of(*[(c, b"") for c in "abc"])]
)
def test_more_members_than_the_limit_are_refused(put, dest, data):
    with pytest.raises(DownloadError, match="holds more than 2 members"):
        extract(put(data), dest, limits=Limits(max_members=2))
    assert extract(put(data), dest, limits=Limits(max_members=3))


@pytest.mark.parametrize("limit", [{"max_bytes": 0}, {"max_members": -1}, {"max_ratio": float("nan")}])
def test_a_limit_of_nothing_is_refused(limit):
    with pytest.raises(ArgumentError, match="expected more than 0"):
        Limits(**limit)


# Incompressible, so that no part of the file is idle.
NOISE = {f"top/{index}": bytes((index * 37 + at * at * 7) % 251 for at in range(700)) for index in range(8)}
NOISE_TGZ = gzip.compress(tar_of(NOISE))


@given(kept=st.integers(0, len(NOISE_TGZ) - 1))
@settings(max_examples=60)
def test_a_cut_off_archive_is_never_taken_for_a_whole_one(tmp_path_factory, kept):
    folder = tmp_path_factory.mktemp("cut")
    (folder / "x.tgz").write_bytes(NOISE_TGZ[:kept])
    with pytest.raises(DownloadError):
        extract(folder / "x.tgz", folder / "out", show_progress=False)
    assert left_in(folder / "out") == []


@given(at=st.integers(0, len(NOISE_TGZ) - 1), flip=st.integers(1, 255))
@settings(max_examples=100)
def test_a_changed_byte_is_noticed_or_makes_no_difference(tmp_path_factory, at, flip):
    folder = tmp_path_factory.mktemp("flip")
    changed = bytearray(NOISE_TGZ)
    changed[at] ^= flip
    (folder / "x.tgz").write_bytes(changed)
    try:
        result = extract(folder / "x.tgz", folder / "out", show_progress=False)
    except DownloadError:
        assert left_in(folder / "out") == []
    else:
        assert {f"top/{name}": data for name, data in contents(result).items()} == NOISE


def test_what_cannot_be_read_is_not_said_to_be_what_cannot_be_written(put, dest):
    # Far behind the header, in the middle of a file's contents.
    packed = bytearray(bz2.compress(tar_of({"top/noise": random.Random(0).randbytes(1 << 20)}), 1))
    packed[len(packed) // 2] ^= 255
    with pytest.raises(DownloadError, match="is damaged or cut off: "):
        extract(put(bytes(packed), "x.tar.bz2"), dest, show_progress=False)


def test_a_plain_tar_that_ends_between_two_members_is_not_taken_for_a_whole_one(put, dest):
    whole = tar_of(NOISE)
    with pytest.raises(DownloadError, match="no end mark where one is due"):
        extract(put(whole[: 1536 * 3], "x.tar"), dest)


def test_a_broken_header_in_the_middle_is_not_taken_for_the_end(put, dest):
    broken = bytearray(tar_of(NOISE))
    broken[1536 * 3 + 150] ^= 1  # in the check sum of the fourth header
    with pytest.raises(DownloadError, match="no end mark where one is due"):
        extract(put(bytes(broken), "x.tar"), dest)


def test_paths_that_windows_would_read_otherwise_are_refused_there():
    for name in ("top/nul", "COM1.txt", "a/b:stream", "top./a", "a ", "what?.png"):
        assert refusable(name, on_windows=True) == "has a name that Windows cannot give to a file"
        assert refusable(name, on_windows=False) == ""
    assert refusable("train/3/7.png", on_windows=True) == ""
    assert refusable("a\0b") == "has a zero byte in its name"
