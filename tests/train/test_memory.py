"""Too large a batch is found out, explained, and made smaller on request."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.data import DataLoader, DataLoaders
from plainlearn.optim import SGD
from plainlearn.train import Learner


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
