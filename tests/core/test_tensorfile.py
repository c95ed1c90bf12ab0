"""What is written is read exactly; what was damaged, cut, forged or is another's is refused by name."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from plainlearn.core.errors import ArgumentTypeError, DataError, MissingFileError, StorageError
from plainlearn.core.tensorfile import (
    read_array_tree,
    read_tensorfile,
    read_tree,
    write_tensorfile,
    write_tree,
)

TENSORS = {
    "bool": torch.tensor([True, False]),
    "bytes": torch.arange(3, dtype=torch.uint8),
    "half": torch.tensor([1.5, -0.0], dtype=torch.bfloat16),
    "nothing": torch.empty(0, 4),
    "one": torch.tensor(2.5),
    "specials": torch.tensor([float("nan"), float("-inf"), -0.0], dtype=torch.float64),
    "turned": torch.arange(6.0).reshape(2, 3).t(),
    "waves": torch.tensor([1 + 2j]).conj(),
    'a name: "with" ü, 🐈 and a\nline': torch.ones(1),
}


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    write_tensorfile(path, TENSORS, {"note": "ü 🐈 \u2028", "n": 2**70})
    return path


def test_tensors_come_back_bit_for_bit(file: Path) -> None:
    tensors, meta = read_tensorfile(file)
    assert meta == {"note": "ü 🐈 \u2028", "n": 2**70}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert bits(tensors[name]) == bits(tensor)


def test_any_safetensors_reader_opens_it(file: Path) -> None:
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["plainlearn"] == "1"
        assert torch.equal(opened.get_tensor("turned"), TENSORS["turned"])


def test_a_tensor_that_no_file_can_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"the tensor net\.weight cannot be stored: .*sparse"):
        write_tensorfile(tmp_path / "a", {"net.weight": torch.eye(2).to_sparse()}, None)
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_refused_wherever_it_is(file: Path) -> None:
    content, rng = file.read_bytes(), random.Random(0)
    places = {*range(0, 200, 7), *rng.sample(range(len(content)), 150), len(content) - 1}
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        with pytest.raises(DataError, match=r"a\.safetensors "):
            read_tensorfile(file)


def test_a_file_that_ends_too_soon_or_too_late_is_refused(file: Path) -> None:
    content = file.read_bytes()
    for length in {0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1}:
        file.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.safetensors is "):
            read_tensorfile(file)
    file.write_bytes(content + b"x")
    with pytest.raises(DataError, match="should hold 73 bytes of tensors and holds 74"):
        read_tensorfile(file)


def with_header(content: bytes, change: Any) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header = change(content[8 : 8 + length].decode()).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"plainlearn":"1"',
            '"plainlearn":"2"',
            "from a newer version of plainlearn: its format is 2, .* up to 1",
        ),
        ('"plainlearn":"1"', '"plainlearn":"one"', "is damaged: its header lacks a part"),
        ('"plainlearn":"1",', "", "none that plainlearn wrote"),
        ('"one":{', '"half":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"one":{', "a name stands twice"),
        ('"sha256":"', '"sha256": "', "its hash differs"),
        ('{"__metadata__"', "[" * 100_000 + '{"__metadata__"', "its header cannot be read"),
    ],
)
def test_a_forged_header_is_refused(old: str, new: str, said: str, file: Path) -> None:
    content = with_header(file.read_bytes(), lambda header: header.replace(old, new, 1))
    assert content != file.read_bytes()
    file.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_tensorfile(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged: it is empty"),
        (pickle.dumps({"weight": [1.0]}), "is a pickle, .*which can run code"),
        (b"PK\x03\x04 and so on, as torch.save begins", "is a pickle"),
        (b"\x89PNG\r\n\x1a\n and a picture", "is no safetensors file"),
        (json.dumps({"weight": 1}).encode(), "is no safetensors file"),
    ],
)
def test_another_kind_of_file_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_tensorfile(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_said_with_those_that_are(file: Path) -> None:
    with pytest.raises(MissingFileError, match=r"there is no file .*b\.safetensors; .* holds a\.safetensors"):
        read_tensorfile(file.with_name("b.safetensors"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read: it is a folder"):
        read_tensorfile(tmp_path)


def test_a_tree_is_read_as_the_kind_that_it_was_written_as(tmp_path: Path) -> None:
    tree = {"epoch": 3, "rates": (0.1, float("inf")), "model": {"weight": torch.ones(2)}}
    write_tree(tmp_path / "a", tree, kind="weights")
    back = read_tree(tmp_path / "a", kind="weights")
    assert back["rates"] == tree["rates"]
    assert torch.equal(back["model"]["weight"], torch.ones(2))
    with pytest.raises(DataError, match="a holds 'weights'; expected 'checkpoint'"):
        read_tree(tmp_path / "a", kind="checkpoint")


def test_a_tree_comes_as_arrays_too_and_what_numpy_does_not_know_is_named(tmp_path: Path) -> None:
    tree = {"a": torch.arange(6.0).view(2, 3), "b": [1, (2, "x")], "many": list(range(50))}
    write_tree(tmp_path / "it", tree, kind="numbers")
    found = read_array_tree(tmp_path / "it", kind="numbers")
    assert type(found["a"]) is np.ndarray and found.pop("a").tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert found == {"b": [1, (2, "x")], "many": list(range(50))}
    with pytest.raises(DataError, match="holds 'numbers'; expected 'letters'"):
        read_array_tree(tmp_path / "it", kind="letters")
    write_tree(tmp_path / "it", {"a": torch.ones(2, dtype=torch.bfloat16)}, kind="numbers")
    with pytest.raises(ArgumentTypeError, match="of the kind 'BF16', which numpy does not know"):
        read_array_tree(tmp_path / "it", kind="numbers")
    content = (tmp_path / "it").read_bytes()
    (tmp_path / "it").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match="not what was written"):
        read_array_tree(tmp_path / "it", kind="numbers")
