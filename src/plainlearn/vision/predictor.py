"""Predict from a model file, without the code that trained it: `Predictor.load('pets.plain').predict('cat.jpg')`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Self

import torch
from torch import nn

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.inference.modelfile import ModelFile, read_model_file
from plainlearn.inference.pipeline import InputPipeline
from plainlearn.inference.predictor import ItemPredictor
from plainlearn.vision.known import KNOWN, model_of, target_of


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
        return cls.of(read_model_file(file), file, model=model, device=device)

    @classmethod
    def of(
        cls,
        content: ModelFile,
        file: str | os.PathLike[str],
        *,
        model: Callable[[], nn.Module] | nn.Module | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """From the content of a file that was read; `file` names it in errors."""
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
