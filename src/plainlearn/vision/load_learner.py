"""`load_learner('pets.plain')`: a learner from a model file, to predict with and to train further."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from torch import nn

from plainlearn.inference.modelfile import read_model_file
from plainlearn.inference.predictor import Predictor
from plainlearn.losses.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat
from plainlearn.models.model import VisionModel, body_and_head
from plainlearn.optim.groups import trainable_params
from plainlearn.vision.file_loaders import FileLoaders, block_of
from plainlearn.vision.learner import VisionLearner

__all__ = ["load_learner"]


def load_learner(
    file: str | os.PathLike[str],
    cpu: bool = True,
    *,
    model: Callable[[], nn.Module] | nn.Module | None = None,
) -> VisionLearner:
    """A learner from what `learn.export` wrote: it predicts at once, and learns on when it is given data.

    `learn.predict(item)`, `learn.dls.test_dl(items)` and `learn.dls.vocab` work as before. To go on training,
    `learn.dls = new_loaders` with the same labels. `cpu=False` uses the GPU if there is one. `model` is as in
    `Predictor.load`, and so are the errors.
    """
    content = read_model_file(file)
    predictor = Predictor.of(content, file, model=model)
    folder, device = Path(file).absolute().parent, "cpu" if cpu else None
    dls = FileLoaders(predictor.reading, block_of(predictor.target), device=device, path=folder)
    loss = dls.loss_func
    if isinstance(loss, (CrossEntropyLossFlat, BCEWithLogitsLossFlat)):
        loss.temperature = predictor.output_spec.temperature
    if isinstance(loss, BCEWithLogitsLossFlat):
        loss.thresh = predictor.output_spec.threshold
    network = predictor.model.requires_grad_(True)
    splitter = body_and_head if isinstance(network, VisionModel) else trainable_params
    return VisionLearner(dls, network, loss, splitter=splitter)
