"""Tests of the cache of decoded pixels."""

import copy
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.data.block import DataBlock
from plainlearn.data.blocks import CategoryBlock
from plainlearn.data.split import IndexSplitter
from plainlearn.data.transform import Function
from plainlearn.images import cache as cache_module
from plainlearn.images.cache import PixelCache
from plainlearn.images.files import EncodedImage, read_file
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.vision.blocks import ImageBlock


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAINLEARN_HOME", str(tmp_path / "home"))


class Decoder:
    """Counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, image, scale=1):
        self.asked += 1
        return np.frombuffer(image.data, dtype=np.uint8).reshape(2, -1).copy()


def of_bytes(cache, data, decode):
    return cache.of_image(EncodedImage(data), decode)


@pytest.mark.parametrize("where", ["auto", "memory", "disk"])
def test_the_same_bytes_are_decoded_once(where):
    cache, decode = PixelCache(where), Decoder()
    first = of_bytes(cache, b"abcd", decode)
    again = of_bytes(cache, b"abcd", decode)
    assert decode.asked == 1
    assert (cache.hits, cache.misses) == (1, 1)
    np.testing.assert_array_equal(first, again)
    of_bytes(cache, b"abce", decode)
    assert decode.asked == 2


def test_nothing_is_kept_when_nothing_is_wanted(tmp_path, monkeypatch):
    file, decode = tmp_path / "a.png", Decoder()
    file.write_bytes(b"abcd")
    monkeypatch.setattr(ImageDecoder, "_decoded", lambda _, image, scale: decode(image, scale))
    block = ImageBlock(cache="none")
    for _ in range(2):
        assert block.open(file).tobytes() == b"abcd"
    assert decode.asked == 2 and not (tmp_path / "home").exists()


@pytest.mark.parametrize("where", ["auto", "memory", "disk"])
def test_what_is_shared_cannot_be_changed(where):
    cache, decode = PixelCache(where), Decoder()
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            of_bytes(cache, b"abcd", decode)[:] = 0
    assert of_bytes(cache, b"abcd", decode).tobytes() == b"abcd"


def test_ways_of_decoding_are_kept_apart():
    decode = Decoder()
    of_bytes(PixelCache("disk", "RGB"), b"abcd", decode)
    of_bytes(PixelCache("disk", "L"), b"abcd", decode)
    assert decode.asked == 2


def test_memory_and_disk_are_not_filled_beyond_their_share(tmp_path):
    cache, decode = PixelCache("auto", memory=8, disk=8), Decoder()
    for letter in b"abcdef":
        of_bytes(cache, bytes([letter]) * 4, decode)
    assert len(cache.kept) == 2
    assert len(list((tmp_path / "home").rglob("*.pixels"))) == 2
    for letter in b"abcdef":
        assert of_bytes(cache, bytes([letter]) * 4, decode).tobytes() == bytes([letter]) * 4


def test_a_picture_on_disk_is_mapped_once(monkeypatch):
    of_bytes(PixelCache("disk"), b"abcd", Decoder())
    cache = PixelCache("disk")
    first = of_bytes(cache, b"abcd", Decoder())
    assert of_bytes(cache, b"abcd", Decoder()) is first
    monkeypatch.setattr("plainlearn.images.cache._MOST_MAPS", 0)
    cache = PixelCache("disk")
    assert of_bytes(cache, b"abcd", Decoder()) is not of_bytes(cache, b"abcd", Decoder())


def test_another_process_finds_what_is_on_disk(tmp_path):
    of_bytes(PixelCache("disk"), b"abcd", Decoder())
    script = (
        "from plainlearn.images.cache import PixelCache\n"
        "from plainlearn.images.files import EncodedImage\n"
        "def no(image, scale): raise SystemExit('decoded again')\n"
        "print(PixelCache('disk').of_image(EncodedImage(b'abcd'), no).tobytes())"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "b'abcd'"


def test_a_damaged_entry_is_decoded_again(tmp_path):
    decode = Decoder()
    of_bytes(PixelCache("disk"), b"abcd", decode)
    (entry,) = (tmp_path / "home").rglob("*.pixels")
    whole = entry.read_bytes()
    for count, damaged in enumerate((whole[:-1], whole[:10], b"", whole + b"x", b"\xff" * 8 + whole[8:]), 2):
        entry.write_bytes(damaged)
        assert of_bytes(PixelCache("disk"), b"abcd", decode).tobytes() == b"abcd"
        assert decode.asked == count


def test_a_place_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / "home").write_text("a file where a folder should be")
    cache, decode = PixelCache("disk"), Decoder()
    for _ in range(2):
        assert of_bytes(cache, b"abcd", decode).tobytes() == b"abcd"
    assert decode.asked == 2


def test_threads_share_it():
    cache, decode = PixelCache("memory"), Decoder()
    wanted = [bytes([letter]) * 6 for letter in b"abcdefgh"] * 50
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda data: of_bytes(cache, data, decode).tobytes(), wanted))
    assert got == wanted


def test_a_copy_for_another_process_begins_empty():
    cache = PixelCache("memory", "RGB")
    of_bytes(cache, b"abcd", Decoder())
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert (other.where, other.key, other.kept) == ("memory", "RGB", {})


def test_an_unknown_place_is_refused():
    with pytest.raises(ArgumentError, match=r"cache is 'ram'.*expected 'auto', 'memory', 'disk' or 'none'"):
        PixelCache("ram")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("where", ["memory", "disk", "auto"])
def test_an_image_block_with_a_cache_gives_the_same_pixels_and_decodes_once(where, tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(file)
    plain, kept = ImageBlock().open(file), ImageBlock(cache=where)
    first = kept.open(file)
    monkeypatch.setattr(ImageDecoder, "_decoded", lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(kept.open(file), plain)
    np.testing.assert_array_equal(first, plain)


def test_a_file_that_changes_is_decoded_anew(tmp_path):
    file, block = tmp_path / "a.png", ImageBlock(cache="memory")
    for level in (10, 200):
        Image.new("RGB", (4, 4), (level, level, level)).save(file)
        assert block.open(file).max() == level


def test_a_file_at_rest_is_not_read_again_and_one_that_changed_is(tmp_path, monkeypatch):
    file, block = tmp_path / "a.png", ImageBlock(cache="memory")
    Image.new("L", (4, 4), 10).save(file)
    os.utime(file, (1e9, 1e9))
    monkeypatch.setattr(time, "time", lambda: 4e9)  # long after
    block.open(file)
    monkeypatch.setattr("plainlearn.images.cache.read_file", lambda *_: pytest.fail("read again"))
    assert block.open(file).max() == 10
    monkeypatch.setattr("plainlearn.images.cache.read_file", read_file)
    Image.new("L", (4, 4), 200).save(file)
    os.utime(file, (1e9, 1e9))  # its change is told by the other time, which nobody sets
    assert block.open(file).max() == 200


def test_kept_pixels_are_read_without_a_copy_and_augmented_to_the_same_bits(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for number, file in enumerate(files):
        Image.fromarray(np.roll(pixels, number, axis=0)).save(file)
    batches = {}
    for where in ("none", "memory", "disk"):
        data = DataBlock((ImageBlock(cache=where), CategoryBlock), get_y=lambda file: "a", item_tfms=Resize(24),
                         splitter=IndexSplitter([4]), batch_tfms=aug_transforms(size=16))  # fmt: skip
        loader = data.dataloaders(files, bs=4, num_workers=2, seed=3, device="cpu").train
        batches[where] = [x for _ in range(3) for x, _ in loader]
    for where in ("memory", "disk"):
        assert all(map(torch.equal, batches["none"], batches[where]))


def test_a_function_of_the_users_may_change_what_it_gets(tmp_path):
    file, block = tmp_path / "a.png", ImageBlock(cache="memory")
    Image.new("RGB", (4, 4), (9, 9, 9)).save(file)

    def darken(things):
        things[0][:] = 0
        return things

    change = Function(darken)
    for _ in range(2):
        things = (block.open(file),)
        assert change.on_items(things, (block,), np.random.default_rng(0), train=True)[0].max() == 0
    assert block.open(file).max() == 9


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_kept_pixels_become_tensors_of_their_own(tmp_path, mode):
    file, block = tmp_path / "a.png", ImageBlock(mode, cache="memory")
    Image.new("RGB", (4, 4), (9, 9, 9)).save(file)
    block.encode(block.open(file)).zero_()
    assert block.open(file).max() == 9
    batch = block.place(block.open(file), (4, 4)).materialize()
    assert batch.shape == (1, block.channels, 4, 4)
    batch.zero_()
    assert block.open(file).max() == 9


def test_memory_free_is_that_of_the_smallest_group(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/jobs/mine\n")
    for place, limit, used in (("jobs", "max", "5"), ("jobs/mine", "1000", "400")):
        folder = tmp_path / "groups" / place
        folder.mkdir(parents=True)
        (folder / "memory.max").write_text(limit)
        (folder / "memory.current").write_text(used)
    assert min(cache_module._of_the_groups(tmp_path / "groups", own)) == 600
    assert min(cache_module._of_the_groups(tmp_path / "groups", tmp_path / "none")) > 1 << 60
    assert 0 < cache_module.free_memory() < 1 << 50


def test_copies_for_processes_share_what_one_would_take(monkeypatch):
    monkeypatch.setattr("plainlearn.images.cache.free_memory", lambda: 8000)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    cache = PixelCache("memory")
    assert (cache.memory_left, pickle.loads(pickle.dumps(cache)).memory_left) == (2000, 500)


def test_a_bad_file_is_named_with_a_cache_too(tmp_path):
    file = tmp_path / "page.jpg"
    file.write_text("<html>")
    with pytest.raises(DataError, match=r"page\.jpg.*HTML"):
        ImageBlock(cache="memory").open(file)


def test_blocks_compare_by_their_settings():
    assert ImageBlock(cache="memory") == ImageBlock(cache="memory") != ImageBlock()
