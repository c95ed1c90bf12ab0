"""Weighted draws: chances are those of the weights, an epoch keeps its length, a seed repeats it, a state resumes it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError
from plainlearn.data import CategoryBlock, DataBlock, DataLoader, DataLoaders, MultiCategoryBlock
from plainlearn.data.blocks import Block
from plainlearn.data.weighted import WeightedDataLoader, balancing_weights


def drawn(loader: Any) -> list[int]:
    return torch.cat(list(loader)).tolist()


def labelled(labels: list[Any], block: Any = CategoryBlock) -> Any:
    """Loaders of numbered items with these labels, all in training but the last two."""
    items = list(enumerate(labels))
    data = DataBlock(
        blocks=(Block, block),
        get_x=lambda item: item[0],
        get_y=lambda item: item[1],
        splitter=lambda _: (range(len(items) - 2), range(len(items) - 2, len(items))),
    )
    return data.dataloaders(items, bs=7, num_workers=0, device="cpu", seed=0)


def test_items_come_as_often_as_their_weights_say() -> None:
    weights = torch.tensor([1.0, 0.0, 3.0, 4.0]).repeat(2500)
    found = Counter(
        number % 4 for number in drawn(WeightedDataLoader(range(10_000), weights, bs=1000, seed=0))
    )
    shares = [found[number] / 10_000 for number in range(4)]
    assert shares == pytest.approx([1 / 8, 0, 3 / 8, 4 / 8], abs=0.015)


def test_even_weights_draw_every_item_alike() -> None:
    loader = WeightedDataLoader(range(20), [0.3] * 20, bs=20, seed=1)
    found = Counter(number for _ in range(1000) for number in drawn(loader))
    assert min(found.values()) > 850
    assert max(found.values()) < 1150


@pytest.mark.parametrize("dataset", [range(23), torch.arange(23)])  # read by number, and cut out of a tensor
@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epoch_is_as_long_as_ever(dataset: Any, drop_last: bool) -> None:
    weights = [0.0] * 22 + [1.0]
    plain = DataLoader(dataset, bs=5, shuffle=True, drop_last=drop_last)
    loader = WeightedDataLoader(dataset, weights, bs=5, drop_last=drop_last)
    assert len(loader) == len(plain)
    assert [len(batch) for batch in loader] == [len(batch) for batch in plain]
    assert set(drawn(loader)) == {22}


def test_a_seed_repeats_the_draws_and_epochs_differ() -> None:
    first, second = (WeightedDataLoader(range(50), range(50), bs=8, seed=3) for _ in range(2))
    epochs = [drawn(first), drawn(first)]
    assert epochs == [drawn(second), drawn(second)]
    assert epochs[0] != epochs[1]
    torch.manual_seed(4)
    unseeded = drawn(WeightedDataLoader(range(50), range(50), bs=8))
    torch.manual_seed(4)
    assert drawn(WeightedDataLoader(range(50), range(50), bs=8)) == unseeded


@pytest.mark.parametrize("workers", [0, 2])
def test_it_resumes_in_the_middle_of_an_epoch(workers: int) -> None:
    def make() -> WeightedDataLoader:
        return WeightedDataLoader(range(50), range(50), bs=8, num_workers=workers)

    torch.manual_seed(0)
    loader, seen = make(), list[Any]()
    for batch in loader:
        seen.append(batch)
        if len(seen) == 3:
            state = loader.state_dict()
    resumed = make()
    resumed.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(resumed, seen[3:], strict=True))


def test_other_weights_do_not_resume() -> None:
    loader = WeightedDataLoader(range(9), [1] * 9, bs=3)
    next(iter(loader))
    with pytest.raises(DataError, match="the state was saved with weights="):
        WeightedDataLoader(range(9), [2] + [1] * 8, bs=3).load_state_dict(loader.state_dict())


def test_the_last_item_with_a_chance_is_the_last_that_comes() -> None:
    loader = WeightedDataLoader(range(3), [0.0, 1e-300, 0.0], bs=3)
    assert drawn(loader) == [1, 1, 1]


def test_every_class_comes_equally_often() -> None:
    dls = labelled(["cat"] * 900 + ["dog"] * 90 + ["emu"] * 10 + ["cat", "dog"])
    balanced = dls.weighted()
    labels = torch.cat([y for _ in range(3) for _, y in balanced.train])
    shares = torch.bincount(labels) / len(labels)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.05)
    assert len(balanced.train) == len(dls.train)
    assert balanced.valid is dls.valid
    assert balanced.vocab == dls.vocab
    assert not isinstance(dls.train, WeightedDataLoader), "the loaders themselves were changed"


def test_of_several_labels_the_rarest_counts() -> None:
    dls = labelled([["a"], ["a", "b"], ["a"], [], ["b", "c"], ["a"], ["a"]], MultiCategoryBlock)
    assert balancing_weights(dls.train.dataset).tolist() == [1 / 3, 1 / 2, 1 / 3, 1, 1]


def test_weights_of_one_s_own_are_taken_as_they_are() -> None:
    dls = DataLoaders(DataLoader(range(6), bs=6, shuffle=True), DataLoader(range(2)))
    assert drawn(dls.weighted([0, 0, 0, 5, 0, 0]).train) == [3] * 6


def test_the_settings_are_the_loader_s() -> None:
    def double(batch: Any, _: Any) -> Any:
        return batch * 2

    made = DataLoader(range(9), bs=4, shuffle=True, drop_last=True, seed=7, num_workers=1, after_batch=double)
    loader = DataLoaders(made).weighted([1.0] * 9).train
    assert loader.settings() == made.settings() | {"weights": loader.weights}


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1.0, 2.0], ShapeError, r"the weights have the shape \(2,\); expected one for each of 3 items"),
        ([1.0, -2.0, 1.0], ArgumentError, "a weight is -2; expected numbers of 0 or more"),
        ([1.0, float("nan"), 1.0], ArgumentError, "a weight is nan; expected"),
        ([0, 0, 0], ArgumentError, "all weights are 0; expected"),
        (["a", "b", "c"], ArgumentTypeError, "expected one number an item"),
        ("even", ArgumentError, "weights is 'even'; expected 'auto'"),
        ("auto", DataError, "the items of range do not say their classes"),
    ],
)
def test_weights_that_are_none_are_refused(weights: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        DataLoaders(DataLoader(range(3), bs=2)).weighted(weights)


def test_what_has_no_order_to_draw_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="the training batches are a list; expected a DataLoader"):
        DataLoaders([torch.zeros(2)]).weighted([1.0])
    with pytest.raises(ArgumentError, match="shuffle=False leaves nothing to chance"):
        WeightedDataLoader(range(3), [1, 1, 1], shuffle=False)
