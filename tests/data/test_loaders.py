"""Training and validation batches side by side: any iterables, and what is none of batches is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.data.loader import DataLoader
from plainlearn.data.loaders import DataLoaders

X, Y = torch.arange(10.0).reshape(5, 2), torch.arange(5)
BATCHES = [(X, Y)]


def test_any_iterables_of_batches_stand_side_by_side() -> None:
    train, valid, test = DataLoader(range(5)), torch.utils.data.DataLoader([1, 2]), BATCHES
    dls = DataLoaders(train, valid, test, path="models", n_inp=1, device="cpu")
    assert (dls.train, dls.valid) == (train, valid)
    assert [dls[0], dls[1], dls[2]] == list(dls) == [train, valid, test]
    assert len(dls) == 3
    assert (dls.path, dls.n_inp, dls.device) == (Path("models"), 1, torch.device("cpu"))
    assert dls.train_ds == range(5)
    assert dls.valid_ds == [1, 2]


def test_without_validation_valid_is_none() -> None:
    dls = DataLoaders(BATCHES)
    assert dls.valid is None
    assert (dls.path, dls.n_inp, dls.device) == (Path(), None, None)


def test_it_shows_its_loaders() -> None:
    assert repr(DataLoaders([1], [2])) == "DataLoaders([1], [2])"


@pytest.mark.parametrize(
    ("loaders", "kind", "words"),
    [
        ((), ArgumentError, "DataLoaders got no loader; expected .*\n  Try DataLoaders\\(dl, valid_dl\\)"),
        ((5,), ArgumentTypeError, "loader 0 is int 5; expected an iterable of batches"),
        ((BATCHES, None), ArgumentTypeError, "loader 1 is NoneType None; expected an iterable of batches"),
        ((X, Y), ArgumentTypeError, r"loader 0 is Tensor of shape \(5, 2\); expected an iterable of batches"),
        ((np.zeros(3),), ArgumentTypeError, r"loader 0 is ndarray of shape \(3,\); expected"),
        (("path/to",), ArgumentTypeError, "loader 0 is str 'path/to'; expected an iterable of batches"),
        (({"train": BATCHES},), ArgumentTypeError, "loader 0 is dict"),
        ((DataLoaders(BATCHES),), ArgumentTypeError, "loader 0 is DataLoaders"),
    ],
)
def test_what_are_no_batches_is_refused(loaders: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        DataLoaders(*loaders)


def test_a_missing_dataset_is_told() -> None:
    with pytest.raises(AttributeError, match="the validation batches have no dataset: there is none"):
        DataLoaders(BATCHES).valid_ds  # noqa: B018
    with pytest.raises(AttributeError, match="the training batches have no dataset: they are a list"):
        DataLoaders(BATCHES).train_ds  # noqa: B018


def test_one_batch_is_the_first_of_training() -> None:
    assert DataLoaders(BATCHES, [1]).one_batch() is BATCHES[0]
    loader = DataLoader(range(5), bs=2, shuffle=True, seed=3)
    state = loader.state_dict()
    batch = DataLoaders(loader).one_batch()
    assert loader.state_dict() == state  # looking is no step on the way
    assert batch.equal(next(iter(loader)))


@pytest.mark.parametrize("empty", [[], iter([])])
def test_one_batch_of_nothing_is_an_error(empty: Any) -> None:
    with pytest.raises(
        ValueError, match="the training loader gave no batch; expected at least one"
    ) as caught:
        DataLoaders(empty).one_batch()
    assert isinstance(caught.value, DataError)


def test_tensors_become_a_shuffled_and_an_ordered_loader() -> None:
    dls = DataLoaders.from_tensors((X, Y), (X[:3], Y[:3]), bs=2, seed=1, device="cpu")
    train = [label for _, yb in dls.train for label in yb.tolist()]
    assert sorted(train) == [0, 1, 2, 3, 4] != train
    assert all(xb.equal(X[yb]) for xb, yb in dls.train)
    assert [yb.tolist() for _, yb in dls.valid] == [[0, 1], [2]]
    again = DataLoaders.from_tensors((X, Y), (X, Y), bs=2, seed=1)
    assert [label for _, yb in again.train for label in yb.tolist()] == train
    assert dls.device == torch.device("cpu")
    assert again.device is None
    in_order = DataLoaders.from_tensors((X, Y), (X, Y), bs=5, shuffle=False)
    assert in_order.one_batch()[1].tolist() == [0, 1, 2, 3, 4]


def test_tensors_are_moved_once_and_cut_where_they_are() -> None:
    dls = DataLoaders.from_tensors((X, Y), (X, Y), device="meta")
    assert {column.device.type for column in dls.train_ds.columns} == {"meta"}
    assert {column.device.type for column in dls.valid.one_batch()} == {"meta"}
    assert DataLoaders.from_tensors((X,), (X,)).train_ds.columns[0] is X


@pytest.mark.parametrize(
    ("train", "valid", "kind", "words"),
    [
        ((X, Y[:4]), (X, Y), DataError, "the tensors have 5, 4 rows; expected the same number in each"),
        ((X, Y), (X, Y[:4]), DataError, "the tensors have 5, 4 rows; expected the same number in each"),
        (X, (X, Y), ArgumentTypeError, r"train is Tensor of shape \(5, 2\); expected a tuple of tensors"),
        ((X, Y), None, ArgumentTypeError, "valid is NoneType None; expected a tuple of tensors"),
        ((X, [1, 2]), (X, Y), ArgumentTypeError, r"column 1 is list \[1, 2\]; expected a tensor with rows"),
        ((), (X, Y), ArgumentError, "no tensor was given; expected one or more"),
        ((X[:0], Y[:0]), (X, Y), DataError, "the dataset is empty; expected at least one item"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(
    train: Any, valid: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        DataLoaders.from_tensors(train, valid)
