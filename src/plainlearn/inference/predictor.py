"""Predict from a model file, without the code that trained it: `Predictor.load('pets.plain').predict('cat.jpg')`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from plainlearn.augment.pending import PendingImage
from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, PlainlearnError
from plainlearn.core.lists import L
from plainlearn.data.target_specs import TargetSpec
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.inference import ood
from plainlearn.inference.folding import ready_to_predict
from plainlearn.inference.modelfile import ModelFile, read_model_file
from plainlearn.inference.output_spec import OutputSpec, decoded, probabilities
from plainlearn.inference.prediction import UNKNOWN, AnyPredictor, Prediction, ood_flags
from plainlearn.inference.reading import Reading, target_of
from plainlearn.inference.serialize import checked_fields
from plainlearn.models.model import Recipe, model_from
from plainlearn.models.unet import unet_from
from plainlearn.models.weights import Expects, differences

__all__ = ["Predictor"]

_LARGEST_EXAMPLE: Final = 1024 * 1024  # pixels; whoever made the file, loading it should take little memory


class _Sample(NamedTuple):
    """An item that is opened: what to call it, and a field for each input, of which pictures wait to be read."""

    name: str
    fields: tuple[Any, ...]


class Predictor(AnyPredictor[_Sample, Tensor]):
    """Predicts from pictures as they come: a path, an address, bytes, a Pillow image, an array, as the input block opens.

    It is not changed by predicting, so threads may share it. `card` is what the model file says of itself.
    """

    def __init__(
        self,
        model: nn.Module,
        reading: Reading,
        target: TargetSpec,
        output_spec: OutputSpec,
        *,
        ood: dict[str, Tensor] | None = None,
        card: dict[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.reading, self.target, self.output_spec = reading, target, output_spec
        self._fitted = ood or {}
        self.card = card or {}
        self.model = model.eval().requires_grad_(False).to(self.device)

    @classmethod
    def load(
        cls,
        file: str | os.PathLike[str],
        *,
        model: Callable[[], nn.Module] | nn.Module | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """From what `learn.export` wrote. The training loop is not imported, and nothing in the file is run.

        `model` is needed for a model of a class of your own, and is that class, a function that makes it, or it itself.
        Raises `DataError` naming the file when it is damaged, of another kind or from a newer version,
        `MissingFileError` when there is none, `ArgumentError` when `model` is needed.
        """
        predictor = cls.of(read_model_file(file), file, model=model, device=device)
        if model is None and (example := _example(predictor.reading)) is not None:
            try:
                predictor.model = ready_to_predict(predictor.model, example.to(predictor.device))
            except (RuntimeError, ValueError) as error:
                size = "×".join(map(str, example.shape[2:]))
                raise DataError(
                    f"{file} cannot be used: its model does not take its pictures of {size}: {error}"
                ) from error
        return predictor

    @classmethod
    def of(
        cls,
        content: ModelFile,
        file: str | os.PathLike[str],
        *,
        model: Callable[[], nn.Module] | nn.Module | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """From the content of a file that was read, with the model as it was trained; `file` names it in errors."""
        try:
            return cls(
                model_of(content, model),
                Reading.from_plain(content.pipeline),
                target_of(content.target),
                content.output_spec,
                ood=content.ood,
                card=content.card,
                device=device,
            )
        except (DataError, ArgumentError) as error:
            raise type(error)(f"{file} cannot be used: {error.what}", try_=error.try_) from error

    @property
    def model(self) -> nn.Module:
        """The network, which may be set to another that says the same."""
        return self._model

    @model.setter
    def model(self, model: nn.Module) -> None:
        parts = ood.parts(model) if self._fitted else None
        if parts is not None:
            ood.check_fitted(self._fitted, cast("nn.Linear", parts[1][0]).in_features)
        self._model, self._parts = model, parts

    @property
    def vocab(self) -> L[Any] | None:
        """The labels, in the order of the probabilities; None of a target that has none."""
        return self.target.labels

    def read(self, item: Any) -> _Sample:
        """An item opened and decoded, as `answer` takes it. Threads may read while another answers.

        Raises `DataError` for what cannot be read, `MissingFileError` for a file that is not there.
        """
        # A batch names its items, and to write an array out takes 2 ms.
        name = str(cast("Any", item)) if isinstance(item, (str, os.PathLike)) else describe(item)
        opened = [self.reading.open(item, source) for source in self.reading.inputs]
        return _Sample(
            name,
            tuple(
                self.reading.placed(thing, PendingImage) if isinstance(source, ImageDecoder) else thing
                for source, thing in zip(self.reading.inputs, opened, strict=True)
            ),
        )

    def judged(
        self, samples: Sequence[_Sample], *, unknown: bool = False
    ) -> tuple[list[Prediction], Tensor | None]:
        """`answer`, and how far each is from what the model learned, (B,); None where that is not known."""
        outputs, features = self._run(samples)
        values = probabilities(outputs, self.output_spec).cpu()
        scores = None if features is None else self._scores(features)
        is_ood = ood_flags(scores, self.output_spec, len(values), unknown=unknown)
        answers = [
            Prediction(UNKNOWN, torch.tensor(-1), row)
            if odd
            else Prediction(self.target.decode(answer), answer, row)
            for row, answer, odd in zip(values, decoded(values, self.output_spec), is_ood, strict=True)
        ]
        return answers, scores

    def outputs(self, items: Sequence[Any]) -> Tensor:
        """The model's outputs for the items, before temperature and activation."""
        return self._run([self.read(item) for item in items])[0].cpu()

    def ood_scores(self, items: Sequence[Any]) -> Tensor:
        """How far each item is from what the model learned; see `inference.ood`."""
        return self._scores(self._run([self.read(item) for item in items])[1])

    # ---- on the way

    @torch.inference_mode()
    def _run(self, samples: Sequence[_Sample]) -> tuple[Tensor, Tensor | None]:
        inputs = self.batch(samples)
        if self._parts is None:
            return self.model(*inputs), None
        (x,) = inputs
        for layer in self._parts[0]:
            x = layer(x)
        features = x
        for layer in self._parts[1]:
            x = layer(x)
        return x, features

    def batch(self, samples: Sequence[_Sample]) -> tuple[Tensor, ...]:
        """The model's inputs for these samples, on the device."""
        names = [sample.name for sample in samples]
        columns = zip(*(sample.fields for sample in samples), strict=True)
        return tuple(
            self._sampled(PendingImage.joined(column, names))
            if isinstance(source, ImageDecoder)
            else torch.from_numpy(np.stack(column)).to(self.device)
            for source, column in zip(self.reading.inputs, columns, strict=True)
        )

    def _sampled(self, field: PendingImage) -> Tensor:
        """Pictures read by torch's sampling; for a device that cannot decode, the items' size travels as bytes."""
        if self.device.type != "cpu":
            field = PendingImage.from_batch(field.materialize().to(self.device))
        field = replace(self.reading.moved(field, self.reading.batch_tfms), mode=self.reading.kernel)
        if self.reading.normalisation != ((0.0,), (1.0,)):
            levels = field.levels()
            mean, std = (
                torch.tensor(each, device=levels.device).view(-1, 1) for each in self.reading.normalisation
            )
            field = field.with_curves((levels - mean) / std)
        return field.read()

    def _scores(self, features: Tensor | None) -> Tensor:
        if features is None:
            raise ArgumentError("this model does not know what inputs are unlike its own")
        return torch.from_numpy(ood.scores(features.float().cpu().numpy(), ood.arrays_of(self._fitted)))

    def __repr__(self) -> str:
        labels = "" if self.vocab is None else f", {len(self.vocab)} labels"
        return f"{type(self).__name__}({type(self.model).__name__}{labels}, on {self.device})"


def _example(reading: Reading) -> Tensor | None:
    """A batch of one picture of noise, as large as the model's input; None if that depends on the picture, or is huge."""
    if len(reading.inputs) != 1 or not isinstance(reading.inputs[0], ImageDecoder) or reading.size is None:
        return None
    height, width = reading.size
    if height * width > _LARGEST_EXAMPLE:
        return None
    noise = torch.Generator().manual_seed(0)
    return torch.rand(1, reading.inputs[0].channels, height, width, generator=noise)


def model_of(file: ModelFile, custom: Any = None) -> nn.Module:
    """The model in the file, with its weights. `custom` makes one of the user's own: a class, a function or the model.

    Raises `DataError` when the weights do not fit, before any memory is taken for a model of another size;
    `ArgumentError` when the model is the user's own and `custom` is not given.
    """
    given = file.architecture
    if set(given) == {"custom"}:
        if custom is None:
            raise ArgumentError(
                f"its model is of a class of the user's own, {given['custom']!s:.200}; a model file holds no code, "
                "so the class has to be given",
                try_="model=TheClass, or model=lambda: TheClass(its arguments)",
            )
        model: Any = custom if isinstance(custom, nn.Module) else custom()
        if not isinstance(model, nn.Module):
            raise ArgumentTypeError(f"model= gave {type(model).__name__}; expected an nn.Module")
    else:
        if custom is not None:
            raise ArgumentError(
                "model= is for a class of the user's own, and plainlearn knows this model", try_="no model="
            )
        if set(given) != {"recipe", "expects"}:
            raise DataError(f"its architecture says {sorted(map(str, given))}; expected how it is built")
        recipe = Recipe(**checked_fields(given["recipe"], Recipe, "architecture"))
        expects = given["expects"]
        expects = (
            None if expects is None else Expects(**checked_fields(expects, Expects, "weights' description"))
        )
        built = unet_from if recipe.head == "unet" else model_from
        try:
            with torch.device("meta"):  # no memory yet: what is said must fit what is there
                _refuse(built(recipe), file)
            model = built(recipe)
            model.expects = expects
        except DataError:
            raise
        except (PlainlearnError, RuntimeError, ValueError, TypeError) as error:
            raise DataError(f"its model cannot be built: {error}") from error
    _refuse(model, file)
    model.load_state_dict(file.weights)
    aside = dict(model.named_buffers())
    with torch.no_grad():
        for name, value in file.aside.items():
            if name in aside and aside[name].shape == value.shape:
                aside[name].copy_(value)
    return cast("nn.Module", model)


def _refuse(model: nn.Module, file: ModelFile) -> None:
    if difference := differences(model.state_dict(), file.weights):
        raise DataError(f"its weights do not fit {type(model).__name__}: {difference}")
