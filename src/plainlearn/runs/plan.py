"""The plan of a run: network, size, batch and length, from the pictures, the time, and what a short trial on this machine takes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

import torch
from torch import nn

from plainlearn.core.errors import DataError, DownloadError
from plainlearn.core.seed import preserve_random_state
from plainlearn.core.tensors import to_device
from plainlearn.models.archs import build
from plainlearn.runs.config import RunConfig
from plainlearn.runs.training_data import Pictures
from plainlearn.train.distributed import Ranks
from plainlearn.vision.learner import vision_learner

__all__ = ["Pace", "Plan", "fixed_plan", "pace_of", "plan_at", "timed_plan", "with_graph"]

#: A small network that knows photos, and which `plainlearn[offline]` brings; a larger one, for a GPU and enough time.
SMALL: Final = "tf_efficientnet_lite0"
LARGE: Final = "convnext_tiny.in12k_ft_in1k"
_MANY_EPOCHS: Final = 12  # for the larger network
_FEWEST_STEPS: Final = 8  # after the head is fitted
_ENOUGH_STEPS: Final = 50  # where it is not
_STEPS_TO_SETTLE: Final = 100
BASE_LR: Final = 2e-3
_SIZES: Final = (64, 96, 128, 160, 192, 224, 256, 288, 320, 384)
_TRIAL: Final = 40  # images
_TRIAL_BS: Final = 8
_TAIL: Final = 2.5  # seconds: the file and the report, beside three looks at the validation pictures
_GRAPH: Final = 14.0  # the network as a graph beside
_WORTH_A_GRAPH: Final = 3.0  # minutes
_SETTLED: Final = 2  # batches before the clock counts: kernels are compiled and chosen in them


@dataclass(frozen=True)
class Pace:
    """What this machine takes for one picture, in seconds: to learn from it, and only to look at it."""

    learning: float
    looking: float


@dataclass(frozen=True)
class Plan:
    """What a run does. `epochs` of training after the head is fitted, 0 for the head alone; of `seconds`, if the clock ends it.

    `after` are the seconds that are kept for what comes then: validation, the file, the report.
    `lr` is for `fine_tune`. `features` says whether the head is first fitted to features computed once.
    """

    arch: str
    size: int
    bs: int
    epochs: int
    lr: float
    seconds: float | None = None
    after: float = 0.0
    features: bool = True


def usual_size(pictures: Pictures, native: int) -> int:
    """The size that a network's weights were made for, or less where the pictures have no more to show."""
    enough = next((size for size in _SIZES if size >= pictures.side), _SIZES[-1])
    return min(native, enough)


def batch_size(items: int) -> int:
    """64, or fewer where that would make few steps of an epoch."""
    return 64 if items >= 256 else 32 if items >= 96 else 8


def native_size(arch: str) -> int:
    """Pixels a side of the pictures that the network's weights were made for. Raises `DownloadError` without weights."""
    _, expects = build(arch, pretrained=True)
    return 224 if expects is None else max(expects.size)


def fixed_plan(pictures: Pictures, items: int, epochs: int) -> Plan:
    """The plan for so many epochs: the same on every machine."""
    arch, bs = pictures.config.arch or SMALL, batch_size(items)
    size = pictures.config.size or usual_size(pictures, native_size(arch))
    return Plan(arch, size, bs, epochs, rate_for(epochs * len(pictures.loaders(size, bs).train)))


def rate_for(steps: int) -> float:
    """From a head that is as good as it can be, few steps may not go far: see `fine_tune`."""
    return BASE_LR * min(1.0, steps / _STEPS_TO_SETTLE)


def timed_plan(pictures: Pictures, items: tuple[int, int], left: Callable[[], float], ranks: Ranks) -> Plan:
    """The plan for the seconds that are `left()`, after a short trial. `items` are those of both sides.

    Raises `DataError` when that is too short even for the head alone.
    """
    config = pictures.config
    if config.arch is None and torch.cuda.is_available():
        try:
            size = config.size or usual_size(pictures, native_size(LARGE))
            plan = plan_at(pictures, LARGE, size, pace_of(pictures, LARGE, size, ranks), items, left())
            if plan.epochs >= _MANY_EPOCHS:
                return plan
        except (DownloadError, DataError):  # not to be had, or too slow: the small one then
            pass
    arch = config.arch or SMALL
    size = config.size or usual_size(pictures, native_size(arch))
    return plan_at(pictures, arch, size, pace_of(pictures, arch, size, ranks), items, left())


def plan_at(pictures: Pictures, arch: str, at: int, pace: Pace, items: tuple[int, int], left: float) -> Plan:
    """The plan for `left` seconds, when the pace at size `at` is this."""
    train, valid = items
    config, bs = pictures.config, batch_size(train)

    def after(looking: float) -> float:
        return _TAIL + (_GRAPH if with_graph(config) else 0) + 3 * valid * looking

    def after_head(size: int) -> tuple[float, float, float]:
        """Seconds that are left for training, those of an epoch, and those of one look at all."""
        larger = (size / at) ** 2
        looking = pace.looking * larger
        once = looking * (train + valid)
        return left - once - after(looking), pace.learning * larger * train + looking * valid, once

    sizes = [config.size] if config.size else [*(size for size in _SIZES if size < at), at]
    size = sizes[0]
    for larger in sizes:  # details that can be seen are worth more than epochs
        rest, epoch, _ = after_head(larger)
        if rest >= 0:
            size = larger
    rest, epoch, once = after_head(size)
    a_step = pace.learning * (size / at) ** 2 * bs
    kept = after(pace.looking * (size / at) ** 2)
    if rest < 0:
        # So many pictures that one look at all is too long: learn from as many as there is time for.
        without = rest + once
        if without < _ENOUGH_STEPS * a_step:
            raise _too_short(config, min(-rest, _ENOUGH_STEPS * a_step - without))
        steps = int(without / a_step)
        epochs = max(1, round(without / epoch))
        return Plan(arch, size, bs, epochs, rate_for(steps), without, kept, features=False)
    if rest < _FEWEST_STEPS * a_step:
        return Plan(arch, size, bs, 0, 0.0)
    steps = int(rest / a_step)
    return Plan(arch, size, bs, max(1, round(rest / epoch)), rate_for(steps), rest, kept)


def with_graph(config: RunConfig) -> bool:
    """Whether the model file gets the network as a graph too, by which predictions start at once: it takes some seconds."""
    if config.minutes is not None and config.minutes < _WORTH_A_GRAPH:
        return False
    return all(find_spec(library) for library in ("onnx", "onnxscript", "onnxruntime"))


def _too_short(config: RunConfig, lacking: float) -> DataError:
    assert config.minutes is not None
    least = math.ceil((config.minutes + lacking / 60) * 10 + 1) / 10
    return DataError(
        f"--minutes is {config.minutes:g}, which is over before anything is learned: to read, look at and judge these images "
        "alone takes longer on this machine",
        try_=f"--minutes {least:.1f} or more",
    )


def pace_of(pictures: Pictures, arch: str, size: int, ranks: Ranks) -> Pace:
    """The pace of the whole way of some pictures: reading, both directions through the network, the same on all processes."""
    with preserve_random_state():
        dls = pictures.loaders(size, _TRIAL_BS, only=_TRIAL)
        learn = vision_learner(dls, arch)
        model = copy.deepcopy(learn.model).to(learn.device).requires_grad_(True)
        learning = _median_seconds(dls.train, learn.device, lambda x: _learn(model.train(), x))
        looking = _median_seconds(
            dls.unaugmented(), learn.device, lambda x: _look(model.eval(), x), warm_up=1
        )
    return Pace(*(ranks.agree(round(seconds * 1e6)) / 1e6 for seconds in (learning, looking)))


def _median_seconds(
    batches: Any, device: torch.device, act: Callable[[Any], None], warm_up: int = _SETTLED
) -> float:
    """Seconds an image, reading included, over the batches after the first `warm_up`."""
    took: list[float] = []
    count, began = 0, time.perf_counter()
    for count, batch in enumerate(batches, 1):
        x = to_device(batch[0], device)
        act(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ended = time.perf_counter()
        if count > warm_up:
            took.append((ended - began) / len(x))
        began = ended
    return sorted(took)[len(took) // 2] if took else (time.perf_counter() - began) / max(count, 1) / _TRIAL_BS


def _learn(model: nn.Module, x: Any) -> None:
    model(x).float().logsumexp(dim=1).sum().backward()
    model.zero_grad()


def _look(model: nn.Module, x: Any) -> None:
    with torch.no_grad():
        model(x)
