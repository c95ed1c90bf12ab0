"""Models for images: a body that somebody designed, and a head for the task at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError


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
    """The convolutional part of `model`: its children up to the one that pools, or up to `cut`.

    With other than three `channels` the first convolution is replaced by one of that many.
    """
    children = list(model.children())
    if cut is None:
        pools = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.Linear)
        places = [place for place, child in enumerate(children) if isinstance(child, pools)]
        if not places:
            raise ArgumentError(
                f"{type(model).__name__} has no pooling layer or classifier among its parts, so where the body ends is not known",
                try_="cut=-2 (how many parts to keep)",
            )
        cut = places[0]
    body = nn.Sequential(*children[:cut])
    if not len(body):
        raise ArgumentError(
            f"cut={cut} leaves nothing of the {len(children)} parts of {type(model).__name__}"
        )
    if channels != 3:
        _replace_first_convolution(body, channels)
    return body


def _replace_first_convolution(body: nn.Module, channels: int) -> None:
    for parent in body.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                made = nn.Conv2d(
                    channels, child.out_channels, child.kernel_size, child.stride, child.padding,  # pyright: ignore[reportArgumentType]
                    bias=child.bias is not None,
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


def create_vision_model(
    arch: Callable[..., nn.Module] | nn.Module,
    n_out: int,
    *,
    cut: int | None = None,
    channels: int = 3,
    lin_ftrs: Sequence[int] = (512,),
    ps: float = 0.5,
    concat_pool: bool = True,
) -> nn.Sequential:
    """Body and head as one `nn.Sequential` of two parts. `arch` is a constructor such as torchvision's, or a model."""
    body = create_body(_built(arch), cut, channels=channels)
    head = create_head(_features(body, channels), n_out, lin_ftrs, ps, concat_pool=concat_pool)
    return nn.Sequential(body, head)


def body_and_head(model: nn.Module) -> list[list[nn.Parameter]]:
    """A splitter: stem and first half of the body, second half, head; three depths for discriminative rates."""
    body, head = list(model.children())
    parts = list(body.children())
    # By the number of parameters a ResNet's last two stages hold most; by order they are the late ones.
    weighty = [part for part in parts if any(True for _ in part.parameters())]
    middle = len(weighty) - 2 if len(weighty) > 3 else len(weighty) // 2
    early = [p for part in weighty[:middle] for p in part.parameters()]
    late = [p for part in weighty[middle:] for p in part.parameters()]
    return [early, late, list(head.parameters())]


def _built(arch: Any) -> nn.Module:
    if isinstance(arch, nn.Module):
        return arch
    if not callable(arch):
        raise ArgumentTypeError(
            f"arch is {arch!r}; expected a constructor of models", try_="vision_learner(dls, resnet18)"
        )
    model = arch()
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"arch gave {type(model).__name__}; expected an nn.Module")
    return model


def _features(body: nn.Module, channels: int) -> int:
    """How many channels leave the body, found by sending a small picture through."""
    was_training = body.training
    body.eval()
    with torch.no_grad():
        out = body(torch.zeros(1, channels, 64, 64))
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
