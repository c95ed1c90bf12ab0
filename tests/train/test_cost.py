"""What the loop costs: frames, waits for the device, memory, random numbers."""

from __future__ import annotations

import gc
import inspect
import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.optim import SGD
from plainlearn.train import Callback, Epoch, Learner, Result

Make = Callable[..., Learner]


def test_one_frame_lies_between_fit_and_the_optimizer_s_step(make_learner: Make) -> None:
    depths: list[int] = []

    class Looking:
        def __init__(self, params: Any, lr: float) -> None:
            self.params, self.lr = list(params), lr

        def step(self) -> None:
            names = [frame.function for frame in inspect.stack(0)]
            depths.append(names.index("fit") - names.index("step") - 1)

        def zero_grad(self) -> None:
            for p in self.params:
                p.grad = None

    make_learner(opt_func=Looking).fit(1)
    assert len(depths) == 3
    assert max(depths) == 1  # _train_epoch


def test_no_step_of_an_epoch_looks_at_a_value_of_the_device(batches: Any) -> None:
    """On the `meta` device there are no values: whoever asks for one fails. So all steps must come before that."""
    steps: list[Tensor] = []

    class Count(Callback):
        def on_step(self, learner: Learner, result: Result) -> None:
            steps.append(result.loss)

    data = [(x.to("meta"), y.to("meta")) for x, y in batches(8, 8, 8)]
    learn = Learner(
        SimpleNamespace(train=data, valid=None), nn.Linear(3, 1, device="meta"), nn.functional.mse_loss, SGD,
        device="meta", cbs=Count(),
    )  # fmt: skip
    del learn.callbacks[0]  # FiniteLoss looks, where there is no CUDA device to send a copy ahead
    with pytest.raises((RuntimeError, NotImplementedError)) as caught:
        learn.fit_one_cycle(1, 0.1)
    assert "smooth_loss" in [frame.name for frame in caught.traceback]
    assert [loss.device.type for loss in steps] == ["meta"] * 3


def live_tensors() -> list[Tensor]:
    gc.collect()
    return [
        thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)
    ]  # some objects warn when asked


def test_nothing_of_autograd_is_alive_after_a_run(make_learner: Make) -> None:
    learn = make_learner(metrics=lambda p, y: (p - y).mean())
    before = {id(tensor) for tensor in live_tensors()}
    learn.fit_one_cycle(2)
    learn.get_preds(with_loss=True, with_input=True)
    new = [tensor for tensor in live_tensors() if id(tensor) not in before]
    assert [tensor for tensor in new if tensor.grad_fn is not None] == []
    assert all(parameter.grad is None for parameter in learn.model.parameters())


def test_memory_is_flat_over_a_thousand_epochs(make_learner: Make, batches: Any) -> None:
    class Measure(Callback):
        def __init__(self) -> None:
            self.tensors: list[int] = []
            self.bytes: list[int] = []

        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            if epoch.number in (199, 599, 999):
                self.tensors.append(len(live_tensors()))
                self.bytes.append(tracemalloc.get_traced_memory()[0])

    measure = Measure()
    learn = make_learner(train=batches(4), valid=batches(4), metrics=lambda p, y: (p - y).mean(), cbs=measure)
    tracemalloc.start()
    try:
        with learn.no_logging():
            learn.fit(1000, lr=1e-3)
    finally:
        tracemalloc.stop()
    assert len(set(measure.tensors)) == 1
    assert sum(measure.tensors) > 0
    # The record grows, by a row and a loss an epoch: some hundred bytes. Nothing else may.
    grown = [(b - a) / 400 for a, b in itertools.pairwise(measure.bytes)]
    assert max(grown) < 1000, f"{grown} bytes an epoch"


def test_the_random_numbers_of_a_run_do_not_depend_on_whether_it_is_rehearsed(
    make_learner: Make, batches: Any
) -> None:
    class Draw:
        """A validation set that draws, as one with random crops does."""

        def __iter__(self) -> Iterator[Any]:
            for x, y in batches(4, 4):
                yield x + torch.rand(1), y

    draws: list[float] = []
    for rehearsed in (False, True):
        learn = make_learner(valid=Draw())
        if rehearsed:
            learn._rehearsed = (learn.dls.valid, learn.model, learn.step)
        torch.manual_seed(1)
        learn.fit(1)
        draws.append(torch.rand(1).item())
    assert draws[0] == draws[1]
