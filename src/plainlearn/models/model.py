"""Models for images: a body that somebody designed and trained, and a head for the task at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, ShapeError
from plainlearn.core.tensors import batch_norms
from plainlearn.models.archs import Arch, arch_name, arch_of, build
from plainlearn.models.heads import AdaptiveConcatPool2d, Flatten, HeadRecipe, create_head, linear_head
from plainlearn.models.weights import Expects, WeightsFile

#: Mean and standard deviation of each channel.
Stats = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Recipe:
    """How a model was put together, as plain data: enough to build it again and load its weights.

    `network` is what `archs.arch_name` says. `scales` says whether pictures are brought to what the weights expect,
    `head` which one it has, or that it is a U-Net; the rest are arguments of `create_vision_model`.
    """

    network: str
    n_out: int
    channels: int = 3
    cut: int | None = None
    scales: bool = False
    head: Literal["linear", "course", "unet"] = "linear"
    lin_ftrs: tuple[int, ...] | None = None
    ps: float | None = None
    concat_pool: bool | None = None
    y_range: tuple[float, float] | None = None
    train_bn: bool = True


class ExpectedInput(nn.Module):
    """Pictures as trained weights expect them: each channel less its mean, divided by its standard deviation.

    `expected` are the weights' mean and standard deviation, `given` those that the loaders have applied already, if any.
    """

    def __init__(self, expected: Stats, given: Stats | None = None) -> None:
        super().__init__()
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in expected)
        scale, shift = 1 / std, -mean / std
        if given is not None:
            given_mean, given_std = (torch.tensor(values).view(-1, 1, 1) for values in given)
            scale, shift = given_std / std, (given_mean - mean) / std
        self.scale, self.shift = nn.Buffer(scale), nn.Buffer(shift)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class VisionModel(nn.Sequential):
    """A body and a head, one after the other: (B, C, H, W) to (B, `n_out`).

    `expects` says what the body's weights expect and where they are from; None without any. The body scales
    its input itself, so pictures of 0..1 are what it takes. Unless `train_bn`, batch norm in the body stays as it was
    trained: it neither gathers new averages nor compares the pictures of a batch, while its scale and
    shift still learn when the body is not frozen. `recipe` says how to build it again; None if parts are the user's own.
    """

    def __init__(
        self,
        body: nn.Module,
        head: nn.Module,
        *,
        expects: Expects | None = None,
        train_bn: bool = True,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__(body, head)
        self.expects, self.train_bn, self.recipe = expects, train_bn, recipe

    @property
    def short_name(self) -> str:
        """Architecture and weights in a few words, as far as they are known."""
        known = [self.recipe.network.partition(":")[2]] if self.recipe else []
        if self.expects is not None:
            known.append(f"weights {self.expects.name} from {self.expects.source}")
        return f"{type(self).__name__}({', '.join(known)})"

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if not self.train_bn:
            for norm in batch_norms(self[0]):
                norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] (torch calls it input)
        if (
            self.training
            and len(x) == 1
            and any(isinstance(norm, nn.BatchNorm1d) and norm.training for norm in batch_norms(self))
        ):
            raise ShapeError(
                "the training batch has one image, and batch norm compares the images of a batch; expected two or more",
                try_="another bs=, or drop_last=True if only the last batch is so short",
            )
        body, head = self
        return cast(Tensor, head(body(x)))


def create_body(
    arch: Arch,
    cut: int | None = None,
    *,
    pretrained: bool = False,
    weights: WeightsFile | None = None,
    channels: int = 3,
) -> nn.Module:
    """The part of `arch` that finds features: (B, C, H, W) to (B, F, h, w), or for transformers to (B, F).

    Of timm's networks it is the network without its classifier, which pools by itself if it is a
    transformer. Of others it is the parts before the last pooling and the classifier, which must be called one
    after another. `cut` says up to which part, counted as in `parts[:cut]`: -2 leaves out the last two.
    Raises `ArgumentError` where the end of the body is not known, or nothing is left.
    """
    model, _ = build(arch, pretrained=pretrained, weights=weights, channels=channels)
    return body_of(model, cut)


def body_of(model: nn.Module, cut: int | None = None) -> nn.Module:
    """`create_body`, of a network that is built."""
    if cut is None and hasattr(model, "reset_classifier") and hasattr(model, "pretrained_cfg"):
        return _without_classifier(model)
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
    return body


def _without_classifier(model: Any) -> nn.Module:
    """timm's network without its last layer: a convolutional one without pooling, any other with its own."""
    config: dict[str, Any] = model.pretrained_cfg
    if config.get("pool_size") and getattr(model, "output_fmt", "NCHW") == "NCHW":
        try:
            model.reset_classifier(0, "")
        except AssertionError:  # some cannot be without their pooling
            model.reset_classifier(0)
    else:
        model.reset_classifier(0)
    return model


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


def create_vision_model(
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
    lin_ftrs: Sequence[int] | None = None,
    ps: float | None = None,
    concat_pool: bool | None = None,
    custom_head: Callable[[int, int], nn.Module] | nn.Module | None = None,
    y_range: tuple[float, float] | None = None,
) -> VisionModel:
    """Body and head as one `nn.Sequential` of two parts. `arch` is a name of timm's, a constructor, or a model.

    With weights, the model takes pictures of 0..1 and itself brings them to what the weights expect, unless
    `normalize=False`; `given` is what the loaders have normalised by already. `train_bn` None means: only
    without weights. The head is `linear_head` with weights, which learns more from few pictures, else the
    course's `create_head`, also with any of `lin_ftrs`, `ps` and `concat_pool`; `custom_head` is one of your own,
    or a function of the numbers of features and outputs that makes it.
    A model that is given is not copied: the body is its own. Raises as `archs.build` and `create_body` do.
    """
    name = arch_name(arch)
    network, expects = build(arch, pretrained=pretrained, weights=weights, channels=channels)
    body = body_of(network, cut)
    features, pool = _features(body, channels)
    trained = pretrained or weights is not None
    train_bn = not trained if train_bn is None else train_bn
    course_options = any(value is not None for value in (lin_ftrs, ps, concat_pool)) or not trained
    whole = scaled(body, expects, channels, given) if normalize and expects is not None else body
    head = _head(features, n_out, pool, trained, lin_ftrs, ps, concat_pool, custom_head, y_range)
    recipe = None
    if name is not None and custom_head is None:
        widths = None if lin_ftrs is None else tuple(lin_ftrs)
        limits = None if y_range is None else (y_range[0], y_range[1])
        recipe = Recipe(name, n_out, channels, cut, whole is not body, "course" if course_options else "linear",
                        widths, ps, concat_pool, limits, train_bn)  # fmt: skip
    elif name is not None:
        own: Any = getattr(head, "recipe", None)  # of one that our create_head made, as a whole
        if isinstance(own, HeadRecipe) and (own.features, own.pool) == (features, pool):
            recipe = Recipe(name, own.n_out, channels, cut, whole is not body, "course", own.lin_ftrs, own.ps,
                            own.concat_pool and pool, own.y_range, train_bn)  # fmt: skip
    return VisionModel(whole, head, expects=expects, train_bn=train_bn, recipe=recipe)


def model_from(recipe: Recipe) -> VisionModel:
    """The model of a recipe, unless it is a U-Net's, with weights that know nothing yet: for `load_state_dict`."""
    network, _ = build(arch_of(recipe.network), pretrained=False, channels=recipe.channels)
    body = body_of(network, recipe.cut)
    features, pool = _features(body, recipe.channels)
    body = unscaled(body, recipe)
    head = _head(
        features, recipe.n_out, pool, recipe.head == "linear",
        recipe.lin_ftrs, recipe.ps, recipe.concat_pool, None, recipe.y_range,
    )  # fmt: skip
    return VisionModel(body, head, train_bn=recipe.train_bn, recipe=recipe)


def scaled(body: nn.Module, expects: Expects, channels: int, given: Stats | None) -> nn.Module:
    """`body` behind an `ExpectedInput`, if it needs one."""
    expected = expects.for_channels(channels)
    if expected == given:
        return body
    return _preceded_by(ExpectedInput(expected, given), body)


def unscaled(body: nn.Module, recipe: Recipe) -> nn.Module:
    """`body` behind an `ExpectedInput`, if the recipe says so, whose numbers come with the weights."""
    nothing = ((0.0,) * recipe.channels, (1.0,) * recipe.channels)
    return _preceded_by(ExpectedInput(nothing), body) if recipe.scales else body


def _preceded_by(first: nn.Module, body: nn.Module) -> nn.Module:
    return nn.Sequential(first, *body) if type(body) is nn.Sequential else nn.Sequential(first, body)


def _head(
    features: int,
    n_out: int,
    pool: bool,
    trained: bool,
    lin_ftrs: Sequence[int] | None,
    ps: float | None,
    concat_pool: bool | None,
    custom_head: Callable[[int, int], nn.Module] | nn.Module | None,
    y_range: tuple[float, float] | None,
) -> nn.Module:
    course_options = [value for value in (lin_ftrs, ps, concat_pool) if value is not None]
    if custom_head is not None:
        if course_options or y_range is not None:
            raise ArgumentError(
                "custom_head is the whole head; lin_ftrs, ps, concat_pool or y_range beside it would be ignored"
            )
        made: Any = custom_head if isinstance(custom_head, nn.Module) else custom_head(features, n_out)
        if not isinstance(made, nn.Module):
            raise ArgumentTypeError(f"custom_head gave {describe(made)}; expected an nn.Module")
        return made
    if concat_pool and not pool:
        raise ArgumentError(
            f"concat_pool=True needs a body that gives maps (B, F, h, w); this one pools by itself to {features} features"
        )
    if course_options or not trained:
        return create_head(
            features, n_out, lin_ftrs, 0.5 if ps is None else ps,
            concat_pool=concat_pool is not False, pool=pool, y_range=y_range,
        )  # fmt: skip
    return linear_head(features, n_out, pool=pool, y_range=y_range)


def _features(body: nn.Module, channels: int) -> tuple[int, bool]:
    """How many features leave the body, and whether as maps to be pooled; found by sending an empty picture through."""
    config: dict[str, Any] = getattr(body, "pretrained_cfg", {})
    height, width = config["input_size"][1:] if config.get("fixed_input_size") else (96, 96)
    was_training = body.training
    body.eval()
    weight = next(body.parameters(), torch.zeros(()))
    try:
        with torch.no_grad():
            out = body(torch.zeros(1, channels, height, width, device=weight.device, dtype=weight.dtype))
    except Exception as error:
        error.add_note(
            f"a picture of {channels} × {height} × {width} did not get through the body; try another cut="
        )
        raise
    body.train(was_training)
    if not isinstance(out, Tensor) or out.ndim not in (2, 4):
        raise ArgumentError(
            f"the body gives {describe(out)}; expected a tensor (B, C, H, W), or (B, C)", try_="another cut="
        )
    return int(out.shape[1]), out.ndim == 4


# ---------------------------------------------------------------- parameters by depth


def body_and_head(model: nn.Module) -> list[list[nn.Parameter]]:
    """A splitter: stem and first half of the body, second half, head; three depths for discriminative rates.

    Halves are of the stages that follow the stem: two and two of a ResNet's four.
    Raises `ArgumentError` for a model that is not a body and a head.
    """
    body, head = _halves(model)
    _, *stages = grouped = stages_of(body, coarse=True)
    middle = len(grouped) - max(1, (len(stages)) // 2)
    early, late = ([p for stage in part for p in stage] for part in (grouped[:middle], grouped[middle:]))
    return [early, late, list(head.parameters())]


def layer_by_layer(model: nn.Module) -> list[list[nn.Parameter]]:
    """A splitter: each block of the body, and the head; for rates that decay layer by layer: `lr=slice(lo, hi)`.

    Raises `ArgumentError` for a model that is not a body and a head.
    """
    body, head = _halves(model)
    return [*stages_of(body, coarse=False), list(head.parameters())]


def _halves(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    halves = list(model.children())
    if len(halves) != 2:
        raise ArgumentError(
            f"{type(model).__name__} has {len(halves)} parts; expected two, a body and a head",
            try_="create_vision_model, or splitter=trainable_params for one group",
        )
    return halves[0], halves[1]


def stages_of(body: nn.Module, *, coarse: bool) -> list[list[nn.Parameter]]:
    """The parameters of `body` in the order of its depth, the stem first: by stage, or unless `coarse` by block."""
    parts = [body]
    while len(parts := [part for part in parts if any(True for _ in part.parameters())]) == 1:
        if hasattr(parts[0], "group_matcher"):
            return _grouped_by_timm(parts[0], coarse)
        inner = list(parts[0].children())
        if not inner:
            break
        parts = inner
    if not coarse:
        parts = [block for part in parts for block in (part if isinstance(part, nn.Sequential) else [part])]
    stages: list[list[nn.Parameter]] = []
    for part in parts:
        parameters = list(part.parameters())
        # What has no weights but a scale and a shift belongs to the layer before it.
        if stages and all(parameter.ndim <= 1 for parameter in parameters):
            stages[-1] += parameters
        elif parameters:
            stages.append(parameters)
    known = {id(parameter) for stage in stages for parameter in stage}
    stages[0] = [p for p in body.parameters() if id(p) not in known] + stages[0]
    return stages


def _grouped_by_timm(model: Any, coarse: bool) -> list[list[nn.Parameter]]:
    from timm.models import group_parameters  # pyright: ignore[reportUnknownVariableType]

    groups = cast("Any", group_parameters)(model, model.group_matcher(coarse=coarse), return_values=True)
    return [list(groups[depth]) for depth in sorted(groups)]
