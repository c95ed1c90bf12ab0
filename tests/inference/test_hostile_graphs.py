"""Graphs that want other files, memory, code or operations, or are broken: refused by name before onnxruntime sees them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from shipped import draw_pictures, small_learner

from plainlearn.core.errors import DataError
from plainlearn.inference import read_model_file, write_model_file
from plainlearn.inference.onnx_checks import MARK, Graph, read_graph
from plainlearn.inference.onnx_predictor import QuickPredictor, load_predictor

onnx: Any = pytest.importorskip("onnx")
for library in ("onnxscript", "onnxruntime"):
    pytest.importorskip(library)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=6)
    return small_learner(folder).export("good.plain", graph=True)


def first_shared(model: Any) -> Any:
    return next(tensor for tensor in model.graph.initializer if tensor.data_location)


def placed(place: str, **more: str) -> Callable[[Any], None]:
    """The first tensor that is not in the graph is somewhere else."""

    def change(model: Any) -> None:
        tensor = first_shared(model)
        del tensor.external_data[:]
        for key, value in {"location": place, **more}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return change


def of_another(model: Any) -> None:
    """The first one names a weight of another shape."""
    first = first_shared(model)
    other = next(t for t in model.graph.initializer if t.data_location and list(t.dims) != list(first.dims))
    first.external_data[0].value = other.external_data[0].value


def elsewhere_in_an_attribute(model: Any) -> None:
    tensor = onnx.helper.make_tensor("it", 1, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = 1
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=tensor))


def custom_operation(model: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("Run", ["input"], ["ran"], domain="com.somebody"))


def custom_domain(model: Any) -> None:
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))


def a_loop(model: Any) -> None:
    body = onnx.helper.make_graph([], "forever", [], [])
    model.graph.node.append(onnx.helper.make_node("Loop", ["", ""], ["round"], body=body))


def a_function(model: Any) -> None:
    model.functions.append(onnx.helper.make_function("ai.onnx", "Relu", ["x"], ["y"], [], []))


def settings(model: Any) -> None:
    entry = model.metadata_props.add()
    entry.key, entry.value = (
        "ort_config",
        '{"session_options": {"register_custom_ops_library": "/tmp/evil.so"}}',
    )


def training(model: Any) -> None:
    model.training_info.add()


def sparse(model: Any) -> None:
    model.graph.sparse_initializer.add()


def more_outputs(model: Any) -> None:
    model.graph.output.append(onnx.helper.make_tensor_value_info("more", 1, ["images", 3]))


def other_size(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 9


def other_labels(model: Any) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1000


def other_kind(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 8  # text


HOSTILE: dict[str, tuple[Callable[[Any], None], str]] = {
    "another file": (placed("/etc/passwd"), "/etc/passwd"),
    "a file beside": (placed("weights.bin", offset="0", length="4"), "neither in it nor"),
    "a file by our mark": (placed(f"{MARK}/etc/passwd"), "/etc/passwd"),
    "memory of the process": (placed("*/_ORT_MEM_ADDR_/*", offset="4096", length="4"), "neither in it nor"),
    "memory by one entry": (placed("*/_ORT_MEM_ADDR_/*"), "_ORT_MEM_ADDR_"),
    "another weight": (of_another, "for another tensor"),
    "a file in an attribute": (elsewhere_in_an_attribute, "the field 1[34] in a inner"),
    "an operation of somebody's": (custom_operation, "com.somebody"),
    "a domain of operations": (custom_domain, "com.microsoft"),
    "a loop": (a_loop, "the field 6 in a attribute"),
    "a function": (a_function, "the field 25 in a model"),
    "settings of a session": (settings, "the field 14 in a model"),
    "training": (training, "the field 20 in a model"),
    "sparse tensors": (sparse, "the field 15 in a graph"),
    "more outputs": (more_outputs, "'more'"),
    "another size": (other_size, "takes .* and gives"),
    "more labels": (other_labels, "takes .* and gives"),
    "text": (other_kind, "expected images of one size"),
}


def refused(good: Path, target: Path, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = (
        torch.frombuffer(bytearray(content), dtype=torch.uint8)
        if content
        else torch.zeros(0, dtype=torch.uint8)
    )
    write_model_file(target, replace(read_model_file(good), graph=graph))
    monkeypatch.setattr(Graph, "session", lambda *_, **__: pytest.fail("onnxruntime got it"))
    with pytest.raises(DataError, match=reason) as raised:
        load_predictor(target)
    assert target.name in str(raised.value)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_graph_is_refused_by_name(
    kind: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, reason = HOSTILE[kind]
    model = onnx.load_from_string(read_model_file(good).graph.numpy().tobytes())  # pyright: ignore
    change(model)
    refused(good, tmp_path / "hostile.plain", model.SerializeToString(), reason, monkeypatch)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it has 0 graphs"),
        (pickle.dumps(print), "none of plainlearn's"),
        (b"\x3a" + b"\xff" * 12, "none of plainlearn's"),
        (b"\x3a\xff\xff\x03", "ends within"),
        (b"\x0b\x0c", "none of plainlearn's"),
    ],
)
def test_bytes_that_are_no_graph_are_refused(
    content: bytes, reason: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(good, tmp_path / "hostile.plain", content, reason, monkeypatch)


def test_a_graph_cut_anywhere_or_changed_anywhere_is_refused_or_answers(good: Path) -> None:
    content = read_model_file(good)
    whole = bytes(content.graph.numpy())  # pyright: ignore
    for length in range(0, len(whole) - 1, 199):
        with pytest.raises(DataError, match="its graph is none of plainlearn's"):
            read_graph(whole[:length], content.weights)
    for at in range(0, len(whole), 101):
        changed = bytearray(whole)
        changed[at] ^= 0x15
        try:
            read_graph(bytes(changed), content.weights)
        except DataError as error:
            assert "its graph is none of plainlearn's" in str(error)


def test_what_onnxruntime_refuses_is_named_too(good: Path, tmp_path: Path) -> None:
    model = onnx.load_from_string(read_model_file(good).graph.numpy().tobytes())  # pyright: ignore
    model.graph.node[0].op_type = "Nonsense"
    graph = torch.frombuffer(bytearray(model.SerializeToString()), dtype=torch.uint8)
    write_model_file(tmp_path / "it.plain", replace(read_model_file(good), graph=graph))
    with pytest.raises(DataError, match=r"it\.plain cannot be used: its graph cannot be run"):
        QuickPredictor.load(tmp_path / "it.plain")


@pytest.mark.parametrize("part", ["graph", "pipeline", "target"])
def test_other_parts_are_refused_as_by_torch(part: str, good: Path, tmp_path: Path) -> None:
    content = read_model_file(good)
    changed: dict[str, Any] = {
        "graph": torch.zeros(3),
        "pipeline": content.pipeline | {"item_tfms": [{"kind": "os.system", "size": "touch it"}]},
        "target": {
            "kind": "CategoryBlock",
            "vocab": {"__reduce__": "os.system"},
            "sort": True,
            "add_na": False,
        },
    }
    write_model_file(tmp_path / "it.plain", replace(content, **{part: changed[part]}))
    reason = {"graph": "expected bytes", "pipeline": "names 'os.system'", "target": "the vocab of its"}[part]
    with pytest.raises(DataError, match=reason):
        load_predictor(tmp_path / "it.plain")
