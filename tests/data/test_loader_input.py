"""Bad input to a loader: one sentence that names the thing, what was found, what was expected."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, PlainlearnError
from plainlearn.data.loader import DataLoader


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(5))


class WithoutLength(Dataset[int]):
    def __getitem__(self, index: int) -> int:
        return index


DATA = range(10)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: DataLoader(DATA, 0), ArgumentError, "batch_size is 0; expected a whole number of 1 or more"),
        (
            lambda: DataLoader(DATA, bs=0),
            ArgumentError,
            "bs is 0; expected a whole number of 1 or more\n  Try bs=64",
        ),
        (lambda: DataLoader(DATA, bs=-1), ArgumentError, "bs is -1; expected a whole number of 1 or more"),
        (lambda: DataLoader(DATA, bs=2.5), ArgumentTypeError, "bs is float 2.5; expected a whole number"),
        (lambda: DataLoader(DATA, bs=64.0), ArgumentTypeError, "bs is float 64.0; expected a whole number"),
        (lambda: DataLoader(DATA, bs=True), ArgumentTypeError, "bs is bool True; expected a whole number"),
        (lambda: DataLoader(DATA, True), ArgumentTypeError, "batch_size is bool True"),
        (lambda: DataLoader(DATA, bs="64"), ArgumentTypeError, "bs is str '64'; expected a whole number"),
        (lambda: DataLoader(DATA, torch.zeros(10)), ArgumentTypeError, "batch_size is Tensor of shape (10,)"),
        (lambda: DataLoader(DATA, 4, bs=5), ArgumentError, "batch_size=4 and bs=5 are two names of one thing"),
        (lambda: DataLoader(DATA, 1, bs=True), ArgumentTypeError, "bs is bool True"),
        (lambda: DataLoader(DATA, num_workers=-1), ArgumentError, "num_workers is -1; expected a whole number of 0"),
        (lambda: DataLoader(DATA, num_workers=1.5), ArgumentTypeError, "num_workers is float 1.5"),
        (lambda: DataLoader(DATA, num_workers="2"), ArgumentTypeError, "num_workers is str '2'"),
        (lambda: DataLoader(DATA, seed="a"), ArgumentTypeError, "seed is str 'a'; expected a whole number"),
        (lambda: DataLoader(DATA, seed=1.5), ArgumentTypeError, "seed is float 1.5; expected a whole number"),
        (lambda: DataLoader(DATA, collate_fn=3), ArgumentTypeError, "collate_fn is int 3; expected a function"),
        (lambda: DataLoader(DATA, after_batch="x"), ArgumentTypeError, "after_batch is str 'x'; expected a function"),
        (lambda: DataLoader([]), DataError, "the dataset is empty; expected at least one item"),
        (lambda: DataLoader(iter([])), DataError, "the dataset is empty; expected at least one item"),
        (lambda: DataLoader(torch.zeros(0, 3)), DataError, "the dataset is empty; expected at least one item"),
        (
            lambda: DataLoader(range(3), bs=4, drop_last=True),
            DataError,
            "the dataset has 3 items, fewer than one batch of 4, and drop_last=True drops it\n"
            "  Try bs=3, or drop_last=False",
        ),
        (
            lambda: DataLoader(None),
            ArgumentTypeError,
            "the dataset is NoneType None; expected something with [i] and len, or something to iterate over",
        ),
        (lambda: DataLoader(5), ArgumentTypeError, "the dataset is int 5; expected something with [i] and len"),
        (lambda: DataLoader(torch.tensor(5)), ArgumentTypeError, "the dataset is Tensor tensor(5); expected"),
        (lambda: DataLoader(np.array(5)), ArgumentTypeError, "the dataset is ndarray array(5); expected"),
        (lambda: DataLoader(Stream), ArgumentTypeError, "the dataset is the class Stream; expected an object"),
        (lambda: DataLoader(WithoutLength()), ArgumentTypeError, "expected something with [i] and len"),
        (
            lambda: DataLoader({"a": 1}),
            ArgumentTypeError,
            "the dataset is a dict, whose [i] is no i-th item; expected a list of items\n"
            "  Try list(data.values()), or list(data.items())",
        ),
        (lambda: DataLoader(pd.DataFrame({"a": [1]})), ArgumentTypeError, 'Try data.to_dict("records")'),
        (lambda: DataLoader(pd.Series([1, 2])), ArgumentTypeError, "the dataset is a Series, whose [i] is no"),
        (
            lambda: DataLoader(Stream(), shuffle=True),
            ArgumentError,
            "shuffle=True needs a dataset with [i] and len; Stream can only be read in order\n"
            "  Try DataLoader(list(dataset), shuffle=True)",
        ),
        (lambda: DataLoader({1, 2}, shuffle=True), ArgumentError, "set can only be read in order"),
        (lambda: DataLoader(Stream(), processes=True), ArgumentError, "processes=True needs a dataset with [i]"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(make: Callable[[], Any], kind: type[PlainlearnError], words: str) -> None:
    with pytest.raises(kind) as caught:
        make()
    assert words in str(caught.value)


def test_an_iterator_without_end_is_refused_and_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plainlearn.data.loader._MOST_ITEMS_OF_AN_ITERATOR", 1000)
    assert len(DataLoader(iter(range(1000))).dataset) == 1000
    with pytest.raises(DataError, match=r"more than 1,000 items; it can be read only once, so it is kept"):
        DataLoader(itertools.count())


@pytest.mark.parametrize("size", [4, np.int64(4), torch.tensor(4)])
def test_any_whole_number_is_a_batch_size(size: Any) -> None:
    loader = DataLoader(DATA, bs=size)
    assert loader.bs == 4
    assert type(loader.bs) is int
    assert DataLoader(DATA, 4, bs=size).bs == 4
    assert DataLoader(DATA).bs == 64


GOOD = DataLoader(DATA, bs=3, seed=1, shuffle=True).state_dict() | {"epoch_seed": 7, "batches": 1}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, "this is not a loader's state: NoneType None; expected epochs_begun, epoch_seed, batches, bs,"),
        ([], "this is not a loader's state: list []"),
        ({"model": 1}, "this is not a loader's state: dict {'model': 1}"),
        (GOOD | {"bs": 4}, "the state was saved with bs=4, and this loader has bs=3; what remained of the epoch"),
        (GOOD | {"items": 9}, "the state was saved with items=9, and this loader has items=10"),
        (GOOD | {"shuffle": False}, "the state was saved with shuffle=False, and this loader has shuffle=True"),
        (GOOD | {"batches": -1}, "batches of a loader's state is -1; expected a whole number of 0 or more"),
        (GOOD | {"batches": "1"}, "batches of a loader's state is str '1'; expected a whole number"),
        (GOOD | {"epochs_begun": None}, "epochs_begun of a loader's state is NoneType None; expected"),
        (GOOD | {"epoch_seed": 1.5}, "epoch_seed of a loader's state is float 1.5; expected a whole number"),
    ],
)  # fmt: skip
def test_a_state_that_does_not_fit_is_refused(state: Any, words: str) -> None:
    loader = DataLoader(DATA, bs=3, seed=1, shuffle=True)
    with pytest.raises(PlainlearnError) as caught:
        loader.load_state_dict(state)
    assert words in str(caught.value)
    assert loader.state_dict() == DataLoader(DATA, bs=3, seed=1, shuffle=True).state_dict()


def test_between_epochs_a_state_fits_a_loader_with_other_batches() -> None:
    loader = DataLoader(DATA, bs=3, seed=1, shuffle=True)
    list(loader)
    other = DataLoader(range(12), bs=5, seed=1, shuffle=True)
    other.load_state_dict(loader.state_dict())
    assert other.epochs_begun == 1
    assert len(list(other)) == 3
