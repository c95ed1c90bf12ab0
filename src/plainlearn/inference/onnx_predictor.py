"""Predict by the graph in a model file: numpy, Pillow and onnxruntime alone, for the first answer after half a second.

`load_predictor('pets.plain')` takes this way where it can, and torch's where it cannot.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.lists import L
from plainlearn.inference.modelfile import ModelFile, read_model_arrays
from plainlearn.inference.numpy_reading import Reading
from plainlearn.inference.onnx_checks import Graph, read_graph
from plainlearn.inference.output_spec import OutputSpec
from plainlearn.inference.prediction import UNKNOWN, AnyPredictor, Prediction, cannot_say_unknown
from plainlearn.inference.serialize import Kind, Registry, from_plain

if TYPE_CHECKING:
    from plainlearn.inference.predictor import Predictor

__all__ = ["QuickPredictor", "load_predictor"]

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
        known = cast("Mapping[str, Any]", content.unlike)
        self.card, self.meaning, self._target = (
            content.card,
            content.meaning,
            _target(content.target, content.meaning),
        )
        self._reading = Reading(content.pipeline)
        graph = read_graph(cast("Any", content.graph).tobytes(), weights)
        _check(graph, self._reading, len(self._target.labels), known)
        self._known = known if len(graph.outputs) == 2 else None
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
        return L(self._target.labels)

    def read(self, item: Any) -> Values:
        """An item as the network gets it; see `AnyPredictor.read`."""
        return self._reading(item)

    def judged(
        self, samples: Sequence[Values], *, unknown: bool = False
    ) -> tuple[list[Prediction], Values | None]:
        """`answer`, and how unlike each is to what the model learned from, (B,); None where that is not known."""
        outputs, *features = self._run(np.stack(samples))
        values = _probabilities(outputs, self.meaning)
        scores = None if self._known is None else _scores(features[0], self._known)
        limit, strange = self.meaning.unlike_above, np.zeros(len(values), np.bool_)
        if unknown:
            if limit is None or scores is None:
                raise cannot_say_unknown()
            strange = scores > limit
        return [
            Prediction(UNKNOWN, np.int64(-1), row) if odd else self._target.answer(row, self.meaning)
            for row, odd in zip(values, strange, strict=True)
        ], scores

    def __repr__(self) -> str:
        return f"QuickPredictor({len(self._target.labels)} labels, by onnxruntime)"


# ---- what answers are, as blocks and `inference.meaning` say it of tensors


class _Category:
    """One label out of several."""

    def __init__(self, vocab: tuple[Any, ...] | None = None, sort: bool = True, add_na: bool = False) -> None:
        self.labels = (*(("#na#",) if add_na else ()), *(vocab or ()))

    def answer(self, values: Values, meaning: OutputSpec) -> Prediction:
        index = values.argmax()
        return Prediction(self.labels[int(index)], index, values)


class _Several:
    """Those labels whose values are above the threshold."""

    def __init__(self, vocab: tuple[Any, ...] | None = None) -> None:
        self.labels = vocab or ()

    def answer(self, values: Values, meaning: OutputSpec) -> Prediction:
        chosen = values > meaning.threshold
        return Prediction(
            L([label for label, yes in zip(self.labels, chosen, strict=True) if yes]), chosen, values
        )


_TARGETS: Final[Registry] = {
    "CategoryBlock": Kind(_Category, {name: name for name in ("vocab", "sort", "add_na")}),
    "MultiCategoryBlock": Kind(_Several, {"vocab": "vocab"}),
}
#: Which activations an answer of each kind is read from.
_ACTIVATIONS: Final = {_Category: ("softmax", "exp"), _Several: ("sigmoid",)}


def _target(plain: Any, meaning: OutputSpec) -> _Category | _Several:
    kind = cast("Mapping[str, Any]", plain).get("kind")
    if isinstance(kind, str) and kind not in _TARGETS:
        raise ArgumentError(f"answers of the kind {kind!r:.200} are not read from a graph")
    target = from_plain(plain, _TARGETS)
    if meaning.activation not in _ACTIVATIONS[type(target)]:
        raise ArgumentError(f"{meaning.activation} as the activation of {kind} is not read from a graph")
    return target


def _check(graph: Graph, reading: Reading, labels: int, known: Mapping[str, Any]) -> None:
    """Whether what goes into the graph and comes out is what the file describes."""
    width = known["middle"].shape[-1] if "middle" in known else 0
    shapes = {name: tuple(value.shape) for name, value in known.items()}
    if shapes and shapes != {"middle": (width,), "directions": (shapes.get("directions", (0,))[0], width)}:
        raise DataError(f"what the model knows of unlike inputs has the shapes {shapes}")
    inputs = {"input": (0, reading.channels, *reading.size)}
    outputs = {"outputs": (0, labels)} | ({"features": (0, width)} if shapes else {})
    if dict(graph.inputs) != inputs or dict(graph.outputs) != outputs:
        raise DataError(
            f"its graph takes {dict(graph.inputs)} and gives {dict(graph.outputs)}; by the rest of the file that would "
            f"be {inputs} and {outputs}"
        )


def _probabilities(outputs: Values, meaning: OutputSpec) -> Values:
    scaled = outputs.astype(np.float32) / np.float32(meaning.temperature)
    match meaning.activation:
        case "softmax":
            powers = np.exp(scaled - scaled.max(1, keepdims=True))
            return powers / powers.sum(1, keepdims=True)
        case "sigmoid":
            return (1 / (1 + np.exp(-scaled.clip(-80, None)))).astype(np.float32)
        case "exp":
            return np.exp(scaled)
        case "none":
            return scaled


def _scores(features: Values, known: Mapping[str, NDArray[Any]]) -> Values:
    """As `inference.unlike.scores`."""
    centred = features - known["middle"]
    directions = centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-12)
    return 1 - (directions @ known["directions"].T).max(1)
