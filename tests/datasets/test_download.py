"""`untar_data`: from an address to a folder; by mirror, on board or network; once, whole, and never half."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from patience import PATIENCE

import plainlearn
from plainlearn.core.errors import ArgumentError, DataError, DownloadError, MissingFileError
from plainlearn.core.paths import Path as OurPath
from plainlearn.datasets.archive import Limits
from plainlearn.datasets.download import URLs, untar_data
from plainlearn.datasets.storage import verify_file
from plainlearn.datasets.urls import KNOWN_SHA256

ALONE = """
import sys
from plainlearn.datasets.download import URLs, untar_data
from plainlearn.core.errors import PlainlearnError
"""
ON_BOARD = Path(plainlearn.__file__).parent / "datasets" / "onboard" / "mnist_sample.tgz"


def start_alone(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ALONE + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def archive(tree: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in tree.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(packed.getvalue(), mtime=0)


PETS = archive({"oxford-iiit-pet/images/cat.jpg": b"miaow", "oxford-iiit-pet/images/dog.jpg": b"woof"})
DOGS = archive({"oxford-iiit-pet/images/dog.jpg": b"woof woof"})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of its own for every test, and nothing of the machine's settings."""
    for variable in ("PLAINLEARN_MIRROR", "CI", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PLAINLEARN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder of archives by file name, which PLAINLEARN_MIRROR names."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("PLAINLEARN_MIRROR", str(folder))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """MNIST_SAMPLE, unpacked once. The mirror is empty, and tests have no network: it can only be the one on board."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAINLEARN_MIRROR", str(tmp_path_factory.mktemp("mirror")))
        return untar_data(URLs.MNIST_SAMPLE, base=tmp_path_factory.mktemp("cache"), show_progress=False)


def test_mnist_sample_is_on_board_with_the_images_that_the_course_uses(mnist):
    assert isinstance(mnist, OurPath)
    assert [child.name for child in mnist.ls()] == ["README.md", "labels.csv", "train", "valid"]
    count = Counter(str(path.relative_to(mnist).parent) for path in mnist.rglob("*.png"))
    assert count == {"train/3": 6131, "train/7": 6265, "valid/3": 1010, "valid/7": 1028}


def test_every_image_of_mnist_sample_has_its_line_in_labels_csv(mnist):
    lines = (mnist / "labels.csv").read_text().split()
    assert lines[0] == "name,label"
    labels = dict(line.split(",") for line in lines[1:])
    images = {path.relative_to(mnist).as_posix() for path in mnist.rglob("*.png")}
    assert len(labels) == len(lines) - 1
    assert labels.keys() == images
    assert all(label == {"3": "0", "7": "1"}[name.split("/")[1]] for name, label in labels.items())
    assert all((mnist / name).read_bytes().startswith(b"\x89PNG\r\n") for name in list(labels)[::500])


def test_what_is_on_board_is_small_known_and_says_where_it_is_from():
    assert ON_BOARD.stat().st_size <= 4_000_000
    assert verify_file(ON_BOARD, KNOWN_SHA256[URLs.MNIST_SAMPLE]) == KNOWN_SHA256[URLs.MNIST_SAMPLE][0]
    note = (ON_BOARD.parent / "README.md").read_text()
    for fact in (
        "LeCun",
        "fast.ai",
        "creativecommons.org/licenses/by-sa/3.0",
        KNOWN_SHA256[URLs.MNIST_SAMPLE][0],
    ):
        assert fact in note


def test_what_is_on_board_is_the_archive_that_was_given(test_data):
    assert ON_BOARD.read_bytes() == (test_data / "mnist_sample.tgz").read_bytes()


def test_the_second_time_nothing_is_unpacked_or_locked(mnist):
    place = mnist.parent
    before = {child: child.stat().st_mtime_ns for child in place.iterdir()}
    (place / ".mnist_sample.lock").unlink()
    assert untar_data(URLs.MNIST_SAMPLE, data=place) == mnist
    del before[place / ".mnist_sample.lock"]
    assert {child: child.stat().st_mtime_ns for child in place.iterdir()} == before


def test_an_archive_is_downloaded_once_and_unpacked_under_its_name(web, home):
    url = web.on("/sets/oxford-iiit-pet.tgz", web.body(PETS))
    path = untar_data(url)
    assert path == home / "data" / "oxford-iiit-pet"
    assert contents(path) == {"images/cat.jpg": b"miaow", "images/dog.jpg": b"woof"}
    assert untar_data(url) == path
    assert len(web.requests) == 1
    assert files_in(home / "archives") == ["oxford-iiit-pet.tgz"]
    assert files_in(home / "data") == [
        ".oxford-iiit-pet.files",
        ".oxford-iiit-pet.json",
        "oxford-iiit-pet",
    ]


def test_an_archive_without_one_top_folder_gets_a_folder_of_its_name(web, home):
    data = archive({"train.csv": b"1", "valid.csv": b"2"})
    path = untar_data(web.on("/tables.tar.gz?v=3", web.body(data)))
    assert path == home / "data" / "tables"
    assert contents(path) == {"train.csv": b"1", "valid.csv": b"2"}


def test_a_top_folder_of_another_name_is_called_like_the_archive(web, home):
    path = untar_data(web.on("/caltech.tgz", web.body(archive({"101_Objects/a.txt": b"1"}))))
    assert path == home / "data" / "caltech"
    assert contents(path) == {"a.txt": b"1"}


def test_base_and_data_name_other_places(web, tmp_path, home):
    url = web.on("/pets.tgz", web.body(PETS))
    assert untar_data(url, base=tmp_path / "base") == tmp_path / "base" / "data" / "pets"
    assert untar_data(url, data=tmp_path / "here") == tmp_path / "here" / "pets"
    assert (home / "archives" / "pets.tgz").exists()


def test_two_addresses_that_end_alike_do_not_share_a_folder(web):
    one, two = web.on("/a/cifar10.tgz", web.body(PETS)), web.on("/b/cifar10.tgz", web.body(DOGS))
    first, second = untar_data(one), untar_data(two)
    assert first.name == "cifar10"
    assert second.name == f"cifar10-{hashlib.sha256(two.encode()).hexdigest()[:8]}"
    assert (untar_data(one), untar_data(two)) == (first, second)
    assert contents(second) == {"images/dog.jpg": b"woof woof"}


def test_a_folder_that_the_user_put_there_is_used(home):
    (home / "data" / "oxford-iiit-pet" / "images").mkdir(parents=True)
    assert untar_data(URLs.PETS) == home / "data" / "oxford-iiit-pet"


def test_a_folder_that_the_user_put_there_is_not_replaced(web, home):
    mine = home / "data" / "pets" / "mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(
        DataError, match=r"data/pets was not made by untar_data.*\n  Try moving it away, or data="
    ):
        untar_data(web.on("/pets.tgz", web.body(PETS)), force_download=True)
    assert contents(home / "data" / "pets") == {"mine.jpg": b"mine"}
    assert web.requests == []


def test_an_empty_folder_is_filled(web, home):
    (home / "data" / "pets").mkdir(parents=True)
    assert contents(untar_data(web.on("/pets.tgz", web.body(PETS))))


def test_force_download_asks_again_and_replaces_what_it_put_there_and_nothing_else(web):
    url = web.on("/pets.tgz", web.body(PETS))
    path = untar_data(url)
    there = contents(path)
    (path / "images" / "cat.jpg").write_bytes(b"damaged")
    (path / "models").mkdir()
    (path / "models" / "mine").write_bytes(b"mine")
    for requests in (2, 3):  # what was kept once is not taken for ours the next time
        untar_data(url, force_download=True)
        assert contents(path) == {**there, "models/mine": b"mine"}
        assert len(web.requests) == requests


def test_force_download_removes_what_the_archive_no_longer_holds(web):
    url = web.on("/pets.tgz", web.body(PETS), web.body(DOGS))
    path = untar_data(url)
    (path / "mine.txt").write_bytes(b"mine")
    untar_data(url, force_download=True, sha256=hashlib.sha256(DOGS).hexdigest())
    assert contents(path) == {"images/dog.jpg": b"woof woof", "mine.txt": b"mine"}


def test_a_failing_force_download_leaves_the_folder_as_it_was(web):
    url = web.on("/pets.tgz", web.body(PETS), web.status(404))
    path = untar_data(url)
    with pytest.raises(DownloadError, match="404 Not Found"):
        untar_data(url, force_download=True)
    assert sorted(contents(path)) == ["images/cat.jpg", "images/dog.jpg"]


def test_a_deleted_folder_is_unpacked_again_without_the_network(web, home):
    url = web.on("/pets.tgz", web.body(PETS))
    path = untar_data(url)
    path.rename(home / "away")
    assert contents(untar_data(url)) == contents(home / "away")
    assert len(web.requests) == 1


def test_an_archive_that_has_rotted_on_the_disk_is_fetched_anew(web, home, capsys):
    url = web.on("/pets.tgz", web.body(PETS))
    path = untar_data(url)
    path.rename(home / "away")
    (home / "archives" / "pets.tgz").write_bytes(PETS[:-9])
    assert contents(untar_data(url)) == contents(home / "away")
    assert "pets.tgz is not what it was when it was downloaded" in capsys.readouterr().err
    assert len(web.requests) == 2


def test_the_first_checksum_is_said_and_held_to(web, home, capsys):
    url = web.on("/pets.tgz", web.body(PETS), web.body(DOGS))
    untar_data(url)
    known = hashlib.sha256(PETS).hexdigest()
    assert (
        f"pets: this archive's SHA-256 is {known}; from now on that is expected of {url}"
        in capsys.readouterr().err
    )
    assert json.loads((home / "data" / ".pets.json").read_text())["sha256"] == known
    with pytest.raises(DownloadError, match=f"expected {known}; it was deleted") as caught:
        untar_data(url, force_download=True)
    new = hashlib.sha256(DOGS).hexdigest()
    assert f"sha256='{new}'" in str(caught.value)
    assert contents(untar_data(url, force_download=True, sha256=new)) == {"images/dog.jpg": b"woof woof"}


def test_a_wrong_checksum_is_an_error_with_both_and_leaves_nothing(web, home):
    url = web.on("/pets.tgz", web.body(DOGS))
    with pytest.raises(
        DownloadError, match=f"its SHA-256 is {hashlib.sha256(DOGS).hexdigest()}, expected {'0' * 64}"
    ):
        untar_data(url, sha256="0" * 64)
    assert files_in(home / "data") == files_in(home / "archives") == []


@pytest.mark.parametrize(
    "page", [b"<html>Please log in", gzip.compress(b"no tar" * 200)], ids=["html", "gzip"]
)
def test_a_page_in_place_of_the_archive_is_not_kept(web, home, page):
    url = web.on("/pets.tgz", web.body(page), web.body(PETS))
    with pytest.raises(DownloadError, match=r"is not an archive|is damaged"):
        untar_data(url)
    assert files_in(home / "data") == files_in(home / "archives") == []
    assert contents(untar_data(url))


def test_limits_reach_the_archive(web):
    with pytest.raises(DownloadError, match="holds more than 1 members"):
        untar_data(web.on("/pets.tgz", web.body(PETS)), limits=Limits(max_members=1))


def test_a_mirror_s_folder_is_looked_into_first(web, mirror, home):
    (mirror / "pets.tgz").write_bytes(PETS)
    path = untar_data(web.on("/pets.tgz", web.body(DOGS)))
    assert sorted(contents(path)) == ["images/cat.jpg", "images/dog.jpg"]
    assert web.requests == []
    assert not (home / "archives").exists()


def test_what_the_mirror_lacks_is_downloaded(web, mirror):
    assert contents(untar_data(web.on("/pets.tgz", web.body(PETS))))


def test_a_mirror_on_the_web_is_asked_first_and_the_address_next(web, monkeypatch):
    monkeypatch.setenv("PLAINLEARN_MIRROR", web.address + "/mirror/")
    web.on("/mirror/pets.tgz", web.body(PETS))
    assert contents(untar_data("http://127.0.0.1:9/pets.tgz"))
    assert contents(untar_data(web.on("/dogs.tgz", web.body(DOGS))))
    assert [path for path, _ in web.requests] == ["/mirror/pets.tgz", "/mirror/dogs.tgz", "/dogs.tgz"]


def test_a_mirror_s_archive_is_held_to_the_known_checksum_and_not_deleted(mirror):
    (mirror / "mnist_sample.tgz").write_bytes(PETS)
    with pytest.raises(DownloadError) as caught:
        untar_data(URLs.MNIST_SAMPLE)
    assert f"{mirror / 'mnist_sample.tgz'} is not the file that was expected" in str(caught.value)
    assert (mirror / "mnist_sample.tgz").read_bytes() == PETS


def test_a_mirror_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PLAINLEARN_MIRROR", str(tmp_path / "none"))
    with pytest.raises(MissingFileError, match=r"PLAINLEARN_MIRROR is '.*none'; expected a folder"):
        untar_data(URLs.PETS)


def test_offline_the_message_names_the_address_the_reason_and_the_mirror(mirror):
    url = "http://127.0.0.1:9/oxford-iiit-pet.tgz"
    with pytest.raises(DownloadError) as caught:
        untar_data(url)
    assert str(caught.value) == (
        f"{url} could not be downloaded: the server refused the connection; "
        f"PLAINLEARN_MIRROR={mirror} has no oxford-iiit-pet.tgz\n"
        "  Try putting oxford-iiit-pet.tgz into a folder, and export PLAINLEARN_MIRROR=/that/folder"
    )


def test_a_machine_without_network_is_told_so_at_once(home):
    begun = start_alone(
        """
        import socket
        def no_answer(*_args, **_kwargs):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        socket.getaddrinfo = no_answer  # this machine may be online, or wait long for its name server
        try:
            untar_data(URLs.PETS)
        except PlainlearnError as error:
            print(error)
        """
    )
    said, complaint = begun.communicate(timeout=PATIENCE)
    assert complaint == ""
    assert f"{URLs.PETS} could not be downloaded: the name of the server is not known here" in said
    assert "is this machine online?; PLAINLEARN_MIRROR is not set\n" in said


def test_two_processes_at_once_get_one_download_and_the_same_folder(web, home):
    go_on = threading.Event()
    url = web.on("/pets.tgz", web.after(go_on, web.body(PETS)), web.status(500))
    first = start_alone("print(untar_data(sys.argv[1], show_progress=False))", url)
    while not web.requests:
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    second = start_alone("print(untar_data(sys.argv[1]))", url)  # it would say so if it unpacked as well
    waits = second.stderr.readline()
    go_on.set()
    results = [process.communicate(timeout=PATIENCE) for process in (first, second)]
    assert waits == f"another process is preparing {home / 'data' / 'pets'}: waiting for it\n"
    assert results == [(f"{home / 'data' / 'pets'}\n", "")] * 2
    assert len(web.requests) == 1
    assert sorted(contents(home / "data" / "pets")) == ["images/cat.jpg", "images/dog.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")
def test_a_killed_process_leaves_nothing_half_unpacked_and_the_next_call_sweeps(web, home):
    begun = start_alone("untar_data(URLs.MNIST_SAMPLE, show_progress=False)")
    data = home / "data"
    while not list(data.glob(".mnist_sample.*.partial/tree/mnist_sample/train/*")):
        assert begun.poll() is None, begun.communicate()
        time.sleep(0.001)
    os.kill(begun.pid, signal.SIGKILL)
    begun.communicate(timeout=PATIENCE)
    assert not (data / "mnist_sample").exists()
    assert len(list(data.glob(".mnist_sample.*.partial"))) == 1
    untar_data(web.on("/pets.tgz", web.body(PETS)))
    assert files_in(data) == [".pets.files", ".pets.json", "pets"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")
def test_a_download_that_was_killed_is_resumed(web, home):
    whole = PETS + bytes(300_000)  # zeros after the end of a gzip file are no part of it
    url = web.on("/pets.tgz", web.body(whole, cut=200_000), web.silent(), web.body(whole))
    begun = start_alone("untar_data(sys.argv[1], show_progress=False)", url)
    while len(web.requests) < 2:
        assert begun.poll() is None, begun.communicate()
        time.sleep(0.01)
    os.kill(begun.pid, signal.SIGKILL)
    begun.communicate(timeout=PATIENCE)
    assert files_in(home / "archives") == [".pets.tgz.part", ".pets.tgz.part.json"]
    assert contents(untar_data(url))
    assert web.ranges() == [None, "bytes=200000-", "bytes=200000-"]
    assert files_in(home / "archives") == ["pets.tgz"]


def test_a_damaged_record_is_named(home):
    (home / "data" / "mnist_sample").mkdir(parents=True)
    (home / "data" / ".mnist_sample.json").write_text("{")
    with pytest.raises(DataError, match=r"\.mnist_sample\.json is damaged"):
        untar_data(URLs.MNIST_SAMPLE)


@pytest.mark.parametrize("url", ["mnist", "file:///tmp/x.tgz", ""])
def test_what_is_no_address_is_refused_with_what_would_be_one(url):
    with pytest.raises(
        ArgumentError, match=r"Try a constant such as URLs\.PETS, or extract\(archive, folder\)"
    ):
        untar_data(url)


def test_nothing_here_imports_torch_and_what_is_heavy_waits_for_its_use():
    begun = start_alone(
        "print([name for name in ('torch', 'numpy', 'tqdm', 'filelock', 'tarfile', 'ssl') if name in sys.modules])"
    )
    assert begun.communicate(timeout=PATIENCE) == ("[]\n", "")
