"""What predicts: one item or a stream of them, by a model, its pipeline and the meaning of its outputs; from any thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.lists import L
from plainlearn.data.blocks import Block
from plainlearn.data.dataset import Sample
from plainlearn.datasets.remote import RemotePath, is_url
from plainlearn.inference import ood as unlike
from plainlearn.inference.output_spec import OutputSpec, decoded, probabilities
from plainlearn.inference.pipeline import InputPipeline
from plainlearn.inference.prediction import UNKNOWN, AnyPredictor, Prediction, cannot_say_unknown

__all__ = ["UNKNOWN", "ItemPredictor", "Prediction"]


class ItemPredictor(AnyPredictor[Sample, Tensor]):
    """Predicts from pictures as they come: a path, an address, bytes, a Pillow image, an array, as the input block opens.

    It is not changed by predicting, so threads may share it. `card` is what the model file says of itself.
    """

    def __init__(
        self,
        model: nn.Module,
        pipeline: InputPipeline,
        target: Block,
        meaning: OutputSpec,
        *,
        unlike: dict[str, Tensor] | None = None,
        card: dict[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.pipeline, self.target, self.meaning = pipeline, target, meaning
        self.unlike = {name: value.to(self.device) for name, value in (unlike or {}).items()}
        self.card = card or {}
        self.model = model.eval().requires_grad_(False).to(self.device)

    @property
    def model(self) -> nn.Module:
        """The network, which may be set to another that says the same."""
        return self._model

    @model.setter
    def model(self, model: nn.Module) -> None:
        self._model, self._parts = model, _checked_parts(model, self.unlike)

    @property
    def vocab(self) -> L[Any] | None:
        """The labels, in the order of the probabilities; None of a target that has none."""
        return self.target.vocab

    def read(self, item: Any) -> Sample:
        """An item opened and decoded, as `answer` takes it. Threads may read while another answers.

        Raises `DataError` for what cannot be read, `MissingFileError` for a file that is not there.
        """
        return self.pipeline.samples([RemotePath(item) if is_url(item) else item])[0]

    def judged(
        self, samples: Sequence[Sample], *, unknown: bool = False
    ) -> tuple[list[Prediction], Tensor | None]:
        """`answer`, and how unlike each is to what the model learned from, (B,); None where that is not known."""
        outputs, features = self._run(samples)
        values = probabilities(outputs, self.meaning).cpu()
        scores = None if features is None else self._scores(features)
        limit, strange = self.meaning.unlike_above, [False] * len(values)
        if unknown:
            if limit is None or scores is None:
                raise cannot_say_unknown()
            strange = cast("list[bool]", (scores > limit).tolist())
        answers = [
            Prediction(UNKNOWN, torch.tensor(-1), row)
            if odd
            else Prediction(self.target.decode(answer), answer, row)
            for row, answer, odd in zip(values, decoded(values, self.meaning), strange, strict=True)
        ]
        return answers, scores

    def outputs(self, items: Sequence[Any]) -> Tensor:
        """The model's outputs for the items, before temperature and activation."""
        return self._run([self.read(item) for item in items])[0].cpu()

    def strangeness(self, items: Sequence[Any]) -> Tensor:
        """How unlike each item is to what the model learned from; see `inference.unlike`."""
        return self._scores(self._run([self.read(item) for item in items])[1])

    # ---- on the way

    @torch.inference_mode()
    def _run(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor | None]:
        inputs = self.pipeline.batch(samples, self.device)
        if self._parts is None:
            return self.model(*inputs), None
        (x,) = inputs
        for layer in self._parts[0]:
            x = layer(x)
        features = x
        for layer in self._parts[1]:
            x = layer(x)
        return x, features

    def _scores(self, features: Tensor | None) -> Tensor:
        if features is None:
            raise ArgumentError("this model does not know what inputs are unlike its own")
        return unlike.scores(features, self.unlike).cpu()

    def __repr__(self) -> str:
        labels = "" if self.vocab is None else f", {len(self.vocab)} labels"
        return f"{type(self).__name__}({type(self.model).__name__}{labels}, on {self.device})"


def _checked_parts(
    model: nn.Module, known: dict[str, Tensor]
) -> tuple[list[nn.Module], list[nn.Module]] | None:
    """The model in two parts, with its features between, if it is known what they are usually like."""
    found = unlike.parts(model) if known else None
    if found is None:
        return None
    width = cast("nn.Linear", found[1][0]).in_features
    shapes = {name: tuple(value.shape) for name, value in known.items()}
    classes = shapes.get("directions", (0,))[0]
    if shapes != {"middle": (width,), "directions": (classes, width)} or not classes:
        raise DataError(
            f"what the model knows of unlike inputs has the shapes {shapes}; its features are {width}"
        )
    return found
