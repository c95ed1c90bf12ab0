"""Archives that are hostile or damaged, all made here: each is refused by name, and nothing of it is kept."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainlearn.core.errors import ArgumentError, DownloadError
from plainlearn.datasets.archive import extract
from plainlearn.datasets.limits import Limits
from plainlearn.datasets.safe_tree import refusable


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


def zip_link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target.encode()


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
