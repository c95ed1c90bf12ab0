"""Tests of the cache of decoded pixels."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.cache import PixelCache


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAINLEARN_HOME", str(tmp_path / "home"))


class Decoder:
    """Counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, data):
        self.asked += 1
        return np.frombuffer(data, dtype=np.uint8).reshape(2, -1).copy()


@pytest.mark.parametrize("where", ["auto", "memory", "disk"])
def test_the_same_bytes_are_decoded_once(where):
    cache, decode = PixelCache(where), Decoder()
    first = cache.pixels(b"abcd", decode)
    again = cache.pixels(b"abcd", decode)
    assert decode.asked == 1
    assert (cache.hits, cache.misses) == (1, 1)
    np.testing.assert_array_equal(first, again)
    cache.pixels(b"abce", decode)
    assert decode.asked == 2


def test_nothing_is_kept_when_nothing_is_wanted():
    cache, decode = PixelCache("none"), Decoder()
    cache.pixels(b"abcd", decode)
    cache.pixels(b"abcd", decode)
    assert decode.asked == 2


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_what_a_caller_does_to_its_pixels_stays_with_it(where):
    cache, decode = PixelCache(where), Decoder()
    cache.pixels(b"abcd", decode)[:] = 0
    cache.pixels(b"abcd", decode)[:] = 0
    assert cache.pixels(b"abcd", decode).tobytes() == b"abcd"


def test_ways_of_decoding_are_kept_apart():
    decode = Decoder()
    PixelCache("disk", "RGB").pixels(b"abcd", decode)
    PixelCache("disk", "L").pixels(b"abcd", decode)
    assert decode.asked == 2


def test_memory_and_disk_are_not_filled_beyond_their_share(tmp_path):
    cache, decode = PixelCache("auto", memory=8, disk=8), Decoder()
    for letter in b"abcdef":
        cache.pixels(bytes([letter]) * 4, decode)
    assert len(cache.kept) == 2
    assert len(list((tmp_path / "home").rglob("*.npy"))) == 2
    for letter in b"abcdef":
        assert cache.pixels(bytes([letter]) * 4, decode).tobytes() == bytes([letter]) * 4


def test_another_process_finds_what_is_on_disk(tmp_path):
    PixelCache("disk").pixels(b"abcd", Decoder())
    script = (
        "from plainlearn.vision.cache import PixelCache\n"
        "def no(data): raise SystemExit('decoded again')\n"
        "print(PixelCache('disk').pixels(b'abcd', no).tobytes())"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "b'abcd'"


def test_a_damaged_entry_is_decoded_again(tmp_path):
    decode = Decoder()
    PixelCache("disk").pixels(b"abcd", decode)
    (entry,) = (tmp_path / "home").rglob("*.npy")
    entry.write_bytes(entry.read_bytes()[:40])
    assert PixelCache("disk").pixels(b"abcd", decode).tobytes() == b"abcd"
    assert decode.asked == 2


def test_a_place_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / "home").write_text("a file where a folder should be")
    cache, decode = PixelCache("disk"), Decoder()
    for _ in range(2):
        assert cache.pixels(b"abcd", decode).tobytes() == b"abcd"
    assert decode.asked == 2


def test_threads_share_it():
    cache, decode = PixelCache("memory"), Decoder()
    wanted = [bytes([letter]) * 6 for letter in b"abcdefgh"] * 50
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda data: cache.pixels(data, decode).tobytes(), wanted))
    assert got == wanted


def test_a_copy_for_another_process_begins_empty():
    cache = PixelCache("memory", "RGB")
    cache.pixels(b"abcd", Decoder())
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert (other.where, other.key, other.kept) == ("memory", "RGB", {})


def test_an_unknown_place_is_refused():
    with pytest.raises(ArgumentError, match=r"cache is 'ram'.*expected 'auto', 'memory', 'disk' or 'none'"):
        PixelCache("ram")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("where", ["memory", "disk", "auto"])
def test_an_image_block_with_a_cache_gives_the_same_pixels_and_decodes_once(where, tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(file)
    plain, kept = ImageBlock(), ImageBlock(cache=where)
    first = kept.open(file)
    monkeypatch.setattr(ImageBlock, "_decoded", lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(kept.open(file), plain.open(file))
    np.testing.assert_array_equal(first, plain.open(file))


def test_a_file_that_changes_is_decoded_anew(tmp_path):
    file, block = tmp_path / "a.png", ImageBlock(cache="memory")
    for level in (10, 200):
        Image.new("RGB", (4, 4), (level, level, level)).save(file)
        assert block.open(file).max() == level


def test_a_bad_file_is_named_with_a_cache_too(tmp_path):
    file = tmp_path / "page.jpg"
    file.write_text("<html>")
    with pytest.raises(DataError, match=r"page\.jpg.*HTML"):
        ImageBlock(cache="memory").open(file)


def test_blocks_compare_by_their_settings():
    assert ImageBlock(cache="memory") == ImageBlock(cache="memory") != ImageBlock()
