"""A model as the code that makes one of the same layers; its weights are loaded from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.eject.source import Copied, is_of_a_library, is_ours, kept_arguments
from plainlearn.eject.text import WIDTH, bracketed
from plainlearn.models.model import ExpectedInput, VisionModel


def code_of(model: nn.Module, copied: Copied, width: int = WIDTH - len("model = ")) -> str:
    """An expression that makes the layers of `model`, with other weights, in lines of a `width`.

    Raises `ArgumentError` for a layer that is neither torch's nor known by its source or its library's name.
    """
    kind = type(model)
    if kind.__module__.startswith("timm."):
        return _by_timm(model)
    if kind.__module__.startswith("torchvision."):
        return _whole_of_torchvision(model)
    if kind is nn.Sequential or (isinstance(model, VisionModel) and model.train_bn):
        # What a VisionModel adds to a Sequential are, unless it keeps batch norm, words for errors.
        return bracketed("nn.Sequential", "()", _parts(list(model.children()), copied, width - 5), width)
    if isinstance(model, VisionModel):
        parts = [code_of(part, copied, width - 5) for part in model.children()]
        return bracketed(copied.take(kind, "the model"), "()", [*parts, "train_bn=False"], width)
    if isinstance(model, ExpectedInput):
        channels = len(model.scale)
        return f"{copied.take(kind, 'the model')}(((0.0,) * {channels}, (1.0,) * {channels}))"
    torchs = kind.__module__.startswith("torch.nn.modules") and not list(model.children())
    if not torchs and not is_ours(kind) and is_of_a_library(kind):
        raise _unknown(model)
    return _layer(model, copied, width)


def _parts(parts: list[nn.Module], copied: Copied, width: int) -> list[str]:
    for first in range(len(parts)):
        if whole := _beginning_of_torchvision(parts[first:]):
            return [*(code_of(part, copied, width) for part in parts[:first]), whole]
    return [code_of(part, copied, width) for part in parts]


def _layer(model: nn.Module, copied: Copied, width: int) -> str:
    """A layer of torch's, of the user's or of plainlearn, by what it keeps of its arguments; it is tried."""
    kind = type(model)
    given, _ = kept_arguments(model)
    if any(isinstance(value, torch.Tensor) for value in given.values()):
        raise _unknown(model)
    try:
        with torch.device("meta"):
            made = kind(**given)
    except (TypeError, ValueError) as error:
        raise _unknown(model) from error
    if not _alike(made, model):
        raise ArgumentError(
            f"{kind.__name__}() makes another model than the learner's: that one was changed, or made with arguments",
            try_="defaults that make this one",
        )
    return copied.made_again(model, "the model", width)


# ---- a network that a library knows by name


def _by_timm(model: Any) -> str:
    import timm

    name = str(model.pretrained_cfg.get("architecture", ""))
    channels = next((part.in_channels for part in model.modules() if isinstance(part, nn.Conv2d)), 3)
    some = {} if channels == 3 else {"in_chans": channels}
    for more in (
        {"num_classes": 0, "global_pool": ""},
        {"num_classes": 0},
        {"num_classes": getattr(model, "num_classes", 0)},
    ):
        for sized in ({}, {"dynamic_img_size": True}):
            options: dict[str, Any] = {**some, **more, **sized}
            try:
                with torch.device("meta"):
                    made = timm.create_model(name, **options)
            except (RuntimeError, TypeError, AssertionError, ValueError):
                continue  # not every network has these options
            # How a transformer pools, and whether it takes pictures of any size, does not show in its layers.
            if _alike(made, model) and _settings(made) == _settings(model):
                shown = ", ".join(
                    f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}"
                    for key, value in options.items()
                )
                return f'timm.create_model("{name}", {shown})'
    raise _unknown(model)


def _settings(model: nn.Module) -> dict[str, Any]:
    """What a network remembers of how it was made, beside its layers."""
    plain = (bool, int, float, str, tuple, type(None))
    return {
        name: value
        for name, value in vars(model).items()
        if isinstance(value, plain) and name != "training" and not name.startswith("_")
    }


def _beginning_of_torchvision(parts: Sequence[nn.Module]) -> str | None:
    """The first layers of a network of torchvision's, if `parts` are these."""
    families = {
        type(inner).__module__
        for part in parts
        for inner in part.modules()
        if type(inner).__module__.startswith("torchvision.models.")
    }
    if any(type(part).__module__.startswith("torchvision.models.") for part in parts) or not families:
        return None  # no network's children, but blocks that somebody put together
    for name, made in _networks(families):
        known = list(made.children())
        if len(known) >= len(parts) and all(map(_alike, known, parts)):
            cut = f"[:{len(parts) - len(known)}]" if len(known) > len(parts) else ""
            return f"*list(models.{name}().children()){cut}"
    return None


def _whole_of_torchvision(model: nn.Module) -> str:
    last = [part.out_features for part in model.modules() if isinstance(part, nn.Linear)][-1:]
    for options in ({}, {"num_classes": last[0]} if last else {}):
        for name, made in _networks({type(model).__module__}, options):
            if _alike(made, model):
                shown = ", ".join(f"{key}={value}" for key, value in options.items())
                return f"models.{name}({shown})"
    raise _unknown(model)


def _networks(families: set[str], options: dict[str, Any] | None = None) -> list[tuple[str, nn.Module]]:
    from torchvision import models

    made: list[tuple[str, nn.Module]] = []
    for name in cast("list[str]", cast(Any, models).list_models()):
        builder: Any = getattr(models, name, None)
        if builder is not None and builder.__module__ in families:
            with torch.device("meta"):
                made.append((name, builder(**(options or {}))))
    return made


def _alike(made: nn.Module, model: nn.Module) -> bool:
    """Whether two have the same layers, with the same settings and shapes."""
    return repr(made) == repr(model) and _shapes(made) == _shapes(model)


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _unknown(model: nn.Module) -> ArgumentError:
    return ArgumentError(
        f"how the layer {type(model).__name__} of {type(model).__module__} was made is not known, so a script cannot make it again",
        try_="a model of torch's layers in nn.Sequential, or one of timm or torchvision by its name",
    )
