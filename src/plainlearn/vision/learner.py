"""A learner for images: the model fitted to the data's channels and classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.optim.groups import Splitter
from plainlearn.optim.optimizers import Adam
from plainlearn.train.callback import Callback
from plainlearn.train.loop import Learner
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.models import body_and_head, create_vision_model


def vision_learner(
    dls: BlockLoaders,
    arch: Callable[..., nn.Module] | nn.Module,
    loss_func: Any = None,
    *,
    pretrained: bool = True,
    n_out: int | None = None,
    metrics: Any = None,
    opt_func: Callable[..., Any] = Adam,
    lr: float | slice = 1e-3,
    splitter: Splitter = body_and_head,
    cut: int | None = None,
    cbs: Callback | Sequence[Callback] | None = None,
    path: str | Path | None = None,
    model_dir: str | Path = "models",
    wd: float | None = None,
    lin_ftrs: Sequence[int] = (512,),
    ps: float = 0.5,
    concat_pool: bool = True,
) -> Learner:
    """A `Learner` whose model is the body of `arch` and a new head with an output for each class of `dls`.

    The loss, when none is given, is the one that the target implies.
    Raises `ArgumentError` when the data do not say how many outputs are needed and `n_out` does not either.
    """
    if pretrained:
        raise ArgumentError(
            "pretrained weights are not offered yet; random ones would be used in silence",
            try_="pretrained=False",
        )
    if n_out is not None and n_out < 1:
        raise ArgumentError(f"n_out is {n_out}; expected 1 or more outputs")
    if n_out is None and not isinstance(dls, BlockLoaders):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(
            f"{type(dls).__name__} do not say how many classes there are",
            try_="n_out=2, or loaders of a DataBlock",
        )
    outputs = n_out if n_out is not None else dls.c
    model = create_vision_model(
        arch, outputs, cut=cut, channels=_channels(dls), lin_ftrs=lin_ftrs, ps=ps, concat_pool=concat_pool
    )
    return Learner(dls, model, loss_func, opt_func, lr, splitter, cbs, metrics, path, model_dir, wd)


cnn_learner = vision_learner  # the course's older name


def _channels(dls: Any) -> int:
    inputs = dls.blocks[: dls.n_inp] if isinstance(dls, BlockLoaders) else ()
    images = [block for block in inputs if isinstance(block, ImageBlock)]
    return images[0].channels if images else 3
