"""A network as an ONNX graph for a model file: its numbers stay among the file's weights, and it is proved to agree."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, DataError, MissingExtraError
from plainlearn.inference import ood
from plainlearn.inference.modelfile import ModelFile
from plainlearn.inference.onnx_checks import MARK
from plainlearn.inference.onnx_predictor import QuickPredictor, checked_reading

__all__ = ["needs_onnx", "onnx_of", "with_graph"]

_SMALL: Final = 256  # bytes: a tensor below stays in the graph
_AGREES: Final = 1e-4


def with_graph(content: ModelFile, model: nn.Module, images: Sequence[Any]) -> ModelFile:
    """The content with its network as a graph too, which says on `images` what torch says; the card says so, or why not.

    Both run on each image alone and on two at once; labels are the same and probabilities within 1e-4.
    Raises `MissingExtraError` without `plainlearn[onnx]`.
    """
    needs_onnx()
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    content = replace(
        content, weights={name: tensor.detach().cpu() for name, tensor in content.weights.items()}
    )
    try:
        _, shape = checked_reading(content.pipeline)
        example = torch.zeros(2, *shape)
        graph = _shared(_graph(model, example, bool(content.ood)), content.weights)
        whole = replace(content, graph=torch.frombuffer(bytearray(graph), dtype=torch.uint8))
        said = _proof(whole, model, images)
    except (DataError, ArgumentError, RuntimeError, torch.onnx.OnnxExporterError) as error:
        reason = error.what if isinstance(error, (DataError, ArgumentError)) else type(error).__name__
        return replace(content, card=content.card | {"graph": f"none: {reason:.300}"})
    return replace(whole, card=content.card | {"graph": said})


class _Parts(nn.Module):
    """A model with the features before its last layer as a second output."""

    def __init__(self, parts: tuple[list[nn.Module], list[nn.Module]]) -> None:
        super().__init__()
        self.body, self.end = nn.Sequential(*parts[0]), nn.Sequential(*parts[1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.end(features), features


def _graph(model: nn.Module, example: Tensor, with_features: bool) -> Any:
    parts = ood.parts(model) if with_features else None
    whole = (model if parts is None else _Parts(parts)).eval()
    outputs = ["outputs"] if parts is None else ["outputs", "features"]
    return onnx_of(whole, example, {0: torch.export.Dim("images")}, "input", outputs, folded=False)


def onnx_of(
    model: nn.Module,
    example: Tensor,
    free: Mapping[int, Any],
    given: str,
    outputs: Sequence[str],
    *,
    folded: bool,
) -> Any:
    """The model as ONNX's protobuf, without the traces of where it is from; `free` are the sides of any size.

    `folded` also folds batch norm into the weights, which are then no longer the model's own.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's and onnxscript's own, about themselves
        program: Any = torch.onnx.export(
            model, (example,), dynamo=True, dynamic_shapes=(dict(free),), verbose=False,
            input_names=[given], output_names=list(outputs), optimize=folded,
        )  # fmt: skip
        if not folded:
            import onnxscript.optimizer as optimizer

            # What torch's own optimization does first: constants that are told in ten steps each.
            optimizer.fold_constants(program.model, onnx_shape_inference=False)
            optimizer.remove_unused_nodes(program.model)
    made = program.model_proto
    graph = made.graph
    for each in (
        made,
        graph,
        *graph.node,
        *graph.value_info,
        *graph.initializer,
        *graph.input,
        *graph.output,
    ):
        del each.metadata_props[
            :
        ]  # where each was in the source: more than all else together, and nobody's business
        each.ClearField("doc_string")
    return made


def _shared(model: Any, weights: Mapping[str, Tensor]) -> bytes:
    """The graph's bytes, in which tensors that are among the weights are named only."""
    from onnx import numpy_helper

    known = {_key(tensor.numpy()): name for name, tensor in reversed(list(weights.items()))}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        name = known.get(_key(array))
        if name is None or array.nbytes < _SMALL:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", f"{MARK}{name}"
    del model.graph.value_info[:]  # which onnxruntime finds out by itself
    return cast(bytes, model.SerializeToString())


def _key(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    return str(array.dtype), tuple(array.shape), array.tobytes()


def _proof(content: ModelFile, model: nn.Module, images: Sequence[Any]) -> str:
    """What was compared, in a sentence. Raises `DataError` where the two differ."""
    from plainlearn.inference.predictor import Predictor

    if not images:
        raise ArgumentError("there is no image to prove by that both say the same")
    ours = Predictor.of(content, "the model", model=model if "custom" in content.architecture else None)
    theirs = QuickPredictor(_as_arrays(content))
    largest = 0.0
    for image in images:
        expected = ours.predict(image)
        sample = theirs.read(image)
        for found in (theirs.answer([sample])[0], theirs.answer([sample[:, :, ::-1], sample])[1]):
            difference = float(abs(found.probabilities - expected.probabilities.numpy()).max())
            if not difference <= _AGREES or found.label != expected.label:
                raise DataError(
                    f"onnxruntime says {found.label!r} of an image where torch says {expected.label!r}, "
                    f"and a probability differs by {difference:.1e}"
                )
            largest = max(largest, difference)
    return f"the same label as torch's on {len(images)} images, probabilities within {largest:.1e}"


def _as_arrays(content: ModelFile) -> ModelFile:
    """As `read_model_arrays` gives it."""
    parts: dict[str, Any] = {
        name: {key: tensor.numpy() for key, tensor in getattr(content, name).items()}
        for name in ("weights", "ood")
    }
    return replace(content, graph=cast("Any", content.graph).numpy(), **parts)


def needs_onnx() -> None:
    """Raise `MissingExtraError` unless all that ONNX export needs is installed."""
    for library in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(library) is None:
            raise MissingExtraError(library, needed_for="ONNX export", extra="onnx")
