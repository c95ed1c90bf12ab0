"""Records in shards: Parquet files, here or elsewhere, of which never more is held than memory allows; and writing them.

    shard      a Parquet file: `image`, `label`, … of some thousand records
    piece      one column of one row group of it, a few megabytes: what is fetched at once, and cached
    record     a number; `record["label"]` is a value, `record["image"]` a file that is read when it is opened

Parquet, as it is read by column (labels without pictures), by piece (any record, in any order), and by
everybody: it is what Hugging Face datasets writes and its Hub keeps. `docs/sources.md` has what else was tried.
"""

from __future__ import annotations

import base64
import io
import os
import secrets
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, repeat
from threading import Lock
from types import ModuleType
from typing import Any, Final, SupportsIndex, TypeAlias, cast, overload

import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError, DataError, MissingExtraError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path
from plainlearn.datasets.remote import FileSystem, list_files

__all__ = ["Record", "RecordFile", "Shards", "get_records", "nearby_order", "write_shards"]

# Where in a shard's footer its columns of short values are repeated, so that labels cost no request of their own.
_SHORT_COLUMNS_KEY: Final = b"plainlearn.light"
_SHORT_BYTES: Final = 64  # a value, on average, up to which a column is repeated there
_FOOTER_GUESS: Final = 1 << 16
_READERS: Final = 16  # at once, of footers and short columns: they wait more than they work

Source: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A folder, a file, an address of either, or a list of these."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of `Shards`, by its number; its columns are read when they are asked for."""

    store: Shards
    index: int

    def __getitem__(self, column: str) -> Any:
        if column in self.store.file_columns:
            return RecordFile(self, column)
        return self.store.column(column)[self.index]

    @property
    def group(self) -> int:
        """The number of the row group that it lies in."""
        return self.store.group_of(self.index)

    def __repr__(self) -> str:
        return f"record {self.index} of {self.store.place(self.index)}"


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A file that is kept in a record: bytes, read on demand."""

    record: Record
    column: str

    def read_bytes(self) -> bytes:
        """The bytes. Raises `DataError` if the record has none."""
        return self.record.store.read(self.record.index, self.column)

    def __repr__(self) -> str:
        return f"{self.column!r} of {self.record}"


def get_records(source: Source, memory_bytes: int = 512 << 20, **options: object) -> L[Record]:
    """The records of the Parquet files at `source`: a folder, a file or an address of either, or a list.

    `memory_bytes` is how much of them is held at a time, in each process; `options` are fsspec's storage options.
    A loader that shuffles takes records in an order that is random and yet fetches each piece once an epoch.

    Raises `DataError`, with its name, for a file that is damaged or has other columns than the first.
    """
    return L[Record](Shards(source, memory_bytes, **options))


class Shards(Sequence[Record]):
    """The records of Parquet files, by number. See `get_records`. Any number of threads may read at once."""

    def __init__(self, source: Source, memory_bytes: int = 512 << 20, **options: object) -> None:
        pa, _ = _pyarrow()
        if memory_bytes < 1:
            raise ArgumentError(f"memory_bytes is {memory_bytes}; expected 1 or more")
        self.memory_bytes = memory_bytes
        with ThreadPoolExecutor(_READERS) as pool:
            self._shards: list[_Shard] = list(pool.map(_Shard.open, _files_at(source, options)))
        first = self._shards[0]
        self.columns: tuple[str, ...] = tuple(first.schema.names)
        for shard in self._shards:
            if shard.schema.types != first.schema.types or shard.schema.names != first.schema.names:
                raise DataError(
                    f"{shard.name} has the columns {_described(shard.schema)}; those of {first.name} are {_described(first.schema)}"
                )
        #: The columns that hold whole files as bytes.
        self.file_columns = frozenset(field.name for field in first.schema if _is_file_type(pa, field.type))
        #: Every row group: which shard, which group of it, and where in all its records begin and end.
        self._groups = [
            (shard, group) for shard in self._shards for group in range(shard.metadata.num_row_groups)
        ]
        rows = [shard.metadata.row_group(group).num_rows for shard, group in self._groups]
        self._starts = [0, *accumulate(rows)]
        if not len(self):
            raise DataError(
                f"there is no record in {first.name}{' and the other shards' * (len(self._shards) > 1)}"
            )
        self._columns: dict[str, list[Any]] = {}
        self._reset_cache()

    def _reset_cache(self) -> None:
        self._lock, self._columns_lock = Lock(), Lock()
        self._cache: OrderedDict[tuple[int, str], Future[Any]] = OrderedDict()
        self._cached_bytes = 0

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: SupportsIndex) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> L[Record]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Record | L[Record]:
        if isinstance(index, slice):
            return L[Record](Record(self, number) for number in range(len(self))[index])
        return Record(self, range(len(self))[index])

    def __iter__(self) -> Iterator[Record]:
        return (Record(self, number) for number in range(len(self)))

    def group_of(self, index: int) -> int:
        """The number of the row group of a record."""
        return bisect_right(self._starts, index) - 1

    def place(self, index: int) -> str:
        """The shard of a record."""
        return self._groups[self.group_of(index)][0].name

    @property
    def groups_held(self) -> int:
        """How many row groups fit in half the memory; the other half is for those that threads are at."""
        total = sum(shard.metadata.row_group(group).total_byte_size for shard, group in self._groups)
        return max(1, self.memory_bytes * len(self._groups) // (2 * max(1, total)))

    def column(self, name: str) -> list[Any]:
        """All values of a column that does not hold files; read once, and kept."""
        if name not in self.columns:
            raise DataError(
                f"{self._shards[0].name} has no column {name!r}; its columns are {', '.join(self.columns)}"
            )
        with self._columns_lock:
            if name not in self._columns:
                with ThreadPoolExecutor(_READERS) as pool:
                    parts = list(pool.map(_Shard.values, self._shards, repeat(name)))
                    self._columns[name] = [value for part in parts for value in part]
            return self._columns[name]

    def read(self, index: int, column: str) -> bytes:
        """The file in `column` of a record."""
        group = self.group_of(index)
        value = self._piece(group, column)[index - self._starts[group]].as_py()
        if value is None:
            raise DataError(f"{RecordFile(self[index], column)} is empty; expected a file")
        return value

    def _piece(self, group: int, column: str) -> Any:
        """A column of a row group: kept, being fetched by another thread, or fetched by this one."""
        with self._lock:
            piece = self._cache.get((group, column))
            is_mine = piece is None
            if piece is None:
                piece = self._cache[group, column] = Future()
            self._cache.move_to_end((group, column))
        if is_mine:
            try:
                shard, number = self._groups[group]
                piece.set_result(shard.fetch(number, column))
            except BaseException as error:
                with self._lock:
                    del self._cache[group, column]
                piece.set_exception(error)
                raise
            self._evict(piece.result().nbytes)
        return piece.result()

    def _evict(self, added: int) -> None:
        with self._lock:
            self._cached_bytes += added
            for key, piece in list(self._cache.items())[:-1]:
                if self._cached_bytes <= self.memory_bytes:
                    return
                if piece.done():
                    self._cached_bytes -= piece.result().nbytes
                    del self._cache[key]

    def __getstate__(self) -> dict[str, Any]:
        # A worker process fetches for itself.
        fresh = ("_lock", "_columns_lock", "_cache", "_cached_bytes")
        return {name: value for name, value in self.__dict__.items() if name not in fresh}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset_cache()

    def __repr__(self) -> str:
        return f"Shards({len(self)} records in {len(self._shards)} files: {', '.join(self.columns)})"


@dataclass(frozen=True)
class _Shard:
    """One Parquet file: its footer, and how to fetch parts of it, each by one request."""

    system: FileSystem
    path: str
    size: int
    metadata: Any
    schema: Any

    @property
    def name(self) -> str:
        return self.system.address(self.path).removeprefix("file://")

    @classmethod
    def open(cls, place: tuple[FileSystem, str, int | None]) -> _Shard:
        pa, pq = _pyarrow()
        system, path, known = place
        size = system.size(path) if known is None else known
        start = max(0, size - _FOOTER_GUESS)
        name = system.address(path)
        tail = _read_range(system, path, start, size)
        if size < 12 or tail[-4:] != b"PAR1":
            raise DataError(f"{name} is no Parquet file, or is cut off: it ends with {tail[-4:]!r}")
        footer = int.from_bytes(tail[-8:-4], "little") + 8
        if len(tail) < footer <= size:
            start, tail = size - footer, _read_range(system, path, size - footer, size)
        try:
            file = pq.ParquetFile(_Window(size, start, tail))
            return cls(system, path, size, file.metadata, file.schema_arrow)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{name} is a damaged Parquet file: {error}") from error

    def fetch(self, group: int, column: str) -> Any:
        """One column of one row group, as an Arrow array."""
        pa, pq = _pyarrow()
        found = self.metadata.row_group(group)
        chunks = [found.column(number) for number in range(found.num_columns)]
        chunks = [one for one in chunks if one.path_in_schema.split(".")[0] == column]
        start = min(_chunk_start(chunk) for chunk in chunks)
        end = max(_chunk_start(chunk) + chunk.total_compressed_size for chunk in chunks)
        window = _Window(self.size, start, _read_range(self.system, self.path, start, end))
        try:
            file = pq.ParquetFile(window, metadata=self.metadata)
            array = file.read_row_group(group, columns=[column], use_threads=False)[column].combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"row group {group} of {self.name} is damaged: {error}") from error
        return (
            array.field("bytes")
            if pa.types.is_struct(array.type) and _is_file_type(pa, array.type)
            else array
        )

    def values(self, name: str) -> list[Any]:
        """The values of a column: from the footer if they are repeated there, else group by group."""
        pa, _ = _pyarrow()
        repeated = cast("dict[bytes, bytes]", self.metadata.metadata or {}).get(_SHORT_COLUMNS_KEY)
        if repeated is not None:
            try:
                table = pa.ipc.open_stream(base64.b64decode(repeated)).read_all()
            except (pa.ArrowException, OSError, ValueError) as error:
                raise DataError(f"the footer of {self.name} is damaged: {error}") from error
            if name in table.column_names and len(table) == self.metadata.num_rows:
                return table[name].to_pylist()
        groups = range(self.metadata.num_row_groups)
        return [value for group in groups for value in self.fetch(group, name).to_pylist()]


class _Window(io.RawIOBase):
    """A file of `size` bytes of which only those from `start` on, `data`, are at hand."""

    def __init__(self, size: int, start: int, data: bytes) -> None:
        self._size, self._start, self._data, self._at = size, start, data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        begin = self._at - self._start
        end = self._size - self._start if size < 0 else min(begin + size, self._size - self._start)
        if begin < 0 or end > len(self._data):
            raise OSError(
                f"bytes {self._at} to {self._start + end} are asked for and not described by the footer"
            )
        self._at += end - begin
        return self._data[begin:end]


def nearby_order(items: Sequence[object], draws: torch.Generator) -> Tensor | None:
    """A random order of records in which those of a row group come near each other; None if any will do.

    Each group gets a place at random, and each record one up to `groups_held` places behind its group's.
    So at any time no more groups are in use than memory holds, each is fetched once, one after the other.
    """
    if not items or not isinstance(items[0], Record):
        return None
    store = items[0].store
    records = [item for item in items if isinstance(item, Record) and item.store is store]
    if len(records) < len(items):
        return None
    groups, held = torch.tensor([record.group for record in records]), store.groups_held
    count = int(groups.max()) + 1
    if count <= held:
        return None
    places = torch.randperm(count, generator=draws)[groups]
    return (places + held * torch.rand(len(items), generator=draws, dtype=torch.float64)).argsort(stable=True)


def _files_at(source: Source, options: Mapping[str, Any]) -> list[tuple[FileSystem, str, int | None]]:
    if not isinstance(source, (str, os.PathLike)):
        files = [file for one in source for file in _files_at(one, options)]
        if not files:
            raise DataError("the list of shards is empty")
        return files
    place = os.fspath(source)
    if place.endswith(".parquet"):
        system = FileSystem(place, **options)
        return [(system, system.root, None)]
    found = list_files(
        place, lambda name: name.endswith(".parquet"), enters=lambda name: name[:1] not in "._", **options
    )
    if not found:
        raise DataError(
            f"{place} holds no .parquet file, in itself or below", try_="write_shards(folder, records)"
        )
    return [(*file.location, file.size) for file in found]


def _read_range(system: FileSystem, path: str, start: int, end: int) -> bytes:
    data = system.read(path, start, end)
    if len(data) != end - start:
        address = system.address(path)
        raise DataError(
            f"{address} gave {len(data):,} bytes when asked for {end - start:,}: it has changed, or its server gives no parts",
            try_=f"simplecache::{address}, which fetches it whole, once",
        )
    return data


def _chunk_start(chunk: Any) -> int:
    # Where there is a dictionary it stands before the data; some writers note a 0 where there is none.
    dictionary = chunk.dictionary_page_offset if chunk.has_dictionary_page else None
    return min(dictionary or chunk.data_page_offset, chunk.data_page_offset)


def _is_file_type(pa: ModuleType, kind: Any) -> bool:
    """Whether a column holds whole files: bytes, or the pair of bytes and path that Hugging Face datasets writes."""
    if pa.types.is_struct(kind):
        names = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        return set(names) == {"bytes", "path"} and _is_file_type(pa, names["bytes"])
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _described(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    """pyarrow and its parquet, or what to type."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", needed_for="reading or writing shards", extra="shards") from error
    return cast(ModuleType, pa), cast(ModuleType, pq)


# ---------------------------------------------------------------- writing


def write_shards(
    folder: str | os.PathLike[str],
    records: Iterable[Mapping[str, Any]],
    *,
    shard_bytes: int = 256 << 20,
    group_bytes: int = 2 << 20,
) -> L[Path]:
    """Write `records` as Parquet files of about `shard_bytes` into `folder`, and return these.

    A record maps columns to values: bytes for a picture's file, as it is; text, numbers or lists for the rest.
    `group_bytes` is about how much a reader fetches at once. Labels and other short values are repeated in
    the footer of each file, so that a reader has them without a request of their own.

    Raises `ArgumentError` if the folder holds shards already, `DataError` that tells the number of a
    record that does not fit the first.
    """
    pa, pq = _pyarrow()
    place = Path(folder)
    if shard_bytes < 1 or group_bytes < 1:
        raise ArgumentError(f"shard_bytes is {shard_bytes} and group_bytes {group_bytes}; expected 1 or more")
    if any(place.glob("*.parquet")):
        raise ArgumentError(
            f"{place} holds shards already; these would be mixed with them", try_="an empty folder"
        )
    place.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    groups = _groups(pa, records, group_bytes)
    group = next(groups, None)
    while group is not None:
        shard = place / f"{len(written):05}.parquet"
        # A writing that is broken off leaves nothing that looks whole.
        part = place / f".plainlearn-{secrets.token_hex(8)}.part"
        may_be_short = [field.name for field in group.schema if _may_be_short(pa, field.type)]
        compression = {
            name: "none" if pa.types.is_binary(group.schema.field(name).type) else "zstd"
            for name in group.column_names
        }
        repeated: list[Any] = []
        size = 0
        with pq.ParquetWriter(
            part, group.schema, compression=compression, use_dictionary=may_be_short
        ) as writer:
            while group is not None and size < shard_bytes:
                writer.write_table(group, row_group_size=len(group))
                repeated.append(group.select(may_be_short))
                size += group.nbytes
                group = next(groups, None)
            writer.add_key_value_metadata({_SHORT_COLUMNS_KEY: _as_text(pa, pa.concat_tables(repeated))})
        part.replace(shard)
        written.append(shard)
    if not written:
        raise DataError("there is no record to write")
    return L[Path](written)


def _groups(pa: ModuleType, records: Iterable[Mapping[str, Any]], group_bytes: int) -> Iterator[Any]:
    schema: Any = None
    waiting: list[Mapping[str, Any]] = []
    size = first = 0
    for number, record in enumerate(records):
        if waiting and record.keys() != waiting[0].keys():
            raise DataError(
                f"record {number} has the columns {', '.join(record)}; expected {', '.join(waiting[0])}"
            )
        waiting.append(record)
        size += sum(len(value) if isinstance(value, (bytes, str)) else 8 for value in record.values())
        if size >= group_bytes:
            yield (group := _table(pa, waiting, schema, first))
            schema, waiting, size, first = group.schema, [], 0, number + 1
    if waiting:
        yield _table(pa, waiting, schema, first)


def _table(pa: ModuleType, records: list[Mapping[str, Any]], schema: Any, first: int) -> Any:
    try:
        return pa.Table.from_pylist(records, schema=schema)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"one of the records {first} to {first + len(records) - 1} does not fit the others: {error}"
        ) from error


def _may_be_short(pa: ModuleType, kind: Any) -> bool:
    return pa.types.is_string(kind) or pa.types.is_primitive(kind)


def _as_text(pa: ModuleType, table: Any) -> bytes:
    """The short columns of a shard, for its footer, which holds text."""
    short = [name for name in table.column_names if table[name].nbytes <= _SHORT_BYTES * len(table)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, table.select(short).schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as writer:
        writer.write_table(table.select(short))
    return base64.b64encode(sink.getvalue().to_pybytes())
