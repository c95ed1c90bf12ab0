"""Predict by the graph in a model file: numpy, Pillow and onnxruntime alone, for the first answer after half a second.

`load_predictor('pets.plain')` takes this way where it can, and torch's where it cannot.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.lists import L
from plainlearn.data.target_specs import CategorySpec, MultiCategorySpec
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.inference import ood
from plainlearn.inference.modelfile import ModelFile, read_model_arrays
from plainlearn.inference.onnx_checks import Graph, read_graph
from plainlearn.inference.output_spec import OutputSpec, decoded, probabilities
from plainlearn.inference.prediction import UNKNOWN, AnyPredictor, Prediction, ood_flags
from plainlearn.inference.reading import Reading, target_of

if TYPE_CHECKING:
    from plainlearn.inference.predictor import Predictor

__all__ = ["QuickPredictor", "checked_reading", "load_predictor"]

Values = NDArray[np.float32]


def load_predictor(
    file: str | os.PathLike[str], *, device: str = "cpu", by: Literal["onnxruntime", "torch"] | None = None
) -> QuickPredictor | Predictor:
    """What predicts from a model file the quickest: its graph in onnxruntime on the CPU, else torch.

    `by` chooses one. Raises `DataError` naming the file when it is damaged, of another kind or from a newer version,
    `MissingFileError` when there is none, `ArgumentError` when `by` is "onnxruntime" and the file has no graph.
    """
    if by not in (None, "onnxruntime", "torch"):
        raise ArgumentError(f"by is {by!r}; expected 'onnxruntime', 'torch' or nothing")
    if by == "onnxruntime" or (by is None and device == "cpu" and find_spec("onnxruntime") is not None):
        content = _as_arrays(file, needed=by is not None)
        if content is not None and content.graph is not None:
            return QuickPredictor.of(content, file)
        if content is not None and by is not None:
            raise ArgumentError(
                f"{file} holds no graph for onnxruntime: {content.card.get('graph') or 'none was asked for'}",
                try_="learn.export(file, graph=True), or by='torch'",
            )
    from plainlearn.inference.predictor import Predictor

    return Predictor.load(file, device=device)


def _as_arrays(file: str | os.PathLike[str], *, needed: bool) -> ModelFile | None:
    """The file's content, or, unless it is needed, None where numpy does not know its numbers."""
    try:
        return read_model_arrays(file)
    except ArgumentTypeError:
        if needed:
            raise
        return None


class QuickPredictor(AnyPredictor[Values, Values]):
    """Predicts as `Predictor` does, label for label and within 1e-4, by onnxruntime on the CPU; torch is not loaded.

    `read` gives an item as the network gets it, an array (C, h, w); numbers in answers are numpy's.
    """

    def __init__(self, content: ModelFile, *, threads: int = 0) -> None:
        """From what `read_model_arrays` gives. `threads` run the network: by default one for each core."""
        if content.graph is None:
            raise ArgumentError("this model file holds no graph", try_="learn.export(file, graph=True)")
        weights = cast("Mapping[str, NDArray[Any]]", content.weights)
        fitted = cast("Mapping[str, Any]", content.ood)
        self.card, self.output_spec = content.card, content.output_spec
        self.target = _target(content.target, content.output_spec)
        self.reading, shape = checked_reading(content.pipeline)
        graph = read_graph(cast("Any", content.graph).tobytes(), weights)
        _check(graph, shape, len(self.target.labels), fitted)
        self._fitted = fitted if len(graph.outputs) == 2 else None
        self._run = graph.session(weights, threads=threads)

    @classmethod
    def load(cls, file: str | os.PathLike[str], *, threads: int = 0) -> Self:
        """From what `learn.export(file, graph=True)` wrote. Raises as `load_predictor` does."""
        return cls.of(read_model_arrays(file), file, threads=threads)

    @classmethod
    def of(cls, content: ModelFile, file: str | os.PathLike[str], *, threads: int = 0) -> Self:
        """From the content of a file that was read; `file` names it in errors."""
        try:
            return cls(content, threads=threads)
        except (DataError, ArgumentError) as error:
            raise type(error)(f"{file} cannot be used: {error.what}", try_=error.try_) from error

    @property
    def vocab(self) -> L[Any]:
        """The labels, in the order of the probabilities."""
        return self.target.labels

    def read(self, item: Any) -> Values:
        """An item as the network gets it; see `AnyPredictor.read`."""
        return self.reading(item)

    def judged(
        self, samples: Sequence[Values], *, unknown: bool = False
    ) -> tuple[list[Prediction], Values | None]:
        """`answer`, and how far each is from what the model learned, (B,); None where that is not known."""
        outputs, *features = self._run(np.stack(samples))
        values = probabilities(cast("Values", outputs), self.output_spec)
        scores = None if self._fitted is None else ood.scores(features[0], self._fitted)
        is_ood = ood_flags(scores, self.output_spec, len(values), unknown=unknown)
        answers = [
            Prediction(UNKNOWN, np.int64(-1), row)
            if odd
            else Prediction(self.target.decode(answer), answer, row)
            for row, answer, odd in zip(values, decoded(values, self.output_spec), is_ood, strict=True)
        ]
        return answers, scores

    def __repr__(self) -> str:
        return f"QuickPredictor({len(self.target.labels)} labels, by onnxruntime)"


def _target(plain: Any, output_spec: OutputSpec) -> CategorySpec | MultiCategorySpec:
    """What answers are, of the kinds that are read from a graph."""
    target = target_of(plain)
    if not isinstance(target, (CategorySpec, MultiCategorySpec)):
        raise ArgumentError(f"answers of the kind {type(target).__name__} are not read from a graph")
    if output_spec.activation not in target.activations:
        raise ArgumentError(
            f"{output_spec.activation} as the activation of {type(target).__name__} is not read from a graph"
        )
    return target


def checked_reading(plain: Any) -> tuple[Reading, tuple[int, ...]]:
    """How inputs are read, and the shape of one, if numpy can: of one picture in colours or grey, brought to a size."""
    reading = Reading.from_plain(plain)
    first = reading.inputs[0]
    if len(reading.inputs) != 1 or not isinstance(first, ImageDecoder) or first.mode is None:
        raise ArgumentError(
            "this model's inputs are not one picture in colours or grey, which only torch's way reads"
        )
    if reading.size is None:
        raise ArgumentError(
            "the size of this model's inputs depends on the picture, which only torch's way reads"
        )
    return reading, (first.channels, *reading.size)


def _check(graph: Graph, shape: tuple[int, ...], labels: int, fitted: Mapping[str, Any]) -> None:
    """Whether what goes into the graph and comes out is what the file describes."""
    inputs: dict[str, tuple[int, ...]] = {"input": (0, *shape)}
    outputs: dict[str, tuple[int, ...]] = {"outputs": (0, labels)}
    if fitted:
        width = fitted["middle"].shape[-1] if "middle" in fitted else 0
        ood.check_fitted(fitted, width)
        outputs["features"] = (0, width)
    if dict(graph.inputs) != inputs or dict(graph.outputs) != outputs:
        raise DataError(
            f"its graph takes {dict(graph.inputs)} and gives {dict(graph.outputs)}; by the rest of the file that would "
            f"be {inputs} and {outputs}"
        )
