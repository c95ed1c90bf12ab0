"""Models for images: a body that somebody designed, and a head for the task at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, ShapeError


class AdaptiveConcatPool2d(nn.Module):
    """The largest and the average activation of each channel: (B, C, H, W) to (B, 2C, 1, 1)."""

    def __init__(self, size: int = 1) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        pooled = (
            nn.functional.adaptive_max_pool2d(x, self.size),
            nn.functional.adaptive_avg_pool2d(x, self.size),
        )
        return torch.cat(pooled, dim=1)


class Flatten(nn.Module):
    """Everything but the batch in one axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def create_body(model: nn.Module, cut: int | None = None, *, channels: int = 3) -> nn.Sequential:
    """The convolutional part of `model`: its parts before the last pooling and the classifier, or up to `cut`.

    `cut` counts as in `parts[:cut]`: -2 leaves out the last two. The parts must be called one after
    another. With other than three `channels` the first convolution is replaced by one of that many.
    Raises `ArgumentError` where the end of the body is not known, or nothing is left.
    """
    children = list(model.children())
    if cut is None:
        cut = _end_of_body(children)
        if cut is None:
            raise ArgumentError(
                f"{type(model).__name__} has no pooling layer or classifier after its last convolution, so where the "
                f"body ends is not known; its parts are {', '.join(type(child).__name__ for child in children)}",
                try_="cut=-2 (up to which part to keep)",
            )
    body = nn.Sequential(*children[:cut])
    if not len(body) or abs(cut) > len(children):
        raise ArgumentError(
            f"cut={cut} does not divide the {len(children)} parts of {type(model).__name__}; expected a body before it",
            try_="cut=-2",
        )
    if channels != 3:
        _replace_first_convolution(body, channels)
    return body


def _end_of_body(children: Sequence[nn.Module]) -> int | None:
    """The first pooling or classifier behind the last convolution; pooling between convolutions is the body's."""
    with_convolution = [place for place, child in enumerate(children)
                        if any(isinstance(part, nn.Conv2d) for part in child.modules())]  # fmt: skip
    first = with_convolution[-1] + 1 if with_convolution else 0
    ends = (
        nn.Linear,
        nn.Flatten,
        Flatten,
        AdaptiveConcatPool2d,
        nn.AdaptiveAvgPool2d,
        nn.AdaptiveMaxPool2d,
        nn.AvgPool2d,
    )
    for place in range(first, len(children)):
        if any(isinstance(part, ends) for part in children[place].modules()):
            return place
    return None


def _replace_first_convolution(body: nn.Module, channels: int) -> None:
    for parent in body.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                made = nn.Conv2d(
                    channels, child.out_channels, child.kernel_size, child.stride, child.padding,  # pyright: ignore[reportArgumentType]
                    child.dilation, child.groups, child.bias is not None, child.padding_mode,  # pyright: ignore[reportArgumentType]
                    device=child.weight.device, dtype=child.weight.dtype,
                )  # fmt: skip
                setattr(parent, name, made)
                return
    raise ArgumentError("the model has no convolution, so its number of input channels cannot be changed")


def create_head(
    features: int,
    n_out: int,
    lin_ftrs: Sequence[int] = (512,),
    ps: float = 0.5,
    *,
    concat_pool: bool = True,
) -> nn.Sequential:
    """Pooling, then linear layers with batch norm and dropout: (B, `features`, H, W) to (B, `n_out`).

    `lin_ftrs` are the widths between; `ps` is the dropout before the last layer, half of it before the others.
    """
    widths = [features * 2 if concat_pool else features, *lin_ftrs]
    layers: list[nn.Module] = [AdaptiveConcatPool2d() if concat_pool else nn.AdaptiveAvgPool2d(1), Flatten()]
    for width, following in pairwise(widths):
        linear = nn.Linear(width, following, bias=False)  # the batch norm behind it has the bias
        layers += [nn.BatchNorm1d(width), nn.Dropout(ps / 2), linear, nn.ReLU(inplace=True)]
    layers += [nn.BatchNorm1d(widths[-1]), nn.Dropout(ps), nn.Linear(widths[-1], n_out, bias=False)]
    head = nn.Sequential(*layers)
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return head


class VisionModel(nn.Sequential):
    """A body and a head, one after the other: (B, C, H, W) to (B, `n_out`)."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] (torch calls it input)
        if self.training and len(x) == 1:
            raise ShapeError(
                "the training batch has one image, and batch norm compares the images of a batch; expected two or more",
                try_="another bs=, or drop_last=True if only the last batch is so short",
            )
        body, head = self
        return cast(Tensor, head(body(x)))


def create_vision_model(
    arch: Callable[..., nn.Module] | nn.Module,
    n_out: int,
    *,
    cut: int | None = None,
    channels: int = 3,
    lin_ftrs: Sequence[int] = (512,),
    ps: float = 0.5,
    concat_pool: bool = True,
) -> VisionModel:
    """Body and head as one `nn.Sequential` of two parts. `arch` is a constructor such as torchvision's, or a model.

    Raises `ArgumentTypeError` for what is neither. A model that is given is not copied: the body is its own.
    """
    body = create_body(_built(arch), cut, channels=channels)
    head = create_head(_features(body, channels), n_out, lin_ftrs, ps, concat_pool=concat_pool)
    return VisionModel(body, head)


def body_and_head(model: nn.Module) -> list[list[nn.Parameter]]:
    """A splitter: stem and first half of the body, second half, head; three depths for discriminative rates.

    Raises `ArgumentError` for a model that is not a body and a head.
    """
    halves = list(model.children())
    if len(halves) != 2:
        raise ArgumentError(
            f"{type(model).__name__} has {len(halves)} parts; expected two, a body and a head",
            try_="create_vision_model, or splitter=trainable_params for one group",
        )
    body, head = halves
    parts: list[nn.Module] = list(body.children())
    while len(parts) == 1 and any(True for _ in parts[0].children()):  # a body within a body
        parts = list(parts[0].children())
    # By the number of parameters a ResNet's last two stages hold most; by order they are the late ones.
    weighty = [part for part in parts if any(True for _ in part.parameters())]
    middle = len(weighty) - 2 if len(weighty) > 3 else len(weighty) // 2
    early = [p for part in weighty[:middle] for p in part.parameters()]
    known = set(map(id, early))
    late = [p for p in body.parameters() if id(p) not in known]
    return [early, late, list(head.parameters())]


def _built(arch: Any) -> nn.Module:
    if isinstance(arch, nn.Module):
        return arch
    if not callable(arch):
        name = arch if isinstance(arch, str) and arch.isidentifier() else "resnet18"
        raise ArgumentTypeError(
            f"arch is {arch!r}; expected a function that makes a model, or a model",
            try_=f"vision_learner(dls, {name}), the function and not its name",
        )
    model = arch()
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"arch gave {type(model).__name__}; expected an nn.Module")
    return model


def _features(body: nn.Module, channels: int) -> int:
    """How many channels leave the body, found by sending a small picture through."""
    was_training = body.training
    body.eval()
    weight = next(body.parameters(), torch.zeros(()))
    try:
        with torch.no_grad():
            out = body(torch.zeros(1, channels, 64, 64, device=weight.device, dtype=weight.dtype))
    except Exception as error:
        error.add_note(f"a picture of {channels} × 64 × 64 did not get through the body; try another cut=")
        raise
    body.train(was_training)
    if not isinstance(out, Tensor) or out.ndim != 4:
        raise ArgumentError(
            f"the body gives {type(out).__name__}; expected a tensor (B, C, H, W)", try_="another cut="
        )
    return int(out.shape[1])


def resnet18(**kwargs: Any) -> nn.Module:
    """torchvision's ResNet-18 (He et al. 2015, arXiv:1512.03385). torchvision is loaded when it is built."""
    return _torchvision("resnet18", **kwargs)


def resnet34(**kwargs: Any) -> nn.Module:
    """torchvision's ResNet-34."""
    return _torchvision("resnet34", **kwargs)


def resnet50(**kwargs: Any) -> nn.Module:
    """torchvision's ResNet-50."""
    return _torchvision("resnet50", **kwargs)


def resnet101(**kwargs: Any) -> nn.Module:
    """torchvision's ResNet-101."""
    return _torchvision("resnet101", **kwargs)


def resnet152(**kwargs: Any) -> nn.Module:
    """torchvision's ResNet-152."""
    return _torchvision("resnet152", **kwargs)


def _torchvision(name: str, **kwargs: Any) -> nn.Module:
    from torchvision import models  # 3 CPU seconds, so not before somebody builds one

    return getattr(models, name)(**kwargs)
