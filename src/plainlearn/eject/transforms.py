"""The transforms of pictures as functions of a script: the maps of those that move, the curves of those that light."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from plainlearn.augment.lighting import Brightness, Contrast, Normalize
from plainlearn.augment.transforms import Flip, RandomResizedCrop, Resize, Rotate, Warp, Zoom
from plainlearn.core.errors import ArgumentError
from plainlearn.data.transform import Transform
from plainlearn.eject.text import call

Size = tuple[int, int]

_IN_VIEW = 0.9  # of the way to its middle, from where on a horizon makes the library draw again


class Moves:
    """Writes the functions that compose maps, and knows as it goes how large pictures are and how tilted they may be."""

    def __init__(self) -> None:
        self.size: Size | None = None
        self._tilt = 0.0

    def function(self, name: str, says: str, train: Sequence[Transform], valid: Sequence[Transform]) -> str:
        """The function `name` for these transforms, in training and in validation."""
        size, tilt = self.size, self._tilt
        calm = [line for each in valid for line in self._step(each, train=False)]
        self.size, self._tilt = size, tilt
        lines = [line for each in train for line in self._step(each, train=True)]
        body = _returning(lines)
        if calm != lines:
            body = ["if not train:", *(f"    {line}" for line in _returning(calm)), *body]
        text = "\n".join(f"    {line}" for line in body)
        return f'def {name}(maps: Maps, sizes: np.ndarray, rng: Rng, train: bool) -> Maps:\n    """{says}"""\n{text}\n\n\n'

    def _step(self, transform: Transform, *, train: bool) -> list[str]:
        kind, each = type(transform), cast("Any", transform)
        pads = getattr(each, "pad_mode", "reflection")
        drawn = any(getattr(each, name, None) is not None for name in ("draw", "draw_x", "draw_y"))
        # What lies beyond a picture that is only cut or squished is never seen.
        beyond = pads != "reflection" and not (kind is Resize and each.method != "pad")
        sized = kind not in (Resize, RandomResizedCrop) and getattr(each, "size", None) is not None
        if kind not in _DRAWS or drawn or beyond or sized or (kind is Warp and each.magnitude > 0.475):
            raise not_written(transform)
        draw = _DRAWS[kind](each, self, train)
        self._tilt = self._tilted(each)
        if kind in (Resize, RandomResizedCrop):
            self.size = _pair(each.size)
        if not draw:
            return []
        return (
            [f"maps = maps @ {draw}"]
            if self._tilt < _IN_VIEW
            else call("maps = then", ["maps", f"lambda: {draw}"])
        )

    def sizes(self) -> str:
        """The present sizes of the pictures, as an expression."""
        if self.size is None:
            return "sizes"
        height, width = self.size
        return f"np.full((len(maps), 2), {height if height == width else self.size})"

    def aspect(self) -> str:
        """Width over height as an argument, unless that is 1."""
        if self.size is None:
            return ", aspect=sizes[:, 1] / sizes[:, 0]"
        height, width = self.size
        return "" if height == width else f", aspect={width} / {height}"

    def _tilted(self, each: Any) -> float:
        """How near to the middle a horizon can be: 0 nowhere, 1 in it."""
        tilt, kind = self._tilt, cast("type[Any]", type(each))
        if kind is Warp:
            if tilt:
                return math.inf
            m = each.magnitude
            return 2 * m * (1 + m * m) / (1 - 2 * m * m) if m < 0.6 else math.inf
        if kind is Rotate and tilt:
            height, width = self.size or (1, 10**9)
            steepest = max(height / width, width / height) * math.sin(
                math.radians(min(abs(each.max_deg), 90))
            )
            return tilt * (1 + steepest)
        # To look closer does not bring a horizon nearer; to look from farther away does.
        farther = (kind is Resize and each.method == "pad") or (kind is Zoom and each.min_zoom < 1)
        return math.inf if farther and tilt else tilt


def _returning(lines: list[str]) -> list[str]:
    """The same statements, and what they give at the end."""
    if not lines:
        return ["return maps"]
    if lines[-1].startswith("maps = maps @ "):
        return [*lines[:-1], lines[-1].replace("maps = ", "return ", 1)]
    return [*lines, "return maps"]


def _resize(each: Resize, moves: Moves, train: bool) -> str:
    if each.method == "squish":
        return ""  # in coordinates from edge to edge it is nothing at all
    return f"{'show_all' if each.method == 'pad' else 'fit_into'}({_pair(each.size)}, {moves.sizes()}, rng, train)"


def _random_crop(each: RandomResizedCrop, moves: Moves, train: bool) -> str:
    if not train:
        return f"fit_into({_pair(each.size)}, {moves.sizes()}, rng, train)"
    return f"random_crop({moves.sizes()}, rng, {each.min_scale}, {each.max_scale}, {each.ratio})"


def _chosen(each: Any, count: str = "len(maps)") -> str:
    """Which pictures it acts on, as an expression."""
    return f"rng.random({count}) < {each.p}"


_DRAWS: dict[type, Callable[[Any, Moves, bool], str]] = {
    Resize: _resize,
    RandomResizedCrop: _random_crop,
    Flip: lambda each, _, __: f"flip{'_upside_down' if each.vertical else ''}({_chosen(each)})",
    Warp: lambda each, _, __: f"warp({_chosen(each)}, rng, {each.magnitude})",
    Rotate: lambda each, moves, _: f"rotate({_chosen(each)}, rng, {each.max_deg}{moves.aspect()})",
    Zoom: lambda each, _, __: f"zoom({_chosen(each)}, rng, {each.min_zoom}, {each.max_zoom})",
}


_STRAIGHT = "curves = (torch.arange(257) / 255).clamp(max=1).expand(count, 3, -1)  # level k is k / 255"


def light(train: Sequence[Transform], valid: Sequence[Transform]) -> str:
    """The function `light` for these transforms."""
    always = [each for each in train if each in valid]
    lines = [] if always else ["if not train:", "    return None  # levels become fractions of 0..1"]
    lines = ["return None  # levels become fractions of 0..1"] if not train else [*lines, _STRAIGHT]
    for transform in train:
        each, margin = cast("Any", transform), "    " if always and transform not in always else ""
        if margin and "if train:" not in lines:
            lines.append("if train:")
        if type(transform) is Brightness:
            low, high = 0.5 - 0.5 * each.max_lighting, 0.5 + 0.5 * each.max_lighting
            lines += [
                f"{margin}# Lighter or darker: a number is added to each level's logit.",
                f"{margin}chosen, to = {_chosen(each, 'count')}, rng.uniform({low}, {high}, count)",
                f"{margin}curves = lit(curves, chosen, np.ones(1), np.log(to / (1 - to)))",
            ]
        elif type(transform) is Contrast:
            most = -math.log(1 - each.max_lighting)
            lines += [
                f"{margin}# More or less contrast: each level's logit is multiplied.",
                f"{margin}chosen, power = {_chosen(each, 'count')}, rng.uniform({-most}, {most}, count)",
                f"{margin}curves = lit(curves, chosen, np.exp(power), np.zeros(1))",
            ]
        elif type(transform) is Normalize:
            mean, std = (f"torch.tensor({list(values)})[:, None]" for values in (each.mean, each.std))
            lines.append(f"{margin}curves = (curves - {mean}) / {std}")
        else:
            raise not_written(transform)
    if train:
        last = lines.pop()
        lines += (
            [last.replace("curves =", "return")] if last.startswith("curves =") else [last, "return curves"]
        )
    says = "The batch transforms that change light: what becomes of each level 0..255; a 257th ends the last step."
    head = f'def light(count: int, rng: Rng, train: bool) -> Tensor | None:\n    """{says}"""\n'
    return head + "".join(f"    {line}\n" for line in lines) + "\n\n"


def not_written(transform: Transform) -> ArgumentError:
    """The error for a transform that a script does not know, or with settings that it does not."""
    return ArgumentError(
        f"the transform {transform!r} is not written down", try_="one of those that aug_transforms makes"
    )


def _pair(size: Any) -> Size:
    height, width = cast("Sequence[int]", size) if isinstance(size, (tuple, list)) else (size, size)
    return int(height), int(width)
