"""What is measured as faster is kept, what is not is undone, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.data import DataLoader, DataLoaders
from plainlearn.optim import SGD
from plainlearn.train import Learner, tuning

Make = Callable[..., Learner]


def test_what_is_faster_stays_and_what_is_slower_goes(
    make_learner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1.0, 0.99, 0.5])
    monkeypatch.setattr(tuning, "_step_seconds", lambda learner: next(times))
    learn = make_learner()
    assert learn.speed_up() == {"as it was": 1.0, "channels_last": 0.99, "bf16": 0.5}
    assert repr(learn.precision) == "bf16"
    times = iter([1.0, 1.0])
    learn = make_learner()
    assert list(learn.speed_up(channels_last=False)) == ["as it was", "bf16"]
    assert repr(learn.precision) == "fp32"


def test_a_real_measurement_leaves_weights_and_random_state(make_learner: Make) -> None:
    learn = make_learner()
    weight, state = learn.model.weight.detach().clone(), torch.get_rng_state()  # type: ignore[union-attr,operator]
    taken = learn.speed_up(bf16=False, channels_last=False)
    assert list(taken) == ["as it was"]
    assert taken["as it was"] > 0
    assert torch.equal(weight, learn.model.weight)  # type: ignore[arg-type]
    assert torch.equal(state, torch.get_rng_state())


def test_time_is_bounded(make_learner: Make) -> None:
    assert list(make_learner().speed_up(seconds=1e-9)) == ["as it was"]
    with pytest.raises(ArgumentError, match="seconds is 0"):
        make_learner().speed_up(seconds=0)


# ---- too large a batch is found out, explained, and made smaller on request


class Hungry(nn.Module):
    """Has memory for so many items."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.layer = most, nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError(f"no room for {len(x)} items")
        return self.layer(x)


def learner(most: int, bs: int) -> Learner:
    torch.manual_seed(0)
    x = torch.randn(100, 3)
    loader = DataLoader(list(zip(x, x.sum(1, keepdim=True), strict=True)), bs=bs, shuffle=True)
    return Learner(DataLoaders(loader), Hungry(most), nn.functional.mse_loss, SGD, device="cpu")


def test_running_out_of_memory_says_what_was_tried_and_what_to_do() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="no room for 64 items") as caught:
        learner(20, 64).fit(1)
    notes = "\n".join(caught.value.__notes__)
    assert "in epoch 0, batch 0 with batches of 64, in fp32 on cpu" in notes
    assert "Try bs=32 with GradientAccumulation(64), learn.find_batch_size(use=True)" in notes


@pytest.mark.parametrize(("most", "found"), [(2, 2), (20, 16), (64, 64), (10**6, 64)])  # of 100
def test_the_largest_batch_that_fits_is_found(most: int, found: int) -> None:
    assert learner(most, 2).find_batch_size() == found


def test_the_search_leaves_no_trace_and_lowers_bs_only_on_request() -> None:
    learn = learner(20, 32)
    learn.dls.train.bs = 8
    before, state = learn.dls.train.state_dict(), torch.get_rng_state()
    weights = learn.model.layer.weight.detach().clone()  # type: ignore[union-attr,operator]
    assert learn.find_batch_size() == 16
    assert learn.dls.train.state_dict() == before
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(weights, learn.model.layer.weight)  # type: ignore[union-attr,arg-type]
    assert learn.find_batch_size(use=True) == 16
    assert learn.dls.train.bs == 8  # which fits
    learn = learner(20, 20)
    assert learn.find_batch_size(use=True) == 16
    assert learn.dls.train.bs == 16
    learn.fit(1)


def test_where_nothing_fits_the_error_comes_out() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        learner(0, 2).find_batch_size()
    with pytest.raises(ArgumentError, match="highest is 1; expected 2 or more"):
        learner(4, 2).find_batch_size(1)
