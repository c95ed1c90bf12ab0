"""Segmentation: a class for each pixel, by a U-Net on any body that gives maps of several sizes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError
from plainlearn.models.archs import Arch, arch_name, arch_of, build
from plainlearn.models.model import Recipe, Stats, VisionModel, body_of, scaled, unscaled
from plainlearn.models.weights import WeightsFile


class Pyramid(nn.Module):
    """A body that gives all its maps: the picture itself, then the last map of each size, ever smaller.

    `network` is one of timm's, which knows its maps, or parts that are called one after another.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> list[Tensor]:
        if not isinstance(self.network, nn.Sequential):
            ask = cast(Any, self.network).forward_intermediates
            return [picture, *ask(picture, intermediates_only=True, stop_early=True)]
        maps, x = [picture], picture
        for part in self.network:
            x = cast(Tensor, part(x))
            if len(maps) > 1 and x.shape[2:] == maps[-1].shape[2:]:
                maps[-1] = x
            else:
                maps.append(x)
        return maps


class UnetDecoder(nn.Module):
    """From maps of ever smaller size back to the picture's: each step sees the body's map of its size, by two convolutions.

    `channels` are those of the maps, the picture's first. Sizes need not be multiples of anything.
    Source: Ronneberger et al. 2015, arXiv:1505.04597.
    """

    def __init__(
        self, channels: list[int], n_out: int, widths: tuple[int, ...] = (256, 128, 64, 32, 16)
    ) -> None:
        super().__init__()
        *beside, deepest = channels
        widths = widths[: len(beside)] + widths[-1:] * (len(beside) - len(widths))
        steps = zip(pairwise([deepest, *widths]), reversed(beside), strict=True)
        self.steps = nn.ModuleList(_two_convolutions(below + side, out) for (below, out), side in steps)
        self.last = nn.Conv2d(widths[-1], n_out, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        *beside, x = maps
        for step, side in zip(self.steps, reversed(beside), strict=True):
            x = nn.functional.interpolate(x, size=side.shape[2:], mode="bilinear", align_corners=False)
            x = step(torch.cat([x, side], dim=1))
        return self.last(x)


def _two_convolutions(channels: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for given in (channels, out):
        layers += [
            nn.Conv2d(given, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def create_unet_model(
    arch: Arch,
    n_out: int,
    *,
    pretrained: bool = True,
    weights: WeightsFile | None = None,
    cut: int | None = None,
    channels: int = 3,
    normalize: bool = True,
    given: Stats | None = None,
    train_bn: bool | None = None,
) -> VisionModel:
    """A body and a decoder as one model: (B, C, H, W) to (B, `n_out`, H, W), for any H and W.

    The arguments are those of `create_vision_model`. Raises `ArgumentError` for a body without maps of several
    sizes, as most transformers are.
    """
    name = arch_name(arch)
    network, expects = build(arch, pretrained=pretrained, weights=weights, channels=channels)
    pyramid = Pyramid(_with_maps(network) if cut is None else body_of(network, cut))
    maps = _maps_of(pyramid, channels)
    trained = pretrained or weights is not None
    train_bn = not trained if train_bn is None else train_bn
    whole = scaled(pyramid, expects, channels, given) if normalize and expects is not None else pyramid
    return VisionModel(
        whole,
        UnetDecoder([each.shape[1] for each in maps], n_out),
        expects=expects,
        train_bn=train_bn,
        recipe=None if name is None else Recipe(
            name, n_out, channels, cut, whole is not pyramid, "unet", train_bn=train_bn
        ),
    )  # fmt: skip


def unet_from(recipe: Recipe) -> VisionModel:
    """The U-Net of a recipe, with weights that know nothing yet: for `load_state_dict`."""
    network, _ = build(arch_of(recipe.network), pretrained=False, channels=recipe.channels)
    pyramid = Pyramid(_with_maps(network) if recipe.cut is None else body_of(network, recipe.cut))
    maps = _maps_of(pyramid, recipe.channels)
    decoder = UnetDecoder([each.shape[1] for each in maps], recipe.n_out)
    return VisionModel(unscaled(pyramid, recipe), decoder, train_bn=recipe.train_bn, recipe=recipe)


def _with_maps(network: Any) -> nn.Module:
    """The network without what follows its last map."""
    if not hasattr(network, "forward_intermediates"):
        return body_of(network)
    every = list(range(len(network.feature_info)))
    network.prune_intermediate_layers(every, prune_norm=True, prune_head=True)
    return network


def _maps_of(pyramid: Pyramid, channels: int) -> list[Tensor]:
    config: dict[str, Any] = getattr(pyramid.network, "pretrained_cfg", {})
    height, width = config["input_size"][1:] if config.get("fixed_input_size") else (96, 96)
    was_training = pyramid.training
    with torch.no_grad():
        maps = pyramid.eval()(torch.zeros(1, channels, height, width))
    pyramid.train(was_training)
    sizes = [tuple(each.shape[2:]) for each in maps]
    if len(set(sizes)) < 4:
        raise ArgumentError(
            f"{type(pyramid.network).__name__} gives maps of {', '.join(map(str, sizes[1:3]))}, … for a picture of "
            f"{sizes[0]}; expected ever smaller ones",
            try_="a convolutional network, such as 'tf_efficientnet_lite0' or resnet34",
        )
    return maps
