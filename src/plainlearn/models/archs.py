"""Architectures: a network from what a person names, with the weights that were asked for and what these expect."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.models import weights as sources
from plainlearn.models.weights import Expects, State, WeightsFile

#: timm's name of a network, a function that makes one such as torchvision's, or a model.
Arch = str | Callable[..., nn.Module] | nn.Module


def resnet18(**kwargs: object) -> nn.Module:
    """torchvision's ResNet-18 (He et al. 2015, arXiv:1512.03385). torchvision is loaded when it is built."""
    return _torchvision("resnet18", **kwargs)


def resnet34(**kwargs: object) -> nn.Module:
    """torchvision's ResNet-34."""
    return _torchvision("resnet34", **kwargs)


def resnet50(**kwargs: object) -> nn.Module:
    """torchvision's ResNet-50."""
    return _torchvision("resnet50", **kwargs)


def resnet101(**kwargs: object) -> nn.Module:
    """torchvision's ResNet-101."""
    return _torchvision("resnet101", **kwargs)


def resnet152(**kwargs: object) -> nn.Module:
    """torchvision's ResNet-152."""
    return _torchvision("resnet152", **kwargs)


def arch_of(name: str) -> Arch:
    """The architecture of that name, one that `arch_name` gave. Raises `ArgumentError` for any other; imports nothing by it."""
    library, _, own = name.partition(":")
    if library == "timm" and re.fullmatch(r"[A-Za-z0-9_.]+", own):  # no address, no folder
        return own
    if library == "torchvision":
        from torchvision import models

        if own in models.list_models():
            return partial(_torchvision, own)
    raise ArgumentError(f"{name!r} is no architecture that is known here")


def arch_name(arch: Arch) -> str | None:
    """`timm:…` or `torchvision:…`, from which `arch_of` gives the architecture back; None for one of the user's own."""
    if isinstance(arch, str):
        return f"timm:{arch}"
    name = None if isinstance(arch, nn.Module) else _torchvision_name(arch)
    return None if name is None else f"torchvision:{name}"


def _torchvision(name: str, **kwargs: object) -> nn.Module:
    from torchvision import models  # 3 CPU seconds, so not before somebody builds one

    return getattr(models, name)(**kwargs)


_OURS = (resnet18, resnet34, resnet50, resnet101, resnet152)


def build(
    arch: Arch, *, pretrained: bool, weights: WeightsFile | None = None, channels: int = 3
) -> tuple[nn.Module, Expects | None]:
    """The network that `arch` means, with its classifier, and what its weights expect; None without weights.

    `pretrained` weights come from where its makers keep them, or from a package that is installed; `weights` names a
    file instead. The first convolution takes `channels`: the sum of the trained filters for one, else they are
    repeated, scaled so that their answers stay as strong.
    Raises `ArgumentError` for a name that nobody knows, and for a network of the user's own whose weights
    are not named; `DownloadError` when weights cannot be had; `DataError` when they do not fit.
    """
    if isinstance(arch, str):
        return _timm(arch, pretrained=pretrained, weights=weights, channels=channels)
    named = None if isinstance(arch, nn.Module) else _torchvision_name(arch)
    if named is not None and pretrained and weights is None:
        return _pretrained_torchvision(named, cast("Callable[..., nn.Module]", arch), channels)
    model = _made(arch)
    if weights is not None:
        sources.load_strictly(model, sources.read_weights(weights), str(weights))
    elif pretrained:
        raise ArgumentError(
            f"{type(model).__name__} is a network of your own, so where its trained weights are is not known",
            try_="pretrained=False to take it as it is, or weights='a_file.safetensors'",
        )
    if channels != 3:
        adapt_channels(model, channels)
    return model, None


def _made(arch: Any) -> nn.Module:
    if isinstance(arch, nn.Module):
        return arch
    if not callable(arch):
        raise ArgumentTypeError(
            f"arch is {describe(arch)}; expected a name, a function that makes a model, or a model",
            try_="vision_learner(dls, resnet18), or 'convnext_tiny' and any other name of timm's",
        )
    model = arch()
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"arch gave {type(model).__name__}; expected an nn.Module")
    return model


# ---------------------------------------------------------------- timm


def _timm(name: str, *, pretrained: bool, weights: Any, channels: int) -> tuple[nn.Module, Expects | None]:
    import timm

    check_name(name)
    options: dict[str, Any] = {"in_chans": channels}
    if not pretrained and weights is None:
        return _created(name, options), None
    config: Any = timm.get_pretrained_cfg(name)
    if weights is not None:
        state, source = sources.read_weights(weights), str(weights)
        options |= _classes_of(state, config)
    elif (file := sources.packaged_file(name)) is not None:
        with torch.device("meta"):
            names = list(timm.create_model(name).state_dict())
        state, source = sources.packaged_weights(file, names), file.name
    else:
        state, source = sources.published_weights(name, config)
    # timm renames, resizes and adapts these as it does with its own, and takes each tensor or none.
    overlay = {"state_dict": dict(state), **{key: options[key] for key in options if key == "num_classes"}}
    try:
        model = _created(name, options | {"pretrained": True, "pretrained_cfg_overlay": overlay})
    except RuntimeError as error:
        plain = _created(name, {key: value for key, value in options.items() if key == "num_classes"})
        difference = sources.differences(plain.state_dict(), state)
        raise DataError(f"the weights of {source} do not fit {name}: {difference or error}") from error
    return model, _expected_by_timm(cast("Mapping[str, Any]", cast("Any", model).pretrained_cfg), source)


def _created(name: str, options: dict[str, Any]) -> nn.Module:
    """timm's network; a transformer takes pictures of any size if it can."""
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        try:
            return timm.create_model(name, **options, dynamic_img_size=True)
        except TypeError as error:
            if "dynamic_img_size" not in str(error):
                raise
    return timm.create_model(name, **options)


def _classes_of(state: State, config: Any) -> dict[str, Any]:
    """How many classes the classifier in a file has, in timm's words.

    With another number timm would leave the classifier out, and in silence whatever else is missing.
    """
    classifier = (
        config.classifier if isinstance(config.classifier, str) else (*(config.classifier or ()), "")[0]
    )
    last = state.get(f"{classifier}.weight")
    return {"num_classes": 0 if last is None else len(last)}


def check_name(name: str) -> None:
    """Raises `ArgumentError` unless the name is one of timm's, by which `build` makes a network."""
    import timm

    if timm.is_model(name):
        return
    known = [*timm.list_models(), *timm.list_pretrained()]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    raise ArgumentError(
        f"no architecture is called {name!r} among the {len(timm.list_models())} of timm {timm.__version__}",
        try_=" or ".join(map(repr, near)) or "one of timm.list_models()",
    )


def _expected_by_timm(config: Mapping[str, Any], source: str) -> Expects:
    tag = config.get("tag")
    return Expects(
        name=f"{config['architecture']}{f'.{tag}' if tag else ''}",
        source=source,
        licence=str(config.get("license") or ""),
        mean=tuple(map(float, config["mean"])),
        std=tuple(map(float, config["std"])),
        size=tuple(config["input_size"][1:]),
        crop=float(config["crop_pct"]),
        interpolation=str(config["interpolation"]),
    )


# ---------------------------------------------------------------- torchvision


def _torchvision_name(arch: Any) -> str | None:
    """The name under which torchvision knows this function, ours or its own; None for others."""
    of_torchvision = str(getattr(arch, "__module__", "")).startswith("torchvision.models")
    return str(arch.__name__) if arch in _OURS or (of_torchvision and callable(arch)) else None


def _pretrained_torchvision(
    name: str, arch: Callable[..., nn.Module], channels: int
) -> tuple[nn.Module, Expects]:
    from torchvision import models

    choice = cast("Any", models.get_model_weights(name)).DEFAULT
    recipe = choice.transforms()
    size = recipe.crop_size[0]
    model = arch()
    sources.load_strictly(model, sources.downloaded_weights(choice.url, f"torchvision's {name}"), choice.url)
    if channels != 3:
        adapt_channels(model, channels)
    return model, Expects(
        name=f"{name}.{choice.name}",
        source=choice.url,
        licence="",
        mean=tuple(recipe.mean),
        std=tuple(recipe.std),
        size=(size, size),
        crop=size / recipe.resize_size[0],
        interpolation=recipe.interpolation.value,
    )


def adapt_channels(model: nn.Module, channels: int) -> None:
    """Let the first convolution of `model` take `channels`, and keep what it has learned.

    For one channel its filters are summed; for others they are repeated, scaled so that the
    answers stay as strong. Raises `ArgumentError` for a model without a convolution.
    """
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, _of_channels(child, channels))
                return
    raise ArgumentError("the model has no convolution, so its number of input channels cannot be changed")


def _of_channels(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    if conv.groups != 1:
        raise ArgumentError(
            f"the first convolution works in {conv.groups} groups, so it cannot be made to take {channels} channels"
        )
    made = nn.Conv2d(
        channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,  # pyright: ignore[reportArgumentType]
        conv.dilation, 1, conv.bias is not None, conv.padding_mode,  # pyright: ignore[reportArgumentType]
        device=conv.weight.device, dtype=conv.weight.dtype,
    )  # fmt: skip
    order = [channel % conv.in_channels for channel in range(channels)]
    with torch.no_grad():
        known = conv.weight
        made.weight.copy_(
            known.sum(1, keepdim=True) if channels == 1 else known[:, order] * (conv.in_channels / channels)
        )
        if made.bias is not None and conv.bias is not None:
            made.bias.copy_(conv.bias)
    return made
