"""Files elsewhere: listed like a folder, read by the same blocks, refused by name, and never waited for without end."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from patience import PATIENCE
from PIL import Image

from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import ArgumentError, DataError, MissingFileError
from plainlearn.data import CategoryBlock, DataBlock, GrandparentSplitter, get_image_files, parent_label
from plainlearn.datasets import remote
from plainlearn.datasets.remote import RemotePath, is_url, list_files
from plainlearn.images.load import load_image, load_mask
from plainlearn.vision.blocks import ImageBlock

fsspec = pytest.importorskip("fsspec")


def photo(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((10, 12, 3), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


PETS = {
    f"{side}/{kind}/{number}.png": photo(20 * number + 100 * (kind == "dog") + 5 * (side == "valid"))
    for side in ("train", "valid")
    for kind in ("cat", "dog")
    for number in (1, 2, 3)
}


@pytest.fixture
def bucket() -> Iterator[str]:
    """The pets in fsspec's memory, under a name of their own."""
    name = f"pets-{uuid4().hex}"
    memory = fsspec.filesystem("memory")
    for path, data in PETS.items():
        memory.pipe_file(f"/{name}/{path}", data)
    yield f"memory://{name}"
    memory.rm(f"/{name}", recursive=True)


SERVE = """
import http.server, os, sys, threading
os.chdir(sys.argv[1])
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()  # ends with the process that started it
"""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The pets behind the standard library's web server, in another process."""
    pytest.importorskip("aiohttp")
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    for path, data in PETS.items():
        (tmp_path / "my pets" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "my pets" / path).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for path, data in PETS.items():
            archive.writestr(path, data)
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.communicate("", timeout=PATIENCE)


def labels(items: Any) -> list[str]:
    return [parent_label(item) for item in items]


# ---------------------------------------------------------------- listing


def test_an_address_is_told_from_a_path() -> None:
    assert is_url("s3://bucket/pets")
    assert is_url("zip://::pets.zip")
    assert not is_url("data/pets")
    assert not is_url(Path("data/pets"))


def test_a_bucket_is_listed_by_folder_and_then_by_name(bucket: str) -> None:
    assert [str(file) for file in get_image_files(bucket)] == [f"{bucket}/{path}" for path in sorted(PETS)]


def test_a_listing_sees_what_was_added_since_the_last(bucket: str) -> None:
    before = len(get_image_files(bucket))
    fsspec.filesystem("memory").pipe_file(f"{bucket}/train/cat/9.png", photo(1))
    assert len(get_image_files(bucket)) == before + 1


@pytest.mark.parametrize("name", [".hidden/1.png", "__MACOSX/1.png", "Thumbs.db", "notes.txt", ".1.png"])
def test_what_is_hidden_or_no_image_is_passed_over(bucket: str, name: str) -> None:
    fsspec.filesystem("memory").pipe_file(f"{bucket}/{name}", photo(1))
    assert len(get_image_files(bucket)) == len(PETS)


def test_folders_and_recurse_mean_what_they_mean_for_a_folder(bucket: str) -> None:
    assert len(get_image_files(bucket, folders="train")) == len(PETS) // 2
    assert get_image_files(f"{bucket}/train/cat", recurse=False).map("{0.name}") == [
        "1.png",
        "2.png",
        "3.png",
    ]
    assert len(get_image_files(bucket, recurse=False)) == 0
    with pytest.raises(
        MissingFileError, match="has no folder test, which folders= names; its folders: train, valid"
    ):
        get_image_files(bucket, folders=["train", "test"])


def test_an_item_has_the_parts_of_a_path_and_its_address_makes_it_again(bucket: str) -> None:
    first = get_image_files(bucket)[0]
    assert (first.name, first.stem, first.suffix, first.parent.name) == ("1.png", "1", ".png", "cat")
    again = RemotePath(json.loads(json.dumps(str(first))))
    assert again == first
    assert hash(again) == hash(first)
    assert again.read_bytes() == first.read_bytes() == PETS["train/cat/1.png"]
    assert repr(first) == f"RemotePath('{bucket}/train/cat/1.png')"
    copy = pickle.loads(pickle.dumps(first))
    assert copy == first
    assert copy.read_bytes() == first.read_bytes()


def test_an_item_does_not_pass_for_a_file_on_this_machine(bucket: str) -> None:
    assert not isinstance(get_image_files(bucket)[0], os.PathLike)


def test_an_archive_is_read_without_being_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for path, data in PETS.items():
            archive.writestr(path, data)
    items = get_image_files(f"zip://train::{tmp_path}/pets.zip")
    assert labels(items) == ["cat"] * 3 + ["dog"] * 3
    assert [RemotePath(str(item)).read_bytes() for item in items] == [
        PETS[path] for path in sorted(PETS) if path.startswith("train")
    ]


def test_a_web_servers_folders_are_listed_and_their_names_are_readable(served: str) -> None:
    items = get_image_files(f"{served}/my%20pets")
    assert labels(items) == (["cat"] * 3 + ["dog"] * 3) * 2
    assert items[0].path.parts[1:] == ("my pets", "train", "cat", "1.png")
    assert [item.read_bytes() for item in items] == [PETS[path] for path in sorted(PETS)]


# ---------------------------------------------------------------- the same data block


def pets_block() -> DataBlock:
    return DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        splitter=GrandparentSplitter(),
        get_y=parent_label,
        item_tfms=Resize(8),
    )


@pytest.mark.parametrize("kind", ["folder", "memory", "http", "zip", "zip over http", "cached"])
def test_a_data_block_gives_the_same_batches_wherever_the_files_are(
    kind: str, served: str, bucket: str, tmp_path: Path
) -> None:
    there = {
        "folder": str(tmp_path / "my pets"),
        "memory": bucket,
        "http": f"{served}/my%20pets",
        "zip": f"zip://::{tmp_path}/pets.zip",
        "zip over http": f"zip://::simplecache::{served}/pets.zip",
        "cached": f"simplecache::{served}/my%20pets",
    }[kind]
    loaders = pets_block().dataloaders(there, bs=4, num_workers=4, shuffle=False, device="cpu", path=".")
    assert loaders.vocab == ["cat", "dog"]
    batches = list(loaders.valid)
    levels = [round(float(image.mean()) * 255) for images, _ in batches for image in images]
    assert levels == [25, 45, 65, 125, 145, 165]
    assert [int(label) for _, labels in batches for label in labels] == [0, 0, 0, 1, 1, 1]


def test_anything_that_reads_bytes_is_an_image(bucket: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("1.png", photo(7))
    member = zipfile.Path(tmp_path / "one.zip") / "1.png"
    assert (load_image(member) == 7).all()
    assert (load_mask(RemotePath(f"{bucket}/train/cat/1.png")) == 20).all()
    with pytest.raises(DataError, match=r"one\.zip/1\.png has \d+ bytes; the limit is 10"):
        load_image(member, max_memory=10)


def test_a_cache_of_pixels_serves_files_elsewhere_too(bucket: str) -> None:
    block = ImageBlock(cache="memory")
    item = get_image_files(bucket)[0]
    assert (block.open(item) == block.open(item)).all()
    assert (block.spec.kept.hits, block.spec.kept.misses) == (1, 1)
    fsspec.filesystem("memory").pipe_file(f"{bucket}/train/cat/1.png", b"<html>")
    with pytest.raises(DataError, match=rf"{bucket}/train/cat/1\.png \(6 bytes\) cannot be used"):
        block.open(RemotePath(str(item)))


# ---------------------------------------------------------------- refusals


def test_a_damaged_file_is_refused_by_its_address(bucket: str) -> None:
    fsspec.filesystem("memory").pipe_file(f"{bucket}/train/cat/bad.png", b"<html>no")
    with pytest.raises(DataError, match=rf"{bucket}/train/cat/bad\.png.*HTML"):
        load_image(RemotePath(f"{bucket}/train/cat/bad.png"))
    fsspec.filesystem("memory").pipe_file(f"{bucket}/train/cat/bad.png", b"")
    with pytest.raises(DataError, match=rf"{bucket}/train/cat/bad\.png is empty"):
        load_image(RemotePath(f"{bucket}/train/cat/bad.png"))


def test_a_file_that_is_too_large_is_refused_before_or_as_it_is_read(bucket: str) -> None:
    listed = get_image_files(bucket)[0]
    with pytest.raises(DataError, match=rf"has {len(PETS['train/cat/1.png'])} bytes; the limit is 10"):
        listed.read_bytes(10)
    with pytest.raises(DataError, match="has at least 11 bytes; the limit is 10"):
        RemotePath(str(listed)).read_bytes(10)


def test_a_file_that_has_changed_since_it_was_listed_is_refused(bucket: str) -> None:
    listed = get_image_files(bucket)[0]
    fsspec.filesystem("memory").pipe_file(str(listed), b"cut")
    with pytest.raises(DataError, match="gave 3 bytes; the listing says"):
        listed.read_bytes()


def test_what_is_not_there_is_missing(bucket: str, served: str) -> None:
    with pytest.raises(MissingFileError, match=f"there is nothing at {bucket}/lions"):
        get_image_files(f"{bucket}/lions")
    with pytest.raises(MissingFileError, match=r"there is nothing at memory://nowhere\.png"):
        RemotePath("memory://nowhere.png").read_bytes()
    with pytest.raises(MissingFileError, match=f"there is nothing at {served}/lions"):
        get_image_files(f"{served}/lions")
    with pytest.raises(ArgumentError, match="is a file; expected a folder"):
        get_image_files(f"{bucket}/train/cat/1.png")


def test_an_archive_on_a_server_that_gives_no_parts_says_how_to_read_it(served: str) -> None:
    with pytest.raises(DataError, match=r"pets\.zip cannot be read: .*\n  Try zip://::simplecache::http://"):
        get_image_files(f"zip://::{served}/pets.zip")


def test_an_address_in_a_path_is_explained() -> None:
    with pytest.raises(MissingFileError, match="Try the address as text, not as a Path"):
        get_image_files(Path("memory://pets"))


def test_a_protocol_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ArgumentError, match="Try pip install s3fs"):
        get_image_files("s3://bucket/pets")
    with pytest.raises(ArgumentError, match="Protocol not known: petstore"):
        get_image_files("petstore://pets")


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "_PAUSE_SECONDS", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(DataError, match=f"{address}/pets/1.png cannot be read: .*Cannot connect"):
        RemotePath(f"{address}/pets/1.png").read_bytes()
    with pytest.raises(DataError, match=f"{address}/pets cannot be read: .*Cannot connect"):
        get_image_files(f"{address}/pets")


def test_a_server_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(remote, "_SILENT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}/1.png"
        with pytest.raises(DataError, match=f"{address} cannot be read: .*[Tt]imeout"):
            RemotePath(address).read_bytes()


def test_a_request_that_fails_once_is_asked_again(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "_PAUSE_SECONDS", 0.0)
    good = web.body(photo(9), ranges=False)
    address = web.on("/1.png", web.status(503), web.hang_up, good)
    assert RemotePath(address).read_bytes() == photo(9)
    address = web.on("/2.png", web.status(503))
    with pytest.raises(DataError, match=r"2\.png cannot be read: 503"):
        RemotePath(address).read_bytes()
    assert len(web.requests) == 6


def test_a_folder_that_cannot_be_listed_is_not_passed_over(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = type(fsspec.filesystem("memory"))
    ls = memory.ls

    def refuse(self: Any, path: str, *args: Any, **settings: Any) -> Any:
        if path.endswith("dog"):
            raise PermissionError("not yours")
        return ls(self, path, *args, **settings)

    monkeypatch.setattr(memory, "ls", refuse)
    with pytest.raises(DataError, match=f"{bucket}/(train|valid)/dog may not be read: not yours"):
        list_files(bucket, lambda _: True, enters=lambda _: True)
