"""The plan of a run: network, size, batch and length, from the pictures, the time, and what a short trial on this machine takes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor, nn

from plainlearn.core.errors import DataError, DownloadError
from plainlearn.core.seed import preserve_random_state
from plainlearn.core.tensors import to_device
from plainlearn.models.archs import build
from plainlearn.runs.config import RunConfig
from plainlearn.runs.training_data import Pictures
from plainlearn.train.distributed import Ranks
from plainlearn.vision.learner import vision_learner

__all__ = ["Pace", "Plan", "fixed_plan", "measure_pace", "plan_at", "timed_plan", "with_graph"]

#: A small network that knows photos, and which `plainlearn[offline]` brings; a larger one, for a GPU and enough time.
SMALL: Final = "tf_efficientnet_lite0"
LARGE: Final = "convnext_tiny.in12k_ft_in1k"
_MANY_EPOCHS: Final = 12  # for the larger network
_FEWEST_STEPS: Final = 8  # after the head is fitted
_ENOUGH_STEPS: Final = 50  # where it is not
_STEPS_TO_SETTLE: Final = 100
BASE_LR: Final = 2e-3
_SIZES: Final = (64, 96, 128, 160, 192, 224, 256, 288, 320, 384)
_TRIAL_IMAGES: Final = 40
_TRIAL_BS: Final = 8
_REPORT_SECONDS: Final = 2.5  # the file and the report, beside three looks at the validation pictures
_GRAPH_SECONDS: Final = 14.0  # the network as a graph beside
_MIN_GRAPH_MINUTES: Final = 3.0  # shorter runs go without
_WARM_UP_BATCHES: Final = 2  # batches before the clock counts: kernels are compiled and chosen in them


@dataclass(frozen=True)
class Pace:
    """Seconds that this machine takes for one picture: to learn from it, and only to predict it."""

    training: float
    inference: float


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


def default_size(pictures: Pictures, native: int) -> int:
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
    size = pictures.config.size or default_size(pictures, native_size(arch))
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
            size = config.size or default_size(pictures, native_size(LARGE))
            plan = plan_at(pictures, LARGE, size, measure_pace(pictures, LARGE, size, ranks), items, left())
            if plan.epochs >= _MANY_EPOCHS:
                return plan
        except (DownloadError, DataError):  # not to be had, or too slow: the small one then
            pass
    arch = config.arch or SMALL
    size = config.size or default_size(pictures, native_size(arch))
    return plan_at(pictures, arch, size, measure_pace(pictures, arch, size, ranks), items, left())


def plan_at(pictures: Pictures, arch: str, at: int, pace: Pace, items: tuple[int, int], left: float) -> Plan:
    """The plan for `left` seconds, when the pace at size `at` is this."""
    train, valid = items
    config, bs = pictures.config, batch_size(train)

    def after(inference: float) -> float:
        return _REPORT_SECONDS + (_GRAPH_SECONDS if with_graph(config) else 0) + 3 * valid * inference

    def after_head(size: int) -> tuple[float, float, float]:
        """Seconds that are left for training, those of an epoch, and those of one look at all."""
        larger = (size / at) ** 2
        inference = pace.inference * larger
        once = inference * (train + valid)
        return left - once - after(inference), pace.training * larger * train + inference * valid, once

    sizes = [config.size] if config.size else [*(size for size in _SIZES if size < at), at]
    size = sizes[0]
    for larger in sizes:  # details that can be seen are worth more than epochs
        rest, epoch, _ = after_head(larger)
        if rest >= 0:
            size = larger
    rest, epoch, once = after_head(size)
    step_seconds = pace.training * (size / at) ** 2 * bs
    kept = after(pace.inference * (size / at) ** 2)
    if rest < 0:
        # So many pictures that one look at all is too long: learn from as many as there is time for.
        without = rest + once
        if without < _ENOUGH_STEPS * step_seconds:
            raise _too_short(config, min(-rest, _ENOUGH_STEPS * step_seconds - without))
        steps = int(without / step_seconds)
        epochs = max(1, round(without / epoch))
        return Plan(arch, size, bs, epochs, rate_for(steps), without, kept, features=False)
    if rest < _FEWEST_STEPS * step_seconds:
        return Plan(arch, size, bs, 0, 0.0)
    steps = int(rest / step_seconds)
    return Plan(arch, size, bs, max(1, round(rest / epoch)), rate_for(steps), rest, kept)


def with_graph(config: RunConfig) -> bool:
    """Whether the model file gets the network as a graph too, by which predictions start at once: it takes some seconds."""
    if config.minutes is not None and config.minutes < _MIN_GRAPH_MINUTES:
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


def measure_pace(pictures: Pictures, arch: str, size: int, ranks: Ranks) -> Pace:
    """The pace of the whole way of some pictures: reading, both directions through the network, the same on all processes."""
    with preserve_random_state():
        dls = pictures.loaders(size, _TRIAL_BS, only=_TRIAL_IMAGES)
        learn = vision_learner(dls, arch)
        model = copy.deepcopy(learn.model).to(learn.device).requires_grad_(True)
        training = _median_seconds(dls.train, learn.device, lambda x: _train_step(model.train(), x))
        inference = _median_seconds(
            dls.unaugmented(), learn.device, lambda x: _infer(model.eval(), x), warm_up=1
        )
    return Pace(*(ranks.agree(round(seconds * 1e6)) / 1e6 for seconds in (training, inference)))


def _median_seconds(
    batches: Iterable[Sequence[Tensor]],
    device: torch.device,
    act: Callable[[Tensor], None],
    warm_up: int = _WARM_UP_BATCHES,
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


def _train_step(model: nn.Module, x: Tensor) -> None:
    model(x).float().logsumexp(dim=1).sum().backward()
    model.zero_grad()


def _infer(model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        model(x)
