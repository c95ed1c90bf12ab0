"""Tensors behind a dataset: found without a copy, noticed when items change, given up where they are not there."""

from __future__ import annotations

import random
from collections import UserList, deque
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.lists import L
from plainlearn.data.columns import ColumnFinder, TensorRows, columns_of, cut


def data(rows: int = 6) -> tuple[Tensor, Tensor]:
    return torch.arange(rows * 3.0).reshape(rows, 3), torch.arange(rows)


def shares_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


# ---- TensorRows


def test_rows_are_tuples_of_a_row_of_each_tensor() -> None:
    x, y = data()
    rows = TensorRows(x, y)
    assert len(rows) == 6
    assert rows[2][0].equal(x[2])
    assert rows[2][1] == 2
    assert rows.columns[0] is x
    assert repr(rows) == "TensorRows((6, 3), (6,))"


@pytest.mark.parametrize(
    ("tensors", "kind", "words"),
    [
        ((), ArgumentError, r"no tensor was given; expected one or more\n  Try TensorRows\(x, y\)"),
        (
            (torch.zeros(3), torch.zeros(2)),
            DataError,
            r"the tensors have 3, 2 rows; expected the same number",
        ),
        ((torch.zeros(3), [1, 2, 3]), ArgumentTypeError, r"column 1 is list \[1, 2, 3\]; expected a tensor"),
        (
            (torch.tensor(1),),
            ArgumentTypeError,
            r"column 0 is Tensor tensor\(1\); expected a tensor with rows",
        ),
    ],
)
def test_what_are_no_columns_is_refused(tensors: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        TensorRows(*tensors)


# ---- found


@pytest.mark.parametrize("container", [list, tuple, L])
def test_a_list_of_pairs_of_rows_is_the_two_tensors_again(container: Any) -> None:
    x, y = data()
    columns = columns_of(container(zip(x, y, strict=True)))
    assert isinstance(columns, tuple)
    assert [column.equal(tensor) for column, tensor in zip(columns, (x, y), strict=True)] == [True, True]
    assert shares_memory(columns[0], x)
    assert shares_memory(columns[1], y)


def test_a_list_of_rows_is_the_tensor_again() -> None:
    x, _ = data()
    column = columns_of(list(x))
    assert isinstance(column, Tensor)
    assert column.equal(x)
    assert shares_memory(column, x)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24.0).reshape(6, 4)[:, 1:3],  # rows with gaps between
        torch.arange(24.0).reshape(4, 6).T,  # rows that lie across
        torch.arange(8.0).unfold(0, 3, 1),  # rows that overlap
        torch.arange(24.0).reshape(6, 4)[1::2],  # every second
        torch.arange(6) > 2,
    ],
    ids=["gaps", "across", "overlapping", "every second", "bools"],
)
def test_rows_in_any_even_order_of_memory_are_found(tensor: Tensor) -> None:
    column = columns_of(list(tensor))
    assert isinstance(column, Tensor)
    assert column.equal(tensor)
    assert shares_memory(column, tensor)
    assert cut(column, torch.tensor([2, 0])).tolist() == tensor[[2, 0]].tolist()


def test_datasets_of_tensors_are_known() -> None:
    x, y = data()
    assert columns_of(TensorRows(x, y)) == (x, y)
    assert columns_of(TensorDataset(x, y)) == (x, y)
    assert columns_of(x) is x


# ---- not found


class Doubled(TensorDataset):
    def __getitem__(self, index: int) -> Any:
        return [2 * field for field in super().__getitem__(index)]


class Negated(TensorRows):
    def __getitem__(self, index: int) -> Any:
        return tuple(-field for field in super().__getitem__(index))


class OwnList(list[Any]):
    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index) * 2


class Lazy(Sequence[Tensor]):
    """Opens an item when it is asked for, and not before."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: Any) -> Tensor:
        raise AssertionError("nobody has asked for an item yet")


def own_memory(rows: int = 6) -> list[Tensor]:
    return [torch.full((3,), float(row)) for row in range(rows)]


def with_row(row: int, new: Any) -> list[Any]:
    rows: list[Any] = list(data()[0])
    rows[row] = new
    return rows


@pytest.mark.parametrize(
    "dataset",
    [
        Doubled(*data()),
        Negated(*data()),
        OwnList(data()[0]),
        Lazy(),
        UserList(data()[0]),
        deque(data()[0]),
        own_memory(),
        list(zip(data()[0], own_memory(), strict=True)),
        list(zip(data()[0], range(6), strict=True)),
        [[x, y] for x, y in zip(*data(), strict=True)],
        [(x,) if i else (x, x) for i, x in enumerate(data()[0])],
        list(data()[0])[:1],
        list(data()[0])[::-1],
        [data()[0][0]] * 6,
        with_row(3, "x"),
        with_row(3, None),
        with_row(3, (1,)),
        with_row(3, torch.zeros(3)),
        with_row(3, torch.zeros(4)),
        with_row(3, torch.zeros(3, dtype=torch.int32)),
        with_row(3, torch.zeros(3).to_sparse()),
        with_row(0, torch.zeros(3).to_sparse()),
        with_row(3, torch.nn.Parameter(torch.zeros(3))),
        [torch.zeros(3).to_sparse()] * 6,
        list(torch.zeros(6, 3, requires_grad=True)),
        list(torch.zeros(6, 3, dtype=torch.complex64).conj()),
        list(torch.zeros(6, 3, dtype=torch.complex64).conj().imag),
        list(torch.zeros(6, 0)),
        list(torch.zeros(1, 3).expand(6, 3)),
        torch.zeros(6, 3).to_sparse(),
        torch.tensor(1),
        TensorRows(torch.zeros(6), torch.zeros(6, device="meta")),
        range(6),
        "letters",
        {0: torch.zeros(3), 1: torch.zeros(3)},
        [],
        [(), ()],
        None,
        5,
    ],
    ids=lambda dataset: f"{type(dataset).__name__}-{str(dataset)[:30]}",
)
def test_what_is_not_made_of_columns_is_left_alone(dataset: Any) -> None:
    assert columns_of(dataset) is None


def test_neighbours_in_memory_that_belong_to_different_tensors_are_not_one() -> None:
    # The same offsets, counted from another place.
    a, b = torch.zeros(6, 3), torch.ones(6, 3)
    assert columns_of([a[0], b[1], a[2]]) is None
    # One evenly spaced, the other not.
    assert columns_of(list(zip(a, list(b[:3]) + list(b[:3]), strict=True))) is None


def test_one_row_that_is_not_what_memory_holds_is_noticed() -> None:
    values = torch.zeros(6, 3, dtype=torch.complex64)
    rows = list(values)
    rows[3] = values[3].conj()
    assert columns_of(rows) is None
    rows[3] = values[3].detach().requires_grad_()  # whose gradient an item would carry
    assert columns_of(rows) is None
    rows[3] = values[3]
    assert columns_of(rows) is not None


# ---- cut


@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([1, 2])])
def test_a_batch_is_a_copy(rows: Any) -> None:
    x, y = data()
    batch = cut((x, y), rows)
    assert isinstance(batch, tuple)
    assert batch[0].equal(x[1:3])
    for column in batch:
        column.fill_(-1)
    assert x.equal(data()[0])
    assert y.equal(data()[1])
    single = cut(x, rows)
    assert isinstance(single, Tensor)
    assert single.equal(x[1:3])


# ---- remembered


def found(finder: ColumnFinder, dataset: Any) -> list[Any] | None:
    columns = finder(dataset)
    return None if columns is None else [list(row) for row in zip(*map(Tensor.tolist, columns), strict=True)]


def test_a_list_that_has_not_changed_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    finder, items = ColumnFinder(), list(zip(*data(), strict=True))
    first = finder(items)
    monkeypatch.setattr("plainlearn.data.columns.columns_of", lambda _: pytest.fail("looked again"))
    assert finder(items) is first


def changes() -> dict[str, Any]:
    def append(items: list[Any]) -> None:
        items.append((torch.zeros(3), torch.tensor(7)))

    def shorten(items: list[Any]) -> None:
        items.pop()

    def replace(items: list[Any]) -> None:
        items[2] = (torch.full((3,), 9.0), torch.tensor(9))

    def replace_by_equal(items: list[Any]) -> None:
        items[2] = (items[2][0], items[2][1].clone())

    def replace_all(items: list[Any]) -> None:
        items[:] = zip(*(column + 100 for column in data()), strict=True)

    def reorder(items: list[Any]) -> None:
        random.Random(0).shuffle(items)

    steps = (append, shorten, replace, replace_by_equal, replace_all, reorder)
    return {step.__name__: step for step in steps}


@pytest.mark.parametrize("change", changes())
def test_a_changed_list_is_noticed(change: str) -> None:
    x, y = data()
    finder, items = ColumnFinder(), list(zip(x, y, strict=True))
    assert found(finder, items) is not None
    changes()[change](items)
    for _ in range(2):
        now = found(finder, items)
        if now is not None:
            assert now == [[row.tolist(), label.item()] for row, label in items]
    assert (now is None) == (change in {"append", "replace", "replace_by_equal", "reorder"})


def test_changes_in_place_are_seen() -> None:
    x, y = data()
    finder, items = ColumnFinder(), list(zip(x, y, strict=True))
    finder(items)
    x[3] = 50
    items[4][1].fill_(70)
    columns = finder(items)
    assert columns is not None
    assert columns[0][3].tolist() == [50, 50, 50]
    assert columns[1][4] == 70


def test_another_dataset_is_looked_at_anew() -> None:
    finder = ColumnFinder()
    x, y = data()
    assert finder(list(x)) is not None
    assert finder(own_memory()) is None
    assert finder(list(y)) is not None
    assert finder(y) is y
