"""The loader: any data, every item once, one order whoever reads, copies of what lies in memory, errors with names."""

from __future__ import annotations

import gc
import string
import threading
import time
import tracemalloc
import weakref
from collections import namedtuple
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from plainlearn.core.errors import DataError, ShapeError
from plainlearn.core.lists import L
from plainlearn.core.seed import set_seed
from plainlearn.core.tensors import Inf, first
from plainlearn.data.columns import TensorRows
from plainlearn.data.loader import DataLoader


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Squares(Dataset[int]):
    """A torch Dataset, which has no `__iter__`."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> int:
        return range(5)[index] ** 2


class Counting(IterableDataset[int]):
    """A stream. Like every IterableDataset it has inherited a `[i]`, which does not work."""

    def __init__(self, end: int = 5) -> None:
        self.end = end

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.end))


class CountingWithLength(Counting):
    def __len__(self) -> int:
        return self.end


class Random:
    """Items that are partly random, as augmented images are."""

    def __init__(self, items: int = 11) -> None:
        self.items = items

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("draw is to be asked")

    def draw(self, index: int, rng: np.random.Generator) -> tuple[int, float]:
        time.sleep(0.0005 * (index % 3))  # so that threads overtake each other
        return index, float(rng.random())


def lists(batches: Iterable[Any]) -> list[Any]:
    """Batches as plain lists, to be compared."""

    def plain(batch: Any) -> Any:
        if isinstance(batch, Tensor | np.ndarray):
            return batch.tolist()
        if isinstance(batch, tuple | list):
            return [plain(field) for field in batch]
        return {key: plain(field) for key, field in batch.items()} if isinstance(batch, dict) else batch

    return [plain(batch) for batch in batches]


# ---- anything

Pair = namedtuple("Pair", "number letter")
X, Y = torch.arange(10.0).reshape(5, 2), torch.arange(5)
ROWS = [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]], [[8.0, 9.0]]]
PAIRS = [[xs, ys] for xs, ys in zip(ROWS, [[0, 1], [2, 3], [4]], strict=True)]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("dataset", "batches"),
    [
        (range(5), [[0, 1], [2, 3], [4]]),
        ([0.5, 1.5, 2.5], [[0.5, 1.5], [2.5]]),
        ("letters"[:5], [["l", "e"], ["t", "t"], ["e"]]),
        (list(enumerate(string.ascii_lowercase))[:3], [[[0, 1], ["a", "b"]], [[2], ["c"]]]),
        (L(enumerate("abc")), [[[0, 1], ["a", "b"]], [[2], ["c"]]]),
        ([Pair(0, "a"), Pair(1, "b"), Pair(2, "c")], [[[0, 1], ["a", "b"]], [[2], ["c"]]]),
        ([{"n": i, "l": "abc"[i]} for i in range(3)], [{"n": [0, 1], "l": ["a", "b"]}, {"n": [2], "l": ["c"]}]),
        ({"a": 1, "b": 2, "c": 3}.items(), [[["a", "b"], [1, 2]], [["c"], [3]]]),
        ({"a": 1, "b": 2, "c": 3}.values(), [[1, 2], [3]]),
        ({3, 1, 2}, [[1, 2], [3]]),
        (np.arange(5), [[0, 1], [2, 3], [4]]),
        (X.double().numpy(), ROWS),
        (list(zip(X.numpy(), Y.numpy(), strict=True)), PAIRS),
        (X, ROWS),
        (list(X), ROWS),
        (lambda: zip(X, Y, strict=True), PAIRS),
        (list(zip(X, Y, strict=True)), PAIRS),
        (L(zip(X, Y, strict=True)), PAIRS),
        (TensorRows(X, Y), PAIRS),
        (TensorDataset(X, Y), PAIRS),
        (torch.utils.data.Subset(TensorDataset(X, Y), [4, 0, 1]), [[[[8, 9], [0, 1]], [4, 0]], [[[2, 3]], [1]]]),
        (Squares(), [[0, 1], [4, 9], [16]]),
        (Counting(), [[0, 1], [2, 3], [4]]),
        (CountingWithLength(), [[0, 1], [2, 3], [4]]),
        (lambda: map(str, range(3)), [["0", "1"], ["2"]]),
        (lambda: (i for i in range(3)), [[0, 1], [2]]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_anything_indexable_or_iterable_is_cut_into_batches(
    dataset: Any, batches: Any, num_workers: int
) -> None:
    if callable(dataset):
        dataset = dataset()  # an iterator, which is used up once it has been read
    loader = DataLoader(dataset, batch_size=2, num_workers=num_workers)
    assert lists(loader) == batches
    assert lists(loader) == batches  # and again
    if not isinstance(dataset, Counting) or isinstance(dataset, CountingWithLength):
        assert len(loader) == len(batches)


def test_the_course_s_batches_are_tuples() -> None:
    batch = first(DataLoader(L(enumerate(string.ascii_lowercase)), batch_size=6))
    assert type(batch) is tuple
    assert batch[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert batch[1] == ("a", "b", "c", "d", "e", "f")


def test_a_stream_s_length_is_not_guessed() -> None:
    with pytest.raises(TypeError, match="no length: Counting has none, and is read until it ends"):
        len(DataLoader(Counting()))


def test_drop_last_drops_the_short_batch_and_no_other() -> None:
    for dataset in (range(5), Counting(5), torch.arange(5)):
        assert lists(DataLoader(dataset, bs=2, drop_last=True)) == [[0, 1], [2, 3]]
    for dataset in (range(4), Counting(4), torch.arange(4)):
        assert lists(DataLoader(dataset, bs=2, drop_last=True)) == [[0, 1], [2, 3]]


def test_a_loader_says_what_it_is() -> None:
    loader = DataLoader(range(5), bs=2)
    assert repr(loader) == "DataLoader(range of 5 items, bs=2, shuffle=False, drop_last=False)"
    assert repr(DataLoader(Counting())).startswith("DataLoader(stream Counting, bs=64")


# ---- the order


class Items:
    """Integers that are read one by one."""

    def __init__(self, items: int) -> None:
        self.items = items

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> int:
        return range(self.items)[index]


@settings(max_examples=60)
@given(
    kind=st.sampled_from([Items, torch.arange, lambda n: list(zip(torch.arange(n), torch.arange(n), strict=True))]),
    items=st.integers(1, 40),
    bs=st.integers(1, 45),
    drop_last=st.booleans(),
    shuffle=st.booleans(),
    seed=st.integers(-(2**70), 2**70) | st.none(),
    num_workers=st.sampled_from([0, 0, 1, 3]),
)  # fmt: skip
def test_every_item_comes_exactly_once_an_epoch(
    kind: Any, items: int, bs: int, drop_last: bool, shuffle: bool, seed: int | None, num_workers: int
) -> None:
    if drop_last and items < bs:
        return
    loader = DataLoader(kind(items), bs, shuffle, num_workers, drop_last=drop_last, seed=seed)
    for _ in range(2):
        batches = [batch[0] if isinstance(batch, tuple) else batch for batch in loader]
        assert len(batches) == len(loader)
        sizes = [len(batch) for batch in batches]
        assert sizes[:-1] == [bs] * (len(sizes) - 1)
        assert 1 <= sizes[-1] <= bs
        came = torch.cat(batches).tolist()
        assert len(came) == len(set(came)) == (items - items % bs if drop_last else items)
        assert set(came) <= set(range(items))
        if not shuffle:
            assert came == sorted(came)


@pytest.mark.parametrize(
    "dataset", [Items(30), torch.arange(30), Random(30)], ids=["items", "memory", "random"]
)
def test_a_seed_repeats_the_order_and_each_epoch_has_its_own(dataset: Any) -> None:
    one, two = (DataLoader(dataset, bs=4, shuffle=True, seed=7) for _ in range(2))
    epochs = [lists(one) for _ in range(3)]
    set_seed(1)  # which a seed of its own does not care for
    assert [lists(two) for _ in range(3)] == epochs
    assert len({str(epoch) for epoch in epochs}) == 3
    assert lists(DataLoader(dataset, bs=4, shuffle=True, seed=8)) != epochs[0]


@pytest.mark.parametrize(
    "dataset", [Items(30), torch.arange(30), Random(30)], ids=["items", "memory", "random"]
)
def test_set_seed_repeats_the_order(dataset: Any) -> None:
    def epochs() -> list[Any]:
        set_seed(42)
        loader = DataLoader(dataset, bs=4, shuffle=True)
        return [lists(loader), lists(loader)]

    assert epochs() == epochs()
    assert epochs()[0] != epochs()[1]


def test_where_nothing_is_random_the_global_generator_is_left_alone() -> None:
    set_seed(0)
    expected = torch.rand(1)
    set_seed(0)
    lists(DataLoader(range(5)))
    lists(DataLoader(range(5), shuffle=True, seed=3))
    assert torch.rand(1).equal(expected)


def test_the_order_does_not_depend_on_the_default_device() -> None:
    expected = lists(DataLoader(Items(9), bs=4, shuffle=True, seed=1))
    set_seed(1)
    drawn = lists(DataLoader(Items(9), bs=4, shuffle=True))
    with torch.device("meta"):
        loader = DataLoader(Items(9), bs=4, shuffle=True, seed=1, collate_fn=list)
        assert lists(loader) == expected
        set_seed(1)
        assert lists(DataLoader(Items(9), bs=4, shuffle=True, collate_fn=list)) == drawn


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("num_workers", [1, 2, 8])
def test_the_number_of_workers_changes_nothing(num_workers: int, shuffle: bool) -> None:
    def epochs(workers: int) -> list[Any]:
        loader = DataLoader(Random(), 2, shuffle, workers, seed=5, after_batch=add_noise)
        return [lists(loader) for _ in range(2)]

    assert epochs(num_workers) == epochs(0)


def add_noise(batch: Any, rng: np.random.Generator) -> Any:
    return (*batch, rng.random(3))


def test_what_is_random_about_an_item_is_drawn_anew_each_epoch_and_for_each_item() -> None:
    loader = DataLoader(Random(), bs=4, seed=0)
    draws = [value for _ in range(3) for _, values in loader for value in values.tolist()]
    assert len(set(draws)) == 33


# ---- get_idxs


@pytest.mark.parametrize("dataset", [list(zip(X, Y, strict=True)), Squares(), TensorRows(X, Y)])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_get_idxs_may_be_replaced_by_something_endless(dataset: Any, num_workers: int) -> None:
    loader = DataLoader(dataset, bs=4, num_workers=num_workers, shuffle=True)
    loader.get_idxs = lambda: Inf.ones
    expected = DataLoader([dataset[1]] * 4, bs=4).one_batch()
    for batch in (next(iter(loader)), loader.one_batch(), first(loader)):
        assert lists([batch]) == lists([expected])
    with pytest.raises(TypeError, match=r"no length: get_idxs\(\) has none, and is read until it ends"):
        len(loader)


@pytest.mark.parametrize(
    "idxs", [[4, 2, 2], range(4, 1, -1), torch.tensor([4, 0, 1]), np.array([4, 0, 1]), (4,), [-1, -2]]
)
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("dataset", [Squares(), torch.arange(5) ** 2], ids=["items", "memory"])
def test_get_idxs_says_which_items_and_in_what_order(dataset: Any, idxs: Any, shuffle: bool) -> None:
    loader = DataLoader(dataset, bs=2, shuffle=shuffle)
    loader.get_idxs = lambda: idxs
    expected = [(range(5)[int(index)]) ** 2 for index in idxs]
    assert [item for batch in lists(loader) for item in batch] == expected
    assert len(loader) == len(lists(loader))


def test_a_subclass_may_choose_too() -> None:
    class Backwards(DataLoader):
        def get_idxs(self) -> Iterable[int]:
            return reversed(range(len(self.dataset)))

    assert lists(Backwards(torch.arange(3), bs=2, shuffle=True)) == [[2, 1], [0]]


# ---- tensors in memory


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_batch_changed_in_place_does_not_change_the_data(shuffle: bool) -> None:
    x, y = X.clone(), Y.clone()
    for dataset in (list(zip(x, y, strict=True)), TensorRows(x, y), TensorDataset(x, y)):
        for xb, yb in DataLoader(dataset, bs=2, shuffle=shuffle):
            xb.zero_()
            yb.add_(1)
    for xb in DataLoader(x, bs=5, shuffle=shuffle):
        xb.zero_()
    assert x.equal(X)
    assert y.equal(Y)


def test_tensors_in_memory_are_not_read_item_by_item() -> None:
    class NoItems(list[Any]):
        pass

    def refuse(items: Any) -> Any:
        raise AssertionError("put together from items")

    items = list(zip(X, Y, strict=True))
    loader = DataLoader(items, bs=2)
    # With a collate_fn of somebody's own, items are what it gets.
    with pytest.raises(AssertionError, match="put together from items"):
        lists(DataLoader(items, bs=2, collate_fn=refuse))
    tracemalloc.start()
    threads = threading.active_count()
    batches = iter(DataLoader(items, bs=2, num_workers=4))
    next(batches)
    assert threading.active_count() == threads  # none is needed
    tracemalloc.stop()
    assert lists(loader) == lists(DataLoader(NoItems(items), bs=2)) == PAIRS


def test_a_list_that_has_changed_gives_what_it_holds_now() -> None:
    x, y = X.clone(), Y.clone()
    items = list(zip(x, y, strict=True))
    loader = DataLoader(items, bs=10)

    def expected() -> list[Any]:
        return [[[row.tolist() for row, _ in items], [label.item() for _, label in items]]]

    assert lists(loader) == expected()
    x[2] = 20
    assert lists(loader) == expected()
    items[1] = (torch.full((2,), 9.0), torch.tensor(9))
    assert lists(loader) == expected()
    items.append((torch.ones(2), torch.tensor(1)))
    assert lists(loader) == expected()
    items[0] = (items[0][0], items[0][1].clone())  # equal
    assert lists(loader) == expected()
    items[0][1].fill_(77)
    assert lists(loader) == expected()
    items.reverse()
    assert lists(loader) == expected()
    del items[3:]
    assert lists(loader) == expected()
    assert len(expected()[0][1]) == 3


def test_a_dataset_that_grows_is_read_to_its_end() -> None:
    items = [1, 2, 3]
    loader = DataLoader(items, bs=2)
    items.append(4)
    assert lists(loader) == [[1, 2], [3, 4]]
    assert len(loader) == 2
    items.clear()
    with pytest.raises(DataError, match="an epoch over list had no batch; expected at least one"):
        lists(loader)


def test_a_dataset_that_does_more_than_hand_out_tensors_is_asked_for_its_items() -> None:
    class Doubled(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return [field * 2 for field in super().__getitem__(index)]

    assert lists(DataLoader(Doubled(Y), bs=5)) == [[[0, 2, 4, 6, 8]]]


# ---- errors name the item


class Broken(Items):
    """An item that cannot be read, or cannot be batched."""

    def __init__(self, bad: Any) -> None:
        super().__init__(10)
        self.bad = bad

    def __getitem__(self, index: int) -> Any:
        if index != 7:
            return torch.zeros(2)
        if isinstance(self.bad, Exception):
            raise self.bad
        return self.bad


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "gone", "cat.jpg"), KeyError("label"), IndexError("x")]
)
def test_an_error_comes_out_as_it_was_raised_with_a_note_of_the_item(
    error: Exception, num_workers: int
) -> None:
    loader = DataLoader(Broken(error), bs=2, num_workers=num_workers)
    came = []
    with pytest.raises(type(error)) as caught:
        for batch in loader:
            came.append(batch)
    assert caught.value is error
    assert error.__notes__[-1] == "while reading item 7 of Broken"
    assert len(came) == 3  # what comes before it has been given


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (
            torch.zeros(3),
            ShapeError,
            r"item 6 is \(2,\), item 7 is \(3,\); expected one shape\n  Try item_tfms=",
        ),
        (None, DataError, "item 7 is None, which cannot be put into a batch"),
        (
            "text",
            DataError,
            r"item 6 is Tensor of shape \(2,\) and item 7 is str 'text'; a batch needs one kind",
        ),
    ],
)
def test_items_that_do_not_fit_are_named_by_their_index(
    bad: Any, kind: Any, words: str, num_workers: int
) -> None:
    with pytest.raises(kind, match=words) as caught:
        lists(DataLoader(Broken(bad), bs=2, num_workers=num_workers))
    assert caught.value.__notes__ == ["while putting together the items 6, 7 of Broken"]


def test_an_error_in_a_collate_fn_names_the_items() -> None:
    def collate_fn(items: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        lists(DataLoader(range(5), bs=3, collate_fn=collate_fn))
    assert caught.value.__notes__ == ["while putting together the items 0, 1, 2 of range"]


def test_an_error_in_a_stream_names_how_far_it_was() -> None:
    class Stream:
        def __iter__(self) -> Iterator[Any]:
            yield from range(5)
            raise OSError("the line is cut")

    with pytest.raises(OSError, match="the line is cut") as caught:
        lists(DataLoader(Stream(), bs=2))
    assert caught.value.__notes__ == ["while reading item 5 of Stream"]
    with pytest.raises(DataError, match="item 3 is str 'x'") as refused:
        lists(DataLoader(dict.fromkeys([1, 2, 3, "x"]).keys(), bs=2))
    assert refused.value.__notes__ == ["while putting together the items 2, 3 of dict_keys"]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("device", [None, "cpu", "meta"])
def test_an_error_in_after_batch_names_the_batch(device: str | None, num_workers: int) -> None:
    def after_batch(batch: Any, rng: Any) -> Any:
        if 4 in numbers(batch):
            raise ZeroDivisionError
        return batch

    def numbers(batch: Any) -> list[int]:
        return batch[1]

    items = [(i, str(i)) for i in range(6)]
    loader = DataLoader(
        items, 2, num_workers=num_workers, collate_fn=lambda items: (0, [i for i, _ in items]),
        after_batch=after_batch, device=device,
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError) as caught:
        lists(loader)
    assert caught.value.__notes__ == ["in after_batch, on batch 2 of the epoch"]


def test_an_end_of_iteration_inside_a_dataset_is_no_end_of_the_epoch() -> None:
    for num_workers in (0, 2):
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            lists(DataLoader(Broken(StopIteration()), bs=2, num_workers=num_workers))
        assert isinstance(caught.value.__cause__, StopIteration)


def test_a_stream_that_has_run_dry_says_so() -> None:
    class Once:
        def __init__(self) -> None:
            self.items = iter(range(3))

        def __iter__(self) -> Iterator[int]:
            return self.items

    loader = DataLoader(Once(), bs=2)
    assert lists(loader) == [[0, 1], [2]]
    with pytest.raises(DataError, match=r"an epoch over Once had no batch.*\n.*__iter__ that starts anew"):
        lists(loader)
    with pytest.raises(DataError, match="an epoch over Once had no batch"):
        loader.one_batch()


# ---- threads


def test_items_are_read_by_several_threads_at_a_time() -> None:
    together = threading.Barrier(3)

    class Meeting(Items):
        def __getitem__(self, index: int) -> int:
            together.wait(PATIENCE)  # passes only if three are here
            return index

    assert lists(DataLoader(Meeting(6), bs=1, num_workers=3)) == [[i] for i in range(6)]


def test_without_workers_everything_happens_in_the_calling_thread() -> None:
    class Who(Items):
        def __getitem__(self, index: int) -> str:
            return threading.current_thread().name

    assert {name for batch in DataLoader(Who(5), bs=2) for name in batch} == {threading.current_thread().name}
    assert DataLoader(Who(5), bs=2, num_workers=2).one_batch()[0] == threading.current_thread().name


@pytest.mark.parametrize("num_workers", [1, 2])
def test_no_more_than_a_bound_is_read_ahead(num_workers: int) -> None:
    reading = threading.Lock()
    begun = [0]

    class Watched(Items):
        def __getitem__(self, index: int) -> int:
            with reading:
                begun[0] += 1
            return index

    loader = DataLoader(Watched(100), bs=5, num_workers=num_workers)
    for taken, _ in enumerate(loader, 1):
        time.sleep(0.005)  # time enough to read all
        assert begun[0] <= 5 * (taken + 2 * num_workers)


@pytest.mark.parametrize("how", ["break", "exception", "forgotten", "closed"])
def test_leaving_in_the_middle_leaves_no_thread(how: str) -> None:
    loader = DataLoader(Random(100), bs=2, num_workers=4, seed=0)
    batches = iter(loader)
    if how == "break":
        for _ in loader:
            break
    elif how == "exception":
        with pytest.raises(ZeroDivisionError):
            for _ in loader:
                raise ZeroDivisionError
    else:
        next(batches)
        if how == "closed":
            batches.close()  # pyright: ignore[reportAttributeAccessIssue]
        del batches
    assert [t for t in threading.enumerate() if t.name.startswith("plainlearn-loader")] == []


# ---- after_batch and the device


def where(batch: Any, rng: np.random.Generator) -> Any:
    return threading.current_thread().name


@pytest.mark.parametrize("dataset", [Items(6), torch.arange(6)], ids=["items", "memory"])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_on_the_cpu_after_batch_runs_in_the_workers(dataset: Any, device: str | None) -> None:
    main = threading.current_thread().name
    names = set(DataLoader(dataset, 2, num_workers=2, after_batch=where, device=device))
    assert names <= {"plainlearn-loader-0", "plainlearn-loader-1"}
    assert set(DataLoader(dataset, 2, after_batch=where, device=device)) == {main}


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("dataset", [Items(6), torch.arange(6)], ids=["items", "memory"])
def test_elsewhere_after_batch_runs_in_the_calling_thread_after_the_move(
    dataset: Any, num_workers: int
) -> None:
    seen: list[tuple[str, str]] = []

    def after_batch(batch: Tensor, rng: Any) -> Tensor:
        seen.append((threading.current_thread().name, batch.device.type))
        return batch

    loader = DataLoader(dataset, 2, num_workers=num_workers, after_batch=after_batch, device="meta")
    assert [batch.device.type for batch in loader] == ["meta"] * 3
    assert seen == [(threading.current_thread().name, "meta")] * 3
    assert loader.one_batch().device.type == "meta"
    assert next(iter(DataLoader(dataset, device="meta", num_workers=num_workers))).device.type == "meta"


@pytest.mark.parametrize(
    "dataset", [Items(9), torch.arange(9), Counting(9)], ids=["items", "memory", "stream"]
)
@pytest.mark.parametrize("device", [None, "cpu", "meta"])
def test_what_after_batch_draws_does_not_depend_on_where_it_runs(dataset: Any, device: str | None) -> None:
    def after_batch(batch: Any, rng: np.random.Generator) -> list[float]:
        return rng.random(2).tolist()

    def epochs(num_workers: int, device: str | None) -> list[Any]:
        loader = DataLoader(
            dataset, 2, num_workers=num_workers, seed=3, after_batch=after_batch, device=device
        )
        return [list(loader) for _ in range(2)]

    expected = epochs(0, None)
    assert epochs(0, device) == epochs(2, device) == expected
    assert len({value for epoch in expected for batch in epoch for value in batch}) == 20


@pytest.mark.parametrize("num_workers", [0, 2])
def test_autocast_around_the_loop_does_not_reach_the_batches(num_workers: int) -> None:
    class Product(Items):
        def __getitem__(self, index: int) -> Tensor:
            return torch.ones(2, 2) @ torch.ones(2, 2)

    def after_batch(batch: Tensor, rng: Any) -> Tensor:
        return batch @ batch

    with torch.autocast("cpu", dtype=torch.bfloat16):
        batch = first(DataLoader(Product(3), num_workers=num_workers, after_batch=after_batch))
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert batch.dtype == torch.float32


# ---- the position


def rest_of(state: dict[str, Any], **settings: Any) -> list[Any]:
    """What another loader, made alike, gives from there, up to the end of the epoch after."""
    loader = DataLoader(Random(), 2, True, **settings)
    loader.load_state_dict(state)
    return [*lists(loader), "next", *lists(loader)]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("taken", range(7))
@pytest.mark.parametrize("left", [False, True])
def test_from_any_place_the_rest_is_the_same(taken: int, num_workers: int, left: bool) -> None:
    loader = DataLoader(Random(), 2, True, num_workers, seed=9, after_batch=add_noise)
    lists(loader)  # the first epoch
    whole = DataLoader(Random(), 2, True, seed=9, after_batch=add_noise)
    lists(whole)
    expected = lists(whole)
    after = lists(whole)

    batches = iter(loader)
    came = [next(batches) for _ in range(min(taken, 6))]
    if taken > 6:
        assert next(batches, None) is None
    if left:
        del batches
    state = loader.state_dict()
    rest = rest_of(state, num_workers=2 - num_workers, seed=9, after_batch=add_noise)
    remained = expected[len(came) :]
    assert lists(came) == expected[: len(came)]
    # At the end nothing of the epoch remains: what is left is the next.
    assert rest[: len(remained)] == remained
    if remained:
        assert rest == [*remained, "next", *after]
    else:
        assert rest[: len(after)] == after


def test_the_place_holds_for_a_global_seed_too() -> None:
    set_seed(3)
    loader = DataLoader(Random(), 2, True)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    expected = lists(batches)
    set_seed(100)
    other = DataLoader(Random(), 2, True)
    other.load_state_dict(state)
    assert lists(other) == expected


@pytest.mark.parametrize("device", [None, "meta"])
def test_what_is_random_about_a_batch_is_the_same_from_any_place(device: str | None) -> None:
    def after_batch(batch: Any, rng: np.random.Generator) -> list[float]:
        return rng.random(2).tolist()

    def made() -> DataLoader:
        return DataLoader(torch.arange(9), 2, True, seed=9, device=device, after_batch=after_batch)

    expected, loader = list(made()), made()
    for _ in zip(range(2), loader, strict=False):
        pass
    loader.load_state_dict(loader.state_dict())
    assert list(loader) == expected[2:]


@pytest.mark.parametrize("dataset", [Counting(7), CountingWithLength(7), torch.arange(7)])
@pytest.mark.parametrize("taken", range(5))
def test_a_stream_and_tensors_in_memory_have_a_place_too(dataset: Any, taken: int) -> None:
    loader = DataLoader(dataset, 2)
    batches = iter(loader)
    for _ in range(taken):
        next(batches)
    other = DataLoader(dataset, 2)
    other.load_state_dict(loader.state_dict())
    expected = [[0, 1], [2, 3], [4, 5], [6]]
    # Behind the last batch there is nothing, so the next epoch comes, whole.
    assert lists(other) == (expected[taken:] or expected)
    assert lists(other) == expected


def test_the_place_in_an_order_of_one_s_own_is_kept_to_its_end() -> None:
    def loader() -> DataLoader:
        made = DataLoader(range(3), bs=2)
        made.get_idxs = lambda: [0, 1, 2] * 3  # longer than the dataset
        return made

    one, other = loader(), loader()
    batches = iter(one)
    next(batches), next(batches)
    other.load_state_dict(one.state_dict())
    assert lists(other) == [[1, 2], [0, 1], [2]]


def test_the_state_is_plain_numbers() -> None:
    import json

    loader = DataLoader(Random(), np.int64(2), True, seed=np.int64(4))
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert state == {
        "epochs_begun": 1, "epoch_seed": 4_000_012, "batches": 1, "bs": 2, "items": 11, "shuffle": True,
    }  # fmt: skip


def test_a_new_loader_s_state_begins_at_the_beginning() -> None:
    fresh = DataLoader(Random(), 2, True, seed=9)
    expected = [*lists(DataLoader(Random(), 2, True, seed=9)), "next"]
    assert rest_of(fresh.state_dict(), seed=9)[: len(expected)] == expected


def test_one_batch_inside_an_epoch_changes_nothing_about_it() -> None:
    loader = DataLoader(Random(), 2, True, seed=9)
    quiet = lists(DataLoader(Random(), 2, True, seed=9))
    came = []
    for number, batch in enumerate(loader):
        came.append(batch)
        before = loader.state_dict()
        loader.one_batch()
        assert loader.state_dict() == before
        assert rest_of(before, seed=9)[: 5 - number] == quiet[number + 1 :]
    assert lists(came) == quiet


def test_one_batch_is_the_first_of_the_epoch_that_comes() -> None:
    loader = DataLoader(Random(), 2, True, num_workers=2, seed=9)
    for _ in range(2):
        shown = loader.one_batch()
        assert lists([shown]) == lists([loader.one_batch()])
        assert lists([shown]) == lists(loader)[:1]


def test_one_batch_does_not_use_up_a_place_that_was_loaded() -> None:
    loader = DataLoader(Random(), 2, True, seed=9)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    expected = lists(batches)
    other = DataLoader(Random(), 2, True, seed=9)
    other.load_state_dict(state)
    assert lists([other.one_batch()]) == expected[:1]
    assert other.state_dict() == state
    assert lists(other) == expected


def test_an_iteration_inside_another_leaves_the_outer_one_s_place() -> None:
    loader = DataLoader(Random(), 2, True, seed=9)
    quiet = lists(DataLoader(Random(), 2, True, seed=9))
    outer = iter(loader)
    next(outer), next(outer)
    place = loader.state_dict()["batches"]
    lists(loader)  # a whole pass
    next(iter(loader))  # a look
    state = loader.state_dict()
    assert state["batches"] == place == 2
    assert rest_of(state, seed=9)[:4] == lists(outer) == quiet[2:]


def test_the_epochs_after_a_nested_one_are_the_same_in_another_process() -> None:
    loader = DataLoader(Random(), 2, True, seed=9)
    outer = iter(loader)
    next(outer)
    lists(loader)
    state = loader.state_dict()
    expected = [*lists(outer), "next", *lists(loader)]
    assert rest_of(state, seed=9) == expected


def test_two_iterations_side_by_side_do_not_disturb_each_other() -> None:
    loader = DataLoader(Random(), 2, True, seed=9)
    quiet = DataLoader(Random(), 2, True, seed=9)
    expected = [lists(quiet), lists(quiet)]
    both = lists(zip(loader, loader, strict=True))
    assert [[a for a, _ in both], [b for _, b in both]] == expected
    assert rest_of(loader.state_dict(), seed=9)[:6] == lists(quiet)


def test_a_loop_that_is_left_early_sees_another_part_next_time() -> None:
    loader = DataLoader(Items(100), bs=10, shuffle=True, seed=1)
    seen = [lists([next(iter(loader))])[0] for _ in range(3)]
    assert seen[0] != seen[1] != seen[2]


def test_a_loaded_place_counts_until_it_is_used() -> None:
    loader = DataLoader(Random(), 2, True, seed=9)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    next(batches)
    loader.load_state_dict(state)
    next(batches)
    assert loader.state_dict() == state
    del batches
    assert len(lists(loader)) == 5


def test_the_place_survives_an_error_in_the_loop() -> None:
    loader = DataLoader(Random(), 2, True, num_workers=2, seed=9)
    quiet = lists(DataLoader(Random(), 2, True, seed=9))
    with pytest.raises(ZeroDivisionError):
        for number, _ in enumerate(loader):
            if number == 2:
                raise ZeroDivisionError
    assert rest_of(loader.state_dict(), seed=9)[:3] == quiet[3:]


# ---- memory


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    "settings",
    [{}, {"after_batch": lambda batch, rng: batch + 0}, {"device": "meta"}],
    ids=["plain", "after_batch", "elsewhere"],
)
@pytest.mark.parametrize(
    "dataset", [Items(60), torch.arange(60), Counting(60)], ids=["items", "memory", "stream"]
)
def test_the_batch_before_is_gone(dataset: Any, settings: dict[str, Any], num_workers: int) -> None:
    batches = iter(DataLoader(dataset, 2, num_workers=num_workers, **settings))
    gc.disable()
    try:
        for _ in range(3):
            before = weakref.ref(next(batches))
            next(batches)
            deadline = time.monotonic() + 20  # the thread that made it may be between two lines
            while before() is not None and num_workers and time.monotonic() < deadline:
                time.sleep(0.001)
            assert before() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("device", [None, "meta"])
def test_the_batch_before_is_gone_while_the_next_is_made(device: str | None) -> None:
    made: list[weakref.ref[Tensor]] = []

    def collate_fn(items: Any) -> Tensor:
        assert not made or made[-1]() is None
        batch = torch.tensor(items)
        made.append(weakref.ref(batch))
        return batch

    gc.disable()
    try:
        batches = iter(DataLoader(Items(20), 2, collate_fn=collate_fn, device=device))
        for _ in range(10):
            next(batches)
        assert len(made) == 10
    finally:
        gc.enable()


def test_the_items_of_a_stream_are_gone_with_their_batch() -> None:
    given: list[weakref.ref[Tensor]] = []

    class Stream:
        def __iter__(self) -> Iterator[Tensor]:
            for number in range(12):
                if number and number % 4 == 0:
                    assert [item() for item in given[:-1]] == [None] * (number - 1)
                item = torch.tensor(number)
                given.append(weakref.ref(item))
                yield item

    gc.disable()
    try:
        for _ in DataLoader(Stream(), 4):
            pass
        assert len(given) == 12
    finally:
        gc.enable()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_memory_stays_flat_over_many_epochs(num_workers: int) -> None:
    loader = DataLoader(Items(8), 2, True, num_workers, after_batch=lambda batch, rng: batch)
    in_memory = DataLoader(list(zip(X, Y, strict=True)), 2, True)

    def used_after(epochs: int) -> int:
        for _ in range(epochs):
            for _ in loader:
                pass
            for _ in in_memory:
                pass
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = used_after(20)
        assert used_after(200) - before < 20_000  # a single batch kept a round would be more
    finally:
        tracemalloc.stop()
