"""Files that want to run something, or to take the machine's memory, or are broken: each is refused by name, none acts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from shipped import draw_pictures, small_learner

from plainlearn.core import tensorfile
from plainlearn.core.errors import ArgumentError, DataError, PlainlearnError
from plainlearn.core.tensorfile import write_tree
from plainlearn.inference import ModelFile, read_model_file, write_model_file
from plainlearn.inference.model_card import text_of
from plainlearn.inference.predictor import Predictor
from plainlearn.vision.load_learner import load_learner

_KIND = "a model of plainlearn's"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=6)
    return small_learner(folder).export("good.plain")


class Reduced:
    """What a pickle of it would do: make the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def tampered(good: Path, target: Path, /, **changes: Any) -> None:
    """The good file with other parts, its hash right."""
    write_model_file(target, replace(read_model_file(good), **changes))


def with_header(good: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The good file with another header of the safetensors format, its hash right."""
    content = good.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["sha256"] = "0" * 64
    change(header)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    made = struct.pack("<Q", len(text)) + text + content[8 + length :]
    target.write_bytes(
        made.replace(b'"sha256":"' + b"0" * 64, b'"sha256":"' + hashlib.sha256(made).hexdigest().encode())
    )


def overlapping(header: dict[str, Any]) -> None:
    first, second, *_ = [name for name in header if name != "__metadata__"]
    header[second]["data_offsets"] = header[first]["data_offsets"]
    header[second]["dtype"], header[second]["shape"] = header[first]["dtype"], header[first]["shape"]


def huge(header: dict[str, Any]) -> None:
    first = next(name for name in header if name != "__metadata__")
    header[first]["shape"] = [2**40, 2**20]


def deep(header: dict[str, Any]) -> None:
    header["__metadata__"]["tree"] = "[" * 200_000 + "]" * 200_000


def pipeline_with(good: Path, transform: dict[str, Any]) -> dict[str, Any]:
    return read_model_file(good).pipeline | {"item_tfms": [transform]}


def recipe_with(good: Path, **changes: Any) -> dict[str, Any]:
    architecture = read_model_file(good).architecture
    return architecture | {"recipe": architecture["recipe"] | changes}


def meaning_with(good: Path, **changes: Any) -> dict[str, Any]:
    """The parts of the good file, with another meaning than could be made by its class."""
    content = read_model_file(good)
    parts = {name: part for name, part in vars(content).items() if name != "graph"}
    spec = vars(content.output_spec)
    meaning = {"unlike_above" if name == "ood_above" else name: value for name, value in spec.items()}
    ood, _ = parts.pop("ood"), parts.pop("output_spec")
    return {**parts, "unlike": ood, "meaning": {**meaning, **changes}}


def zipped(good: Path, target: Path, marker: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Reduced(marker)))


def torch_saved(good: Path, target: Path, marker: Path) -> None:
    torch.save({"model": Reduced(marker)}, target)


def tree_with(good: Path, target: Path, /, **changes: Any) -> None:
    write_tree(target, {"version": 1} | changes, kind=_KIND)


Hostile = Callable[[Path, Path, Path], Any]

# What each does: (the good file, where to write, the marker whose making means that something ran).
HOSTILE: dict[str, tuple[Hostile, str]] = {
    "a pickle": (lambda g, t, m: t.write_bytes(pickle.dumps(Reduced(m))), "is a pickle"),
    "an old pickle": (lambda g, t, m: t.write_bytes(pickle.dumps(Reduced(m), protocol=0)), "no safetensors file"),
    "a pickle of torch": (torch_saved, "is a pickle"),
    "a zip with a pickle": (zipped, "is a pickle"),
    "a pickle behind the tensors": (
        lambda g, t, m: t.write_bytes(g.read_bytes() + pickle.dumps(Reduced(m))), "should hold"),
    "a script": (lambda g, t, m: t.write_text(f"import os; os.system('touch {m}')"), "no safetensors file"),
    "empty": (lambda g, t, m: t.write_bytes(b""), "it is empty"),
    "truncated": (lambda g, t, m: t.write_bytes(g.read_bytes()[:-1000]), "should hold"),
    "cut in its header": (lambda g, t, m: t.write_bytes(g.read_bytes()[:200]), "ends after 200 bytes"),
    "a flipped bit": (
        lambda g, t, m: t.write_bytes(g.read_bytes()[:-7] + bytes([g.read_bytes()[-7] ^ 1]) + g.read_bytes()[-6:]),
        "not what was written"),
    "an oversized header": (
        lambda g, t, m: t.write_bytes(struct.pack("<Q", 2**62) + g.read_bytes()[8:]), "within its header"),
    "overlapping tensors": (lambda g, t, m: with_header(g, t, overlapping), "is damaged"),
    "a huge shape": (lambda g, t, m: with_header(g, t, huge), "is damaged"),
    "deep JSON": (lambda g, t, m: with_header(g, t, deep), "is damaged"),
    "a newer format": (
        lambda g, t, m: with_header(g, t, lambda h: h["__metadata__"].update(plainlearn="99")), "newer version"),
    "a newer description": (lambda g, t, m: tree_with(g, t, version=3), "newer version"),
    "another kind of file": (lambda g, t, m: write_tree(t, {"a": 1}, kind="weights of a learner"), "weights of a learner"),
    "parts that lack": (lambda g, t, m: tree_with(g, t, weights={}), "has the parts"),
    "a transform to import": (
        lambda g, t, m: tampered(g, t, pipeline=pipeline_with(g, {"kind": "os.system", "size": f"touch {m}"})),
        "names 'os.system'"),
    "a field that calls": (
        lambda g, t, m: tampered(g, t, pipeline=pipeline_with(
            g, {"kind": "Resize", "size": {"__reduce__": ["os.system", f"touch {m}"]}, "method": "crop", "pad_mode": "zeros"})),
        "the size of its Resize"),
    "a function as transform": (
        lambda g, t, m: tampered(g, t, pipeline=pipeline_with(g, {"kind": "Function", "function": "os.system"})),
        "names 'Function'"),
    "fields beyond": (
        lambda g, t, m: tampered(g, t, pipeline=pipeline_with(g, {"kind": "ReadAs", "mode": "cubic", "__class__": "x"})),
        "ReadAs has"),
    "a picture of a terapixel": (
        lambda g, t, m: tampered(g, t, pipeline=pipeline_with(
            g, {"kind": "Resize", "size": 16_385, "method": "crop", "pad_mode": "zeros"})), "are the most"),
    "a network to import": (
        lambda g, t, m: tampered(g, t, architecture=recipe_with(g, network="torchvision:os.system")), "no architecture"),
    "a network from elsewhere": (
        lambda g, t, m: tampered(g, t, architecture=recipe_with(g, network="timm:hf-hub:somebody/something")),
        "no architecture"),
    "a network from a folder": (
        lambda g, t, m: tampered(g, t, architecture=recipe_with(g, network="timm:local-dir:/tmp")), "no architecture"),
    "a model for all the memory": (
        lambda g, t, m: tampered(g, t, architecture=recipe_with(g, head="course", lin_ftrs=(2**40, 2**40))),
        "do not fit|cannot be built"),
    "another network": (
        lambda g, t, m: tampered(g, t, architecture=recipe_with(g, network="timm:test_resnet")), "do not fit"),
    "a class to import": (
        lambda g, t, m: tampered(g, t, architecture={"custom": "os.system"}), "class of the user's own, os.system"),
    "outputs that mean nothing": (
        lambda g, t, m: tree_with(g, t, **meaning_with(g, activation="os.system")), "the activation of its meaning"),
    "a temperature of nought": (lambda g, t, m: tree_with(g, t, **meaning_with(g, temperature=0.0)), "can mean this"),
    "a target that is a transform": (
        lambda g, t, m: tampered(g, t, target={"kind": "ReadAs", "mode": "cubic"}), "is no block"),
    "strange features": (
        lambda g, t, m: tampered(g, t, ood={"middle": torch.zeros(3), "directions": torch.zeros(2, 3)}), "unlike inputs"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_by_name_and_nothing_runs(kind: str, good: Path, tmp_path: Path) -> None:
    make, reason = HOSTILE[kind]
    target, marker = tmp_path / "hostile.plain", tmp_path / "marker"
    make(good, target, marker)
    before = set(sys.modules)
    for load in (Predictor.load, load_learner):
        with pytest.raises(PlainlearnError, match=reason) as raised:
            load(target)
        assert isinstance(raised.value, (DataError, ArgumentError)) and "hostile.plain" in str(raised.value)
    assert not marker.exists()
    assert {
        name
        for name in set(sys.modules) - before
        if not name.startswith(("timm", "torch", "plainlearn", "safetensors"))
    } == set()


def test_the_marker_would_have_been_made(tmp_path: Path) -> None:
    data = pickle.dumps(Reduced(tmp_path / "marker"))
    subprocess.run(
        [sys.executable, "-c", "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"],
        input=data,
        check=True,
    )
    assert (tmp_path / "marker").exists()


def test_a_good_file_holds_no_opcode_and_no_name_to_import(good: Path) -> None:
    content = good.read_bytes()
    length = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + length].decode()
    assert Predictor.load(good).vocab
    for word in ("__reduce__", "import ", "lambda", "builtins", "plainlearn.", "torch."):
        assert word not in text, word
    with pytest.raises((pickle.UnpicklingError, ValueError, EOFError)):  # by what byte it begins with
        pickle.Unpickler(io.BytesIO(content)).load()


def test_a_card_cannot_draw_on_the_terminal(good: Path, tmp_path: Path) -> None:
    card = read_model_file(good).card | {
        "about": "\x1b[2Jgone\nlicence       mine",
        "data": 3,
        "metrics": "many",
    }
    tampered(good, tmp_path / "it.plain", card=card)
    text = text_of(read_model_file(tmp_path / "it.plain"))
    assert "\x1b" not in text and "\nlicence       mine" not in text


def test_the_hash_is_over_every_byte(good: Path, tmp_path: Path) -> None:
    content = bytearray(good.read_bytes())
    place = content.find(tensorfile._HASH_KEY) + 5  # pyright: ignore[reportPrivateUsage]
    for at in (9, place, len(content) // 2, len(content) - 1):
        changed = content.copy()
        changed[at] ^= 4
        (tmp_path / "it.plain").write_bytes(changed)
        with pytest.raises(DataError):
            Predictor.load(tmp_path / "it.plain")


def test_the_parts_of_a_file_are_those_of_its_class(good: Path) -> None:
    assert isinstance(read_model_file(good), ModelFile)
