"""A learner for images: the model fitted to the data's channels and classes, with weights that know pictures already.

And what it makes of them, for the eye: each with its target and the model's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

import torch
from torch import Tensor, nn

from plainlearn.augment.lighting import Normalize
from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.data.block_loaders import BlockLoaders, Grid, show_samples
from plainlearn.data.blocks import CategoryBlock
from plainlearn.data.dataset import ToModel
from plainlearn.losses.balance import balanced_loss
from plainlearn.models.archs import Arch
from plainlearn.models.model import Stats, VisionModel, body_and_head, create_vision_model
from plainlearn.models.unet import create_unet_model
from plainlearn.models.weights import WeightsFile
from plainlearn.optim.groups import Splitter
from plainlearn.train.callback import Callback
from plainlearn.train.learner import Learner
from plainlearn.train.probe import is_class_loss
from plainlearn.train.step import Precision, quickest_safe
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.export import export

if TYPE_CHECKING:
    from plainlearn.core.figures import Axes


def show_results(
    learner: Learner,
    ds_idx: int = 1,
    max_n: int = 9,
    **grid: Unpack[Grid],
) -> None:
    """A `Grid` of the first batch's items with target and answer: as two lines of the title, or, where they are drawn,
    side by side. `ds_idx=0` shows training items.

    Raises `ArgumentError` for loaders that no DataBlock made, and for several targets.
    """
    dls = learner.dls
    if not isinstance(dls, BlockLoaders) or len(dls.blocks) - (dls.n_inp or 0) != 1:
        raise ArgumentError(
            "results are shown for loaders of a DataBlock with one target",
            try_="learn.get_preds(with_input=True, with_decoded=True)",
        )
    batch = dls.loaders[ds_idx].one_batch()
    decoded = learner.get_preds(dl=[batch], with_decoded=True)[-1]
    target = dls.blocks[-1]
    samples = dls.decoded_samples(batch, ds_idx, max_n)
    answered = [(*sample[:-1], target.decode(decoded[i])) for i, sample in enumerate(samples)]
    if target.geometry != "none":  # such a target is seen in its picture, as masks and points are
        both: list[tuple[Any, ...]] = [each for pair in zip(samples, answered, strict=True) for each in pair]
        titles = ["target", "prediction"] * len(samples)
        grid["ncols"] = grid.get("ncols") or 2 * min(len(samples), 2)
        show_samples(dls.blocks, both, **grid, titles=titles)
        return
    no_axes = cast("Axes", None)  # what is read beside its picture draws nothing
    titles = [
        f"{target.show(sample[-1], no_axes)}\n{target.show(answer[-1], no_axes)}"
        for sample, answer in zip(samples, answered, strict=True)
    ]
    show_samples(dls.blocks, samples, **grid, titles=titles)


class VisionLearner(Learner):
    """A `Learner` whose inputs are pictures: it can show what it makes of them, and be exported.

    For any other learner on pictures, `export(learn, file)` and `show_results(learn)` do the same.
    """

    __slots__ = ()

    export = export
    show_results = show_results


class ModelOptions(TypedDict, total=False):
    """Which body the model gets. Without weights it learns from nothing."""

    pretrained: bool
    """Whether it has the weights of its makers, from where these keep them or from an installed package (True)."""
    weights: WeightsFile | None
    """A file with weights in place of those (None)."""
    normalize: bool
    """Whether the model brings pictures to what the weights expect, `learn.model.expects` (True)."""
    cut: int | None
    """Up to which of its parts the network is the body (None: up to its last pooling or classifier)."""
    train_bn: bool | None
    """Whether batch norm in the body learns new averages (None: only without weights)."""


class LearnerOptions(TypedDict, total=False):
    """How it is trained, as in `Learner`."""

    metrics: Any
    """Functions of predictions and targets, or torchmetrics objects, one or several (None)."""
    opt_func: Callable[..., Any]
    """What makes the optimizer (`Adam`)."""
    lr: float | slice
    """The learning rate where `fit` names none (1e-3)."""
    splitter: Splitter
    """The parameters in groups by depth (`body_and_head`; `layer_by_layer` gives every block a rate of its own)."""
    cbs: Callback | Sequence[Callback] | None
    """Callbacks, one or several (None)."""
    path: str | PurePath | None
    """Where files are kept (None: where the data are)."""
    model_dir: str | PurePath
    """The folder of models below `path` ("models")."""
    wd: float | None
    """The weight decay (None: the optimizer's own)."""


class VisionOptions(ModelOptions, LearnerOptions, total=False):
    """What both learners of pictures take besides data, architecture and loss; the default is in brackets."""

    n_out: int | None
    """How many outputs the model has (None: as many as the targets need)."""


def vision_learner(
    dls: BlockLoaders,
    arch: Arch,
    loss_func: Callable[..., Tensor] | None = None,
    *,
    lin_ftrs: Sequence[int] | None = None,
    ps: float | None = None,
    concat_pool: bool | None = None,
    custom_head: Callable[[int, int], nn.Module] | nn.Module | None = None,
    y_range: tuple[float, float] | None = None,
    balance: Literal["auto"] | None = None,
    **options: Unpack[VisionOptions],
) -> VisionLearner:
    """A `Learner` whose model is the body of `arch` and a new head with an output for each class of `dls`.

    `arch` is a constructor such as `resnet18`, any name of timm's such as "convnext_tiny", or a network of your own.
    Of the `options`, see `VisionOptions`, `pretrained=False` leaves out its trained weights and `weights` names a file
    of them. With weights the body starts frozen (`learn.unfreeze()` lets it learn), and the model brings
    pictures to what they expect, whether or not `dls` have a `Normalize`. Loaders that replace `learn.dls` later must
    be normalised alike. For the head see `create_vision_model`. The loss, when none is given, is the one that the
    target implies; `balance="auto"` makes each class in it as important as any other, however rare.

    Raises `ArgumentError` for an architecture that nobody knows and for data that do not say how many outputs are
    needed, `DownloadError` when weights cannot be had: random ones are never used instead.
    """
    create = partial(
        create_vision_model, lin_ftrs=lin_ftrs, ps=ps, concat_pool=concat_pool,
        custom_head=custom_head, y_range=y_range,
    )  # fmt: skip
    learn = _learner("vision_learner", create, dls, arch, loss_func, balance, options)
    if _is_trained(options):
        # Convolutions of photo size run half again as fast so, on CPUs and GPUs; for tiny pictures it costs, hence not always.
        learn.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if is_class_loss(learn.loss_func):
            learn.precision = Precision(quickest_safe(learn.device), learn.device)
    return learn


cnn_learner = vision_learner  # the course's older name


def unet_learner(
    dls: BlockLoaders,
    arch: Arch,
    loss_func: Callable[..., Tensor] | None = None,
    **options: Unpack[VisionOptions],
) -> VisionLearner:
    """A `Learner` that gives each pixel a class: a U-Net on the body of `arch`, for `dls` with a `MaskBlock`.

    All else is as in `vision_learner`, weights and a frozen beginning included. Pictures may be of any size.
    """
    return _learner("unet_learner", create_unet_model, dls, arch, loss_func, None, options)


def _learner(
    name: str,
    create: Callable[..., VisionModel],
    dls: BlockLoaders,
    arch: Arch,
    loss_func: Callable[..., Tensor] | None,
    balance: Literal["auto"] | None,
    options: VisionOptions,
) -> VisionLearner:
    """What `create` makes for these data, in a learner; frozen but for what follows the body, if that has weights."""
    if unknown := options.keys() - VisionOptions.__annotations__.keys():
        raise TypeError(f"{name}() got an unexpected keyword argument {min(unknown)!r}")
    outputs = _outputs(dls, options.get("n_out"), loss_is_implied=loss_func is None)
    if balance is not None:
        loss_func = _balanced(dls, loss_func, balance)
    of_model, of_learner = (
        {option: value for option, value in options.items() if option in kind.__annotations__}
        for kind in (ModelOptions, LearnerOptions)
    )
    model = create(arch, outputs, channels=_channels(dls), given=_normalised_by(dls), **of_model)
    of_learner.setdefault("splitter", body_and_head)
    learn = VisionLearner(dls, model, loss_func, **cast("dict[str, Any]", of_learner))
    if _is_trained(options):
        learn.freeze()
    return learn


def _is_trained(options: VisionOptions) -> bool:
    return options.get("pretrained", True) or options.get("weights") is not None


def _balanced(dls: Any, loss_func: Any, balance: Any) -> Any:
    if balance != "auto" or loss_func is not None:
        wrong = (
            f"balance is {balance!r}; expected 'auto'"
            if balance != "auto"
            else "balance and loss_func are both given"
        )
        raise ArgumentError(wrong, try_="balance='auto', or loss_func=balanced_loss(dls)")
    return balanced_loss(dls)


def _outputs(dls: Any, n_out: Any, *, loss_is_implied: bool) -> int:
    """How many outputs the model needs: `n_out`, or what the targets say."""
    if not isinstance(dls, BlockLoaders):
        if n_out is None:
            raise ArgumentError(
                f"{type(dls).__name__} do not say how many classes there are",
                try_="n_out=2, or loaders of a DataBlock",
            )
        return _checked_outputs(n_out)
    targets = dls.blocks[dls.n_inp :]
    if len(targets) == 1 and isinstance(targets[0], CategoryBlock) and targets[0].outputs == 1:
        raise DataError(
            f"all pictures have the one label {targets[0].vocab[0]!r}, so there is nothing to tell apart",
            try_="looking at dls.counts() and at the function that labels",
        )
    if n_out is None:
        return dls.c
    outputs, known = _checked_outputs(n_out), [block.outputs for block in targets]
    if loss_is_implied and len(known) == 1 and known[0] is not None:
        more_are_fine = isinstance(targets[0], CategoryBlock)
        if outputs < known[0] or (outputs > known[0] and not more_are_fine):
            raise ArgumentError(
                f"n_out is {outputs}, and the targets need {known[0]} outputs", try_="leaving n_out out"
            )
    return outputs


def _checked_outputs(n_out: Any) -> int:
    if isinstance(n_out, bool) or not isinstance(n_out, int):
        raise ArgumentTypeError(f"n_out is {describe(n_out)}; expected a whole number", try_="n_out=2")
    if n_out < 1:
        raise ArgumentError(f"n_out is {n_out}; expected 1 or more outputs")
    return n_out


def _channels(dls: Any) -> int:
    inputs = dls.blocks[: dls.n_inp] if isinstance(dls, BlockLoaders) else ()
    images = [block for block in inputs if isinstance(block, ImageBlock)]
    return images[0].channels if images else 3


def _normalised_by(dls: Any) -> Stats | None:
    """Mean and standard deviation by which the training batches are normalised already, if they are."""
    finish = getattr(dls.train, "after_batch", None)
    if not isinstance(finish, ToModel):
        return None
    found = [transform for transform in finish.transforms if isinstance(transform, Normalize)]
    if len(found) > 1:
        raise ArgumentError(
            f"the batches are normalised {len(found)} times; expected once",
            try_="one Normalize among batch_tfms",
        )
    return (found[0].mean, found[0].std) if found else None
