"""Writing shards: records, one after the other, into Parquet files that `get_records` reads well."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path
from plainlearn.datasets.shards import LIGHT_KEY, pyarrow

__all__ = ["write_shards"]

_LIGHT_BYTES: Final = 64  # a value, on average, up to which a column is repeated in the footer


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
    pa, pq = pyarrow()
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
        part = shard.with_suffix(".part")  # a writing that is broken off leaves nothing that looks whole
        light = [field.name for field in group.schema if _is_light(pa, field.type)]
        plain = {
            name: "none" if pa.types.is_binary(group.schema.field(name).type) else "zstd"
            for name in group.column_names
        }
        repeated: list[Any] = []
        size = 0
        with pq.ParquetWriter(part, group.schema, compression=plain, use_dictionary=light) as writer:
            while group is not None and size < shard_bytes:
                writer.write_table(group, row_group_size=len(group))
                repeated.append(group.select(light))
                size += group.nbytes
                group = next(groups, None)
            writer.add_key_value_metadata({LIGHT_KEY: _as_text(pa, pa.concat_tables(repeated))})
        part.replace(shard)
        written.append(shard)
    if not written:
        raise DataError("there is no record to write")
    return L[Path](written)


def _groups(pa: Any, records: Iterable[Mapping[str, Any]], group_bytes: int) -> Iterator[Any]:
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


def _table(pa: Any, records: list[Mapping[str, Any]], schema: Any, first: int) -> Any:
    try:
        return pa.Table.from_pylist(records, schema=schema)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"one of the records {first} to {first + len(records) - 1} does not fit the others: {error}"
        ) from error


def _is_light(pa: Any, kind: Any) -> bool:
    return pa.types.is_string(kind) or pa.types.is_primitive(kind)


def _as_text(pa: Any, table: Any) -> bytes:
    """The short columns of a shard, for its footer, which holds text."""
    short = [name for name in table.column_names if table[name].nbytes <= _LIGHT_BYTES * len(table)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, table.select(short).schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as writer:
        writer.write_table(table.select(short))
    return base64.b64encode(sink.getvalue().to_pybytes())
