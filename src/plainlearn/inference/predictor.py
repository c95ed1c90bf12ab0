"""Predict from a model file, without the code that trained it: `Predictor.load('pets.plain').predict('cat.jpg')`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Self

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.inference.folding import ready_to_predict
from plainlearn.inference.item_predictor import ItemPredictor
from plainlearn.inference.modelfile import ModelFile, read_model_file
from plainlearn.inference.pipeline import InputPipeline
from plainlearn.inference.registry import KNOWN, model_of, target_of
from plainlearn.vision.blocks import ImageBlock

_LARGEST_EXAMPLE: Final = 1024 * 1024  # pixels; whoever made the file, loading it should take little memory


class Predictor(ItemPredictor):
    """What a model file predicts; see `ItemPredictor` for `predict`, `predict_batch` and `predict_many`."""

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
        if model is None and (example := _example(predictor.pipeline)) is not None:
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
                InputPipeline.from_plain(content.pipeline, KNOWN),
                target_of(content),
                content.meaning,
                unlike=content.unlike,
                card=content.card,
                device=device,
            )
        except (DataError, ArgumentError) as error:
            raise type(error)(f"{file} cannot be used: {error.what}", try_=error.try_) from error


def _example(pipeline: InputPipeline) -> Tensor | None:
    """A batch of one picture of noise, as large as the pipeline's; None if that depends on the picture, or is huge."""
    sizes = [
        size for each in (*pipeline.item_tfms, *pipeline.batch_tfms) if (size := getattr(each, "size", None))
    ]
    if len(pipeline.blocks) != 1 or not isinstance(block := pipeline.blocks[0], ImageBlock) or not sizes:
        return None
    height, width = (sizes[-1], sizes[-1]) if isinstance(sizes[-1], int) else sizes[-1]
    if height * width > _LARGEST_EXAMPLE:
        return None
    return torch.rand(1, block.channels, height, width, generator=torch.Generator().manual_seed(0))
