"""The file of tensors and plain data: safetensors with JSON inside, and a hash over every byte. No pickle.

    8 bytes: length of the header
    header, JSON: {"__metadata__": {"plainlearn": version, "sha256": …, "tree": JSON}, name: dtype, shape, place}
    the tensors' bytes

Any safetensors reader opens it. The hash is that of the whole file with zeros in the hash's own place.
It shows damage; it does not show who wrote the file.

Read by safetensors, written by ourselves: its writer (0.8) puts the metadata in another order each time, so that two
files of the same state differ, takes the memory of a whole model more if that is channels-last or on a GPU (432 MB
of 453 where this takes 47), refuses weights that share memory, and tells of a full disk without its number.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from plainlearn.core.describe import describe
from plainlearn.core.errors import (
    ArgumentTypeError,
    DataError,
    MissingFileError,
    PlainlearnError,
    StorageError,
)
from plainlearn.core.trees import flatten, unflatten
from plainlearn.core.wholefile import Mark, whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "TENSORFILE",
    "VERSION",
    "read_array_tree",
    "read_tensorfile",
    "read_tree",
    "write_tensorfile",
    "write_tree",
]

#: Of the format. Files of this version or an older one are read.
VERSION: Final = 1
TENSORFILE: Final = Mark(b'{"__metadata__":{"plainlearn":')

_NO_HASH: Final = b"0" * 64
_HASH_KEY: Final = b'"sha256":"'
_LONGEST_HEADER: Final = 100_000_000  # bytes; safetensors' own limit

_DTYPES: Final = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint16": "U16", "uint32": "U32", "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32",
    "float64": "F64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64",
}  # fmt: skip


def write_tree(path: str | os.PathLike[str], tree: object, *, kind: str, force: bool | None = None) -> None:
    """Write a tree of tensors and plain data (see `core.trees`); `kind` says what it is, for whoever reads it."""
    tensors, plain = flatten(tree)
    write_tensorfile(path, tensors, {"kind": kind, "tree": plain}, force=force)


def read_tree(path: str | os.PathLike[str], *, kind: str) -> Any:
    """The tree that `write_tree` wrote, tensors on the CPU. Raises `DataError` for a file of another kind too."""
    return _tree_of(*read_tensorfile(path), path, kind)


def read_array_tree(path: str | os.PathLike[str], *, kind: str) -> Any:
    """The same with numpy arrays, for programs that do not load torch.

    Raises as that does, and `ArgumentTypeError` for tensors of kinds that numpy does not know, such as bfloat16.
    """
    content, meta = _checked(path)
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, NDArray[Any]] = load(content)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise _damaged(path, str(error)) from error
    except KeyError as error:
        raise ArgumentTypeError(
            f"{path} holds numbers of the kind {error}, which numpy does not know", try_="reading it by torch"
        ) from error
    return _tree_of(arrays, meta, path, kind)


def _tree_of(tensors: Mapping[str, Any], meta: Any, path: str | os.PathLike[str], kind: str) -> Any:
    known = cast("dict[str, Any]", meta) if isinstance(meta, dict) else {}
    if known.get("kind") != kind:
        raise DataError(f"{path} holds {known.get('kind', meta)!r}; expected {kind!r}")
    try:
        return unflatten(tensors, known["tree"])
    except DataError as error:
        raise DataError(f"{path}: {error.what}") from error


def write_tensorfile(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], meta: object, *, force: bool | None = None
) -> None:
    """Write `tensors`, of any device and layout in memory, and `meta`, anything that JSON can hold.

    The file is whole or not there, and replaces one of its kind or, by `force`, any (see `core.wholefile`); as little
    memory is used as the largest tensor takes.
    Raises `ArgumentTypeError` for a tensor that safetensors does not know, such as a sparse one, `StorageError` when
    the file cannot be written.
    """
    header, names = _header(tensors, meta)
    size = len(header) + sum(tensors[name].nbytes for name in names)
    digest = hashlib.sha256(header)
    place = header.index(_HASH_KEY + _NO_HASH) + len(_HASH_KEY)
    with whole_file(path, size, mark=TENSORFILE, force=force) as file:
        file.write(header)
        for name in names:
            data = _bytes_of(tensors[name])
            digest.update(data)
            file.write(data)
        file.seek(place)
        file.write(digest.hexdigest().encode())


def read_tensorfile(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Any]:
    """What `write_tensorfile` wrote: the tensors, on the CPU, and `meta`.

    Every byte is held against the hash first. Raises `DataError` naming the file when it is damaged, empty, of
    another kind or from a newer version, `MissingFileError` when there is none.
    """
    content, meta = _checked(path)
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content), meta
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(path, str(error)) from error


def _checked(path: str | os.PathLike[str]) -> tuple[bytes, Any]:
    """The file's bytes, which are what was written, and its `meta`."""
    content = _read(path)
    header = _checked_header(content, path)
    at = content.find(_HASH_KEY) + len(_HASH_KEY)
    view = memoryview(content)
    digest = hashlib.sha256(view[:at])
    digest.update(_NO_HASH)
    digest.update(view[at + len(_NO_HASH) :])
    if digest.hexdigest().encode() != content[at : at + len(_NO_HASH)]:
        raise _damaged(path, "what it holds is not what was written (its hash differs)")
    try:
        return content, json.loads(header["__metadata__"]["tree"])
    except (ValueError, RecursionError, TypeError) as error:
        raise _damaged(path, str(error)) from error


# ---- writing


def _header(tensors: Mapping[str, Tensor], meta: Any) -> tuple[bytes, list[str]]:
    """The file up to the tensors, without its hash, and the tensors' names in the order of the file."""
    import torch

    kinds = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if kinds[name] not in _DTYPES or tensor.layout is not torch.strided or tensor.is_meta:
            kind = f"{describe(tensor)} ({tensor.layout}, {tensor.dtype}, on {tensor.device})"
            raise ArgumentTypeError(f"the tensor {name} cannot be stored: it is {kind}; expected a plain one")
    metadata = {
        "plainlearn": str(VERSION),
        "sha256": _NO_HASH.decode(),
        "format": "pt",
        "tree": json.dumps(meta, allow_nan=False, separators=(",", ":")),
    }
    described: dict[str, Any] = {"__metadata__": metadata}
    # The widest first, so that every tensor begins where its kind of number may.
    names = sorted(tensors, key=lambda name: -tensors[name].element_size())
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        dtype, shape = _DTYPES[kinds[name]], list(tensors[name].shape)
        described[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, names


def _bytes_of(tensor: Tensor) -> memoryview:
    import torch

    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return cast("Any", flat.view(torch.uint8).numpy()).data


# ---- reading


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        folder = Path(path).parent
        there = sorted(file.name for file in folder.glob("*.safetensors")) if folder.is_dir() else []
        raise MissingFileError(
            f"there is no file {path}" + (f"; {folder} holds {', '.join(there[:8])}" if there else ""),
        ) from error
    except OSError as error:
        what = (
            "it is a folder" if isinstance(error, IsADirectoryError) else str(error.strerror or error).lower()
        )
        raise StorageError(f"{path} cannot be read: {what}; expected a file") from error
    except ValueError as error:  # a name with a zero byte
        raise DataError(f"{str(path)!r} cannot be a file's name: {error}") from error


def _checked_header(content: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    if not content:
        raise _damaged(path, "it is empty")
    if content[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise DataError(
            f"{path} is a pickle, as torch.save writes them, which can run code when it is read; expected a file "
            "that plainlearn wrote",
            try_="learn.load(file, foreign=True), which reads weights and nothing else",
        )
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= min(_LONGEST_HEADER, len(content) - 8):
        if content[8:9] == b"{":
            raise _damaged(path, f"it ends after {len(content)} bytes, within its header")
        raise DataError(f"{path} is no safetensors file; expected one that plainlearn wrote")
    try:
        header: Any = json.loads(content[8 : 8 + length].decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header cannot be read ({error})") from error
    whole = cast("dict[str, Any]", header) if isinstance(header, dict) else {}
    metadata: Any = whole.get("__metadata__")
    if not isinstance(metadata, dict) or "plainlearn" not in metadata:
        raise DataError(
            f"{path} is a safetensors file, but none that plainlearn wrote: it has no hash",
            try_="learn.load(file, foreign=True)",
        )
    known = cast("dict[str, Any]", metadata)
    version = known["plainlearn"]
    if not (isinstance(version, str) and version.isdecimal()) or not {"sha256", "tree"} <= known.keys():
        raise _damaged(path, "its header lacks a part")
    if int(version) > VERSION:
        raise DataError(
            f"{path} is from a newer version of plainlearn: its format is {version}, and this one reads up to {VERSION}",
            try_="pip install --upgrade plainlearn",
        )
    _check_length(whole, len(content) - 8 - length, path)
    return whole


def _check_length(header: dict[str, Any], there: int, path: str | os.PathLike[str]) -> None:
    try:
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        needed = max(map(int, ends), default=0)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(path, "its header lacks a part") from error
    if there != needed:
        raise _damaged(path, f"it should hold {needed} bytes of tensors and holds {there}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice in it")
    return made


def _damaged(path: str | os.PathLike[str], why: str) -> PlainlearnError:
    return DataError(f"{path} is damaged: {why}", try_="another copy of the file")
