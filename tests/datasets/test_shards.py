"""Shards: what was written comes back, by any number of threads and processes, in little memory, in a random order."""

from __future__ import annotations

import io
import itertools
import pickle
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import ArgumentError, DataError, MissingExtraError, MissingFileError
from plainlearn.data import CategoryBlock, DataBlock, DataLoader, IndexSplitter
from plainlearn.datasets import shards as module
from plainlearn.datasets.shards import Shards, get_records, nearby_order, write_shards
from plainlearn.vision.blocks import ImageBlock

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

COUNT = 60
KINDS = ("cat", "dog", "eel")


def photo(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


PHOTOS = [photo(4 * number) for number in range(COUNT)]


def records() -> Iterator[dict[str, Any]]:
    for number, data in enumerate(PHOTOS):
        yield {"image": data, "label": KINDS[number % 3], "number": number}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures in three shards of five groups of four."""
    place = tmp_path_factory.mktemp("shards")
    write_shards(place, records(), group_bytes=4 * len(PHOTOS[0]), shard_bytes=19 * len(PHOTOS[0]))
    return place


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    """Every piece that is fetched."""
    seen: list[tuple[str, int, str]] = []
    fetch = module._Shard.fetch

    def noted(self: Any, group: int, column: str) -> Any:
        seen.append((self.name, group, column))
        return fetch(self, group, column)

    monkeypatch.setattr(module._Shard, "fetch", noted)
    return seen


def contents(found: Any) -> list[bytes]:
    return [record["image"].read_bytes() for record in found]


# ---------------------------------------------------------------- what is written comes back


def test_records_come_back_as_they_were_written(folder: Path) -> None:
    found = get_records(folder)
    assert len(list(folder.iterdir())) > 2
    assert contents(found) == PHOTOS
    assert [(record["label"], record["number"]) for record in found] == [
        (KINDS[number % 3], number) for number in range(COUNT)
    ]


def test_anybody_can_read_the_shards(folder: Path) -> None:
    table = pq.read_table(folder)
    assert table["image"].to_pylist() == PHOTOS
    assert table["number"].to_pylist() == list(range(COUNT))


def test_labels_are_read_without_fetching_anything(folder: Path, fetched: list[Any]) -> None:
    assert [record["label"] for record in get_records(folder)][:4] == ["cat", "dog", "eel", "cat"]
    assert fetched == []


def test_shards_that_others_wrote_are_read_too(tmp_path: Path, fetched: list[Any]) -> None:
    pictures = pa.array([{"bytes": data, "path": f"{number}.png"} for number, data in enumerate(PHOTOS)])
    table = pa.table({"image": pictures, "label": [KINDS[number % 3] for number in range(COUNT)]})
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet", row_group_size=7)
    found = get_records(tmp_path / "train-00000-of-00001.parquet")
    assert [record["label"] for record in found] == table["label"].to_pylist()
    assert {column for _, _, column in fetched} == {"label"}
    assert contents(found) == PHOTOS


def test_the_files_of_a_list_are_one_set_in_its_order(folder: Path) -> None:
    files = sorted(map(str, folder.glob("*.parquet")))
    assert get_records(files[::-1])[-1]["number"] == len(get_records(files[0])) - 1
    assert contents(get_records(files)) == PHOTOS


def test_shards_elsewhere_are_read_by_their_address(folder: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/shards-of-photos", recursive=True)
    try:
        assert contents(get_records("memory://shards-of-photos")) == PHOTOS
        assert (
            contents(get_records("memory://shards-of-photos/00000.parquet"))
            == PHOTOS[: len(get_records(folder / "00000.parquet"))]
        )
    finally:
        memory.rm("/shards-of-photos", recursive=True)


# ---------------------------------------------------------------- many readers, little memory


@pytest.mark.parametrize("memory_bytes", [1, 10_000, 1 << 30])
def test_threads_read_what_one_reader_reads(folder: Path, memory_bytes: int) -> None:
    found = get_records(folder, memory_bytes)
    start = threading.Barrier(8)

    def read(seed: int) -> bool:
        start.wait()
        order = np.random.default_rng(seed).permutation(COUNT)
        return all(found[int(index)]["image"].read_bytes() == PHOTOS[index] for index in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def test_no_more_is_held_than_memory_allows(folder: Path) -> None:
    store = Shards(folder, memory_bytes=1500)
    most = 0
    for record in store:
        record["image"].read_bytes()
        most = max(most, sum(piece.result().nbytes for piece in store._cache.values()))
        assert store._cached_bytes == sum(piece.result().nbytes for piece in store._cache.values())
    assert 0 < most <= 1500


def test_a_piece_that_two_threads_want_is_fetched_once(folder: Path, fetched: list[Any]) -> None:
    found = get_records(folder)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda record: record["image"].read_bytes(), found))
    assert len(fetched) == len(set(fetched))


def test_a_copy_for_another_process_reads_the_same(folder: Path) -> None:
    found = get_records(folder)
    found[0]["image"].read_bytes()
    assert contents(pickle.loads(pickle.dumps(found))) == PHOTOS


# ---------------------------------------------------------------- the order


def test_a_shuffled_epoch_fetches_each_piece_once_though_few_are_held(
    folder: Path, fetched: list[Any]
) -> None:
    probe = Shards(folder)
    assert probe.groups_held >= len(probe._groups)
    found = get_records(folder, memory_bytes=4000)
    held = found[0].store.groups_held
    assert 2 <= held < len(probe._groups)
    order = nearby_order(found, torch.Generator().manual_seed(0))
    assert order is not None
    assert sorted(order.tolist()) == list(range(COUNT))
    contents(found[index] for index in order.tolist())
    assert len(fetched) == len(set(fetched)) == len(probe._groups)


def test_an_order_is_another_with_another_seed_and_the_same_with_the_same(folder: Path) -> None:
    found = get_records(folder, memory_bytes=4000)

    def drawn(seed: int) -> list[int]:
        order = nearby_order(found, torch.Generator().manual_seed(seed))
        assert order is not None
        return order.tolist()

    assert drawn(1) == drawn(1) != drawn(2)
    # Not merely group after group: neighbours in the order are of different groups more often than not.
    groups = [found[index].group for index in drawn(1)]
    assert sum(a != b for a, b in itertools.pairwise(groups)) > COUNT / 2


def test_any_order_will_do_for_what_memory_holds_and_for_other_items(folder: Path) -> None:
    draws = torch.Generator().manual_seed(0)
    assert nearby_order(get_records(folder), draws) is None
    assert nearby_order(["a.jpg", "b.jpg"], draws) is None
    assert nearby_order([*get_records(folder, 1), *get_records(folder, 1)], draws) is None
    assert torch.equal(draws.get_state(), torch.Generator().manual_seed(0).get_state())


# ---------------------------------------------------------------- the same data block


def block() -> DataBlock:
    return DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_small_records,
        splitter=IndexSplitter(range(48, COUNT)),
        get_x="image",
        get_y="label",
        item_tfms=Resize(4),
    )


def get_small_records(source: Any) -> Any:
    return get_records(source, memory_bytes=4000)


def batches(loader: DataLoader) -> list[list[int]]:
    return [[round(float(image.mean()) * 255) for image in images] for images, _ in loader]


def test_a_data_block_learns_labels_without_pictures_and_reads_each_once(
    folder: Path, fetched: list[Any]
) -> None:
    loaders = block().dataloaders(folder, bs=5, num_workers=4, device="cpu", seed=3, path=".")
    assert loaders.vocab == list(KINDS)
    assert loaders.counts()["train"] == dict.fromkeys(KINDS, 16)
    assert [column for _, _, column in fetched] == []
    seen = [
        (level, int(label))
        for images, labels in loaders.valid
        for level, label in zip(
            [round(float(image.mean()) * 255) // 4 for image in images], labels, strict=True
        )
    ]
    assert seen == [(number, number % 3) for number in range(48, COUNT)]


@pytest.mark.parametrize("settings", [{"num_workers": 0}, {"num_workers": 3}])
def test_an_epoch_that_is_resumed_goes_on_where_it_was(folder: Path, settings: dict[str, Any]) -> None:
    def loader() -> DataLoader:
        return block().dataloaders(folder, bs=5, device="cpu", seed=3, path=".", **settings).train

    whole = batches(loader())
    assert len(whole) == 9
    first = loader()
    epoch = iter(first)
    begun = [[round(float(image.mean()) * 255) for image in next(epoch)[0]] for _ in range(4)]
    state = first.state_dict()
    del epoch, first  # killed
    second = loader()
    second.load_state_dict(state)
    assert begun + batches(second) == whole


def test_worker_processes_read_what_threads_read(folder: Path) -> None:
    rows = Numbers(get_records(folder, memory_bytes=4000))
    with_threads = list(DataLoader(rows, batch_size=7, shuffle=True, seed=1, num_workers=2))
    loader = DataLoader(rows, batch_size=7, shuffle=True, seed=1, num_workers=2, processes=True)
    try:
        assert as_lists(loader) == as_lists(with_threads)
    finally:
        loader.close()


def as_lists(batches: Any) -> list[list[list[int]]]:
    return [[column.tolist() for column in batch] for batch in batches]


class Numbers:
    """How long each picture's file is, and its number; a dataset that can be sent to a process."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: int) -> list[int]:
        record = self.found[index]
        return [len(record["image"].read_bytes()), record["number"]]


def parts_of(data: bytes) -> Any:
    """A server's reply that heeds the range that is asked for."""

    def reply(request: Any) -> None:
        first, _, last = (
            request.headers.get("Range", f"bytes=0-{len(data)}").removeprefix("bytes=").partition("-")
        )
        part = data[int(first) : int(last) + 1]
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(part)))
        request.end_headers()
        request.wfile.write(part)

    return reply


def test_more_than_memory_holds_streams_from_a_web_server_each_piece_once(folder: Path, web: Any) -> None:
    pytest.importorskip("aiohttp")
    files = sorted(folder.glob("*.parquet"))
    urls = [web.on(f"/{file.name}", parts_of(file.read_bytes())) for file in files]
    loaders = block().dataloaders(urls, bs=5, num_workers=4, device="cpu", seed=3, path=".")
    items = loaders.datasets.train.items
    before = len(web.requests)
    assert sorted(level for batch in batches(loaders.train) for level in batch)[:3] == [0, 4, 8]
    asked = web.requests[before:]
    assert len(asked) == len({headers["Range"] + path for path, headers in asked})
    assert len(asked) == len({item.group for item in items})


# ---------------------------------------------------------------- refusals


def test_a_column_that_is_not_there_is_named_with_those_that_are(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"00000\.parquet has no column 'labels'; its columns are image, label, number"
    ):
        get_records(folder)[0]["labels"]


def test_a_damaged_picture_is_named_by_its_record(tmp_path: Path) -> None:
    write_shards(tmp_path, [{"image": PHOTOS[0]}, {"image": b"not a photo"}, {"image": None}])
    found = get_records(tmp_path)
    with pytest.raises(DataError, match=r"'image' of record 1 of .*00000\.parquet .*looks like text"):
        ImageBlock().open(found[1]["image"])
    with pytest.raises(DataError, match=r"'image' of record 2 of .*00000\.parquet is empty"):
        ImageBlock().open(found[2]["image"])
    assert repr(found[1]).endswith("00000.parquet")


@pytest.mark.parametrize("cut", [0, 5, 1000])
def test_a_shard_that_is_cut_off_is_named(folder: Path, tmp_path: Path, cut: int) -> None:
    data = (folder / "00000.parquet").read_bytes()
    (tmp_path / "0.parquet").write_bytes(data[:cut])
    with pytest.raises(DataError, match=r"0\.parquet is no Parquet file, or is cut off"):
        get_records(tmp_path)


def test_a_shard_with_a_damaged_piece_is_named(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "00000.parquet").read_bytes())
    data[4:40] = bytes(36)
    (tmp_path / "0.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"row group 0 of .*0\.parquet is damaged"):
        get_records(tmp_path)[0]["image"].read_bytes()


def test_a_shard_with_other_columns_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"1"]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"picture": [b"1"]}), tmp_path / "1.parquet")
    with pytest.raises(
        DataError, match=r"1\.parquet has the columns picture \(binary\); those of .*0\.parquet are image"
    ):
        get_records(tmp_path)


def test_a_folder_without_shards_and_no_folder_at_all_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no \.parquet file"):
        get_records(tmp_path)
    with pytest.raises(MissingFileError, match="nowhere"):
        get_records(tmp_path / "nowhere")
    with pytest.raises(DataError, match="the list of shards is empty"):
        get_records([])
    with pytest.raises(ArgumentError, match="memory_bytes is 0"):
        get_records(tmp_path, 0)


def test_a_server_that_gives_no_parts_says_what_to_do(folder: Path, web: Any) -> None:
    pytest.importorskip("aiohttp")
    data = (folder / "00000.parquet").read_bytes()
    system = module.FileSystem(web.on("/0.parquet", web.body(data, ranges=False)))
    with pytest.raises(DataError, match=r"gave [\d,]+ bytes when asked for 10: .*\n  Try simplecache::http"):
        module._read_range(system, system.root, 5, 15)


def test_writing_refuses_what_would_mix_or_not_fit(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="holds shards already"):
        write_shards(folder, records())
    with pytest.raises(DataError, match="record 1 has the columns image; expected image, label"):
        write_shards(tmp_path / "a", [{"image": b"1", "label": "cat"}, {"image": b"1"}])
    with pytest.raises(DataError, match="one of the records 1 to 1 does not fit the others"):
        write_shards(tmp_path / "b", [{"label": "cat"}, {"label": 7}], group_bytes=1)
    with pytest.raises(DataError, match="there is no record to write"):
        write_shards(tmp_path / "c", [])
    assert not list(tmp_path.glob("*/*.parquet"))


def test_without_pyarrow_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "plainlearn\[shards\]"'):
        get_records(folder)
