"""`write_onnx(content, 'pets.onnx')`: a model that runs without PyTorch, the preprocessing inside, and the proof that it agrees.

In: `image`, uint8 (N, H, W, C), decoded pixels of any size. Out: `probabilities`, float32. Labels and card are in
the metadata, as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plainlearn._version import __version__
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.wholefile import Mark, check_replaceable, write_whole
from plainlearn.inference.model_card import facts_of
from plainlearn.inference.modelfile import ModelFile
from plainlearn.inference.onnx_graph import needs_onnx, onnx_of
from plainlearn.inference.onnx_reading import GraphReading
from plainlearn.inference.output_spec import OutputSpec, decoded, probabilities
from plainlearn.inference.predictor import Predictor

__all__ = ["Proof", "write_onnx"]

_LARGE: Final = 1024  # numbers: smaller tensors stay as they are
_PRODUCER: Final = "plainlearn"
#: The producer is the second field of the file's first message: its tag, its length, its text.
ONNX_FILE: Final = Mark(b"\x12" + bytes([len(_PRODUCER)]) + _PRODUCER.encode(), within=64)


@dataclass(frozen=True)
class Proof:
    """What was compared: on so many images every label is the same, and no probability differs by more."""

    images: int
    largest_difference: float

    def __str__(self) -> str:
        return f"the same label on {self.images} images, probabilities within {self.largest_difference:.1e}"


def write_onnx(
    content: ModelFile,
    file: str | os.PathLike[str],
    *,
    images: Sequence[Any],
    model: nn.Module | None = None,
    weights: Literal["fp32", "fp16", "int8"] = "fp32",
    tolerance: float = 1e-3,
    force: bool = False,
) -> Proof:
    """Write what a model file holds as ONNX, if onnxruntime then says what plainlearn says.

    Both are run on `images`, real ones such as the model will see. `model` is that of a class of the user's own.
    `weights` are kept as fp16 or int8 on request: smaller files, computed in float32.
    Raises `DataError`, and writes nothing, when a label differs or a probability by more than `tolerance`;
    `ArgumentError` for what ONNX cannot say; `MissingExtraError` without `plainlearn[onnx]`; `StorageError` when `file`
    is there and is none that plainlearn wrote, unless `force`.
    """
    check_replaceable(file, ONNX_FILE, force=force)
    needs_onnx()
    if not images:
        raise ArgumentError(
            "there is no image to prove by that both say the same; expected some real ones",
            try_="images=get_image_files('a_folder')[:16]; plainlearn export FILE --onnx OUT --check IMAGE",
        )
    predictor = Predictor.of(content, "the model", model=model)
    graph = _graph(predictor)
    if weights != "fp32":
        _shrink(graph, weights)
    labels = [str(label) for label in predictor.vocab or ()]
    for key, value in {"labels": labels, "card": facts_of(content)}.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    graph.producer_name, graph.producer_version = _PRODUCER, __version__
    written: bytes = graph.SerializeToString()
    proof = _proof(predictor, written, images, tolerance)
    write_whole(file, written, mark=ONNX_FILE, force=force)
    return proof


class _Whole(nn.Module):
    """From decoded pixels to probabilities."""

    def __init__(self, reading: GraphReading, model: nn.Module, output_spec: OutputSpec) -> None:
        super().__init__()
        self.reading, self.model, self.output_spec = reading, model, output_spec

    def forward(self, image: Tensor) -> Tensor:
        return probabilities(self.model(self.reading(image)), self.output_spec)


def _graph(predictor: Predictor) -> Any:
    whole = _Whole(GraphReading(predictor.reading), predictor.model, predictor.output_spec).eval()
    example = torch.zeros(2, 61, 67, whole.reading.channels, dtype=torch.uint8)
    sizes = {
        0: torch.export.Dim("images"),
        1: torch.export.Dim("height", min=3),
        2: torch.export.Dim("width", min=3),
    }
    return onnx_of(whole, example, sizes, "image", ["probabilities"], folded=True)


def _shrink(model: Any, kind: str) -> None:
    """Keep the large weights as fp16, or as int8 with a scale for each output channel, and widen them when they are used."""
    from onnx import helper, numpy_helper

    nodes: list[Any] = []
    for tensor in list(model.graph.initializer):
        values: NDArray[Any] = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _LARGE or values.ndim < 2:
            continue
        name = str(tensor.name)
        kept: list[tuple[str, Any]]
        model.graph.initializer.remove(tensor)
        if kind == "fp16":
            kept = [(f"{name}_half", values.astype(np.float16))]
            nodes.append(helper.make_node("Cast", [kept[0][0]], [name], to=1))
        else:
            scale = np.abs(values).reshape(len(values), -1).max(1).clip(1e-12) / 127
            by_row = scale.reshape(-1, *[1] * (values.ndim - 1))
            kept = [
                (f"{name}_int8", np.round(values / by_row).astype(np.int8)),
                (f"{name}_scale", scale.astype(np.float32)),
            ]
            nodes.append(helper.make_node("DequantizeLinear", [kept[0][0], kept[1][0]], [name], axis=0))
        model.graph.initializer.extend(numpy_helper.from_array(array, each) for each, array in kept)
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *others])


def _proof(predictor: Predictor, written: bytes, images: Sequence[Any], tolerance: float) -> Proof:
    """Both on the same pixels, one image at a time and two at once."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    run: Callable[[NDArray[Any]], NDArray[Any]] = lambda pixels: session.run(None, {"image": pixels})[0]  # noqa: E731
    largest = 0.0
    for image in images:
        pixels: NDArray[np.uint8] = cast("Any", predictor.reading.picture(image))
        batch = np.ascontiguousarray(pixels.reshape(1, *pixels.shape[:2], -1))
        (ours,) = predictor.predict_batch([pixels])
        twice: Any = np.concatenate([batch, batch[:, ::-1]], axis=0)
        for values in (run(batch)[0], run(twice)[0]):
            theirs = torch.from_numpy(values)
            difference = float((theirs - ours.probabilities).abs().max())
            answer = decoded(theirs[None], predictor.output_spec)[0]
            if not difference <= tolerance or (
                answer.dtype == torch.int64 and not torch.equal(answer, ours.index)
            ):
                name = (
                    Path(str(cast("object", image))).name
                    if isinstance(image, (str, os.PathLike))
                    else "an image"
                )
                raise DataError(
                    f"onnxruntime does not say what plainlearn says of {name}: {answer.tolist()} for {ours.index.tolist()}, "
                    f"and a probability differs by {difference:.1e}; at most {tolerance:g} is allowed. Nothing was written",
                    try_="weights='fp32', or tolerance=, a number that you can live with",
                )
            largest = max(largest, difference)
    return Proof(len(images), largest)
