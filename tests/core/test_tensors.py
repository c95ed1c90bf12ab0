"""Claims about tensors and nests of tensors."""

import itertools
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError
from plainlearn.core.lists import L
from plainlearn.core.tensors import (
    Inf,
    find_batch_size,
    first,
    map_nest,
    noop,
    params,
    tensor,
    to_cpu,
    to_device,
    to_np,
)

Pair = namedtuple("Pair", "image label")
META = torch.device("meta")


def is_tensor(made, values, dtype) -> bool:
    return type(made) is torch.Tensor and made.dtype is dtype and made.tolist() == values


# ---- tensor


def test_numbers_become_tensors():
    assert is_tensor(tensor(3), 3, torch.int64)
    assert is_tensor(tensor(0.5), 0.5, torch.float32)
    assert is_tensor(tensor(True), True, torch.bool)
    assert is_tensor(tensor(np.float64(0.5)), 0.5, torch.float32)
    assert is_tensor(tensor(np.int16(5)), 5, torch.int16)


@pytest.mark.parametrize("source", [[1, 2], (1, 2), range(1, 3), L(1, 2), iter([1, 2])])
def test_collections_become_tensors(source):
    assert is_tensor(tensor(source), [1, 2], torch.int64)


def test_several_arguments_are_one_vector_or_matrix():
    assert is_tensor(tensor(1, 2, 3), [1, 2, 3], torch.int64)
    assert is_tensor(tensor(1, 2.5), [1, 2.5], torch.float32)
    assert is_tensor(tensor([1, 2], [3, 4]), [[1, 2], [3, 4]], torch.int64)
    assert is_tensor(tensor(range(2), range(2)), [[0, 1], [0, 1]], torch.int64)


def test_double_precision_is_narrowed_wherever_it_comes_from():
    for source in (np.array([0.5, 1]), pd.Series([0.5, 1]), torch.tensor([0.5, 1], dtype=torch.float64)):
        assert is_tensor(tensor(source), [0.5, 1], torch.float32)
    assert is_tensor(tensor([np.float64(0.5), np.float64(1)]), [0.5, 1], torch.float32)
    assert is_tensor(tensor([np.array([0.5])]), [[0.5]], torch.float32)


def test_a_dtype_that_is_asked_for_is_given():
    assert is_tensor(tensor(np.array([0.1]), dtype=torch.float64), [0.1], torch.float64)
    assert is_tensor(tensor([0.1], dtype=torch.float64), [0.1], torch.float64)
    assert is_tensor(tensor(1, 2, dtype=torch.float16), [1, 2], torch.float16)


def test_device_and_gradient_can_be_asked_for():
    assert tensor([1.0], device="meta").device == META
    assert tensor([1.0], requires_grad=True).requires_grad


def test_a_tensor_is_itself_and_is_never_changed():
    given_ = torch.zeros(2)
    assert tensor(given_) is given_
    assert tensor(given_, requires_grad=True).requires_grad
    assert not given_.requires_grad


def test_arrays_and_series_are_copied():
    array = np.zeros(2, dtype=np.float32)
    made = tensor(array)
    made[0] = 1
    assert array.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([1, 2], dtype=np.int64), torch.int64),
        (np.array([1, 2], dtype=np.uint8), torch.uint8),
        (np.array([1, 2], dtype=np.uint16), torch.int32),
        (np.array([1, 2], dtype=np.uint32), torch.int64),
        (np.array([1, 2], dtype=np.uint64), torch.int64),
        (np.array([1, 2], dtype=">i4"), torch.int32),
        (np.array([1, 2], dtype=">f4"), torch.float32),
        (np.array([1, 2], dtype=np.float16), torch.float16),
        (np.array([2, 1])[::-1], torch.int64),
        (np.array([1, True, 2.0], dtype=object)[::2], torch.float32),
    ],
)
def test_arrays_of_every_kind_keep_their_values(array, dtype):
    assert is_tensor(tensor(array), [1, 2], dtype)


def test_images_are_uint8_and_keep_their_axes():
    grey = Image.new("L", (3, 2), 7)
    assert is_tensor(tensor(grey), [[7, 7, 7], [7, 7, 7]], torch.uint8)
    assert tensor(Image.new("RGB", (3, 2))).shape == (2, 3, 3)
    assert tensor(Image.new("I;16", (3, 2))).dtype is torch.int32
    assert tensor([grey, grey]).shape == (2, 2, 3)


def test_tables_and_their_columns_become_tensors():
    table = pd.DataFrame({"fare": [1.5, 2.0], "class": [1, 3], "female": [True, False]})
    assert is_tensor(tensor(table["class"]), [1, 3], torch.int64)
    assert is_tensor(tensor(table), [[1.5, 1, 1], [2, 3, 0]], torch.float32)


def test_tensors_in_a_list_are_stacked_and_keep_their_gradient():
    a = torch.ones(2, requires_grad=True)
    assert is_tensor(tensor([a, a]), [[1, 1], [1, 1]], torch.float32)
    assert tensor([a, a]).requires_grad
    assert tensor([a.sum(), a.sum()]).requires_grad
    assert is_tensor(tensor([torch.tensor(1), torch.tensor(2)]), [1, 2], torch.int64)


def test_rows_of_unequal_length_are_an_error_of_shape():
    with pytest.raises(ShapeError, match=r"list \[\[1, 2\], \[3\]\] has rows of unequal length"):
        tensor([[1, 2], [3]])
    with pytest.raises(ShapeError, match="has rows of unequal length"):
        tensor([1, [2, 3]])
    with pytest.raises(ShapeError, match=r"items of shapes \(2,\), \(3,\) do not make one tensor"):
        tensor([torch.zeros(2), torch.zeros(3)])


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("abc", "str 'abc'"),
        (["a", "b"], "str 'a'"),
        ([1, None], "NoneType None"),
        (None, "NoneType None"),
        ([[1], ["x"]], "str 'x'"),
        (object, "type"),
        (pd.Series(["a", "b"]), "values of kind <U1"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), "values of kind datetime64"),
        (pd.Series([1, "x"]), "values of kind <U"),
        (np.array([1, None], dtype=object), "values of kind object"),
    ],
)
def test_what_is_no_number_is_named(source, found):
    with pytest.raises(ArgumentTypeError) as caught:
        tensor(source)
    assert f"a tensor cannot be made of {found}" in str(caught.value)


def test_nothing_is_no_tensor():
    with pytest.raises(ArgumentTypeError, match=r"tensor\(\) got nothing"):
        tensor()


@pytest.mark.parametrize("source", [2**70, [2**70], np.array([2**63], dtype=np.uint64)])
def test_a_number_too_large_is_an_error_and_does_not_wrap_around(source):
    with pytest.raises(ArgumentError, match="does not fit in a tensor of int64"):
        tensor(source)


# ---- nests

leaves = st.integers() | st.just("name") | st.builds(torch.tensor, st.lists(st.floats(-5, 5), max_size=3))
nests = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(L, st.lists(inner, max_size=3))
    ),
    max_leaves=8,
)


def same_make(a, b) -> bool:
    """Same containers with same leaves, where a tensor and an array of the same values are the same."""
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same_make, a, b))
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same_make(a[key], b[key]) for key in a)
    if isinstance(a, torch.Tensor):
        return a.shape == tuple(b.shape) and a.tolist() == b.tolist()
    return a is b


@given(nests)
def test_to_np_turns_every_tensor_into_an_array_and_keeps_the_rest(nest):
    arrays = to_np(nest)
    assert same_make(nest, arrays)
    assert not any(isinstance(leaf, torch.Tensor) for leaf in flat(arrays))


@given(nests)
def test_a_nest_that_is_in_place_is_returned_itself(nest):
    assert to_device(nest, torch.device("cpu")) is nest
    assert to_device(nest, "cpu") is nest
    assert to_cpu(nest) is nest


@given(nests)
def test_to_device_moves_every_tensor_and_keeps_the_rest(nest):
    moved = to_device(nest, META)
    assert [type(leaf) for leaf in flat(moved)] == [type(leaf) for leaf in flat(nest)]
    assert all(leaf.device == META for leaf in flat(moved) if isinstance(leaf, torch.Tensor))
    assert all(leaf.device.type == "cpu" for leaf in flat(nest) if isinstance(leaf, torch.Tensor))
    assert type(moved) is type(nest)


def test_a_batch_that_is_elsewhere_is_moved_even_if_only_in_part():
    batch = (torch.zeros(2), torch.zeros(2, device=META))
    assert all(part.device == META for part in to_device(batch, META))
    assert to_device(batch, META)[1] is batch[1]


def flat(nest) -> list:
    found = []
    map_nest(found.append, nest)
    return found


def test_map_nest_keeps_every_kind_of_container():
    table = defaultdict(list, a=1)
    mapped = map_nest(lambda leaf: leaf + 1, (1, [2], Pair(3, 4), OrderedDict(b=5), table, L(6)))
    assert mapped == (2, [3], Pair(4, 5), {"b": 6}, {"a": 2}, [7])
    assert [type(part) for part in mapped[1:]] == [list, Pair, OrderedDict, defaultdict, L]
    assert mapped[4].default_factory is list
    assert table == {"a": 1}


def test_the_results_of_torch_are_nests_too():
    moved = to_device(torch.tensor([[1.0, 2.0]]).max(dim=1), META)
    assert moved.values.device == moved.indices.device == META


def test_a_packed_sequence_moves_whole_and_keeps_its_lengths_on_the_cpu():
    packed = nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)])
    (moved,) = to_device((packed,), META)
    assert moved.data.device == META
    assert moved.batch_sizes.device.type == "cpu"


def test_to_np_frees_from_gradients_and_reads_bfloat16():
    assert to_np(torch.ones(2, requires_grad=True) * 2).tolist() == [2, 2]
    array = to_np(torch.ones(2, dtype=torch.bfloat16))
    assert array.dtype == np.float32


@pytest.mark.gpu
def test_a_batch_goes_to_the_gpu_and_back():
    batch = (torch.arange(3), {"y": torch.ones(2)}, "name")
    there = to_device(batch, "cuda", non_blocking=True)
    assert there[0].is_cuda
    assert there[1]["y"].is_cuda
    assert to_device(there, "cuda") is there
    back = to_cpu(there)
    assert back[0].tolist() == [0, 1, 2]
    assert to_np(there)[1]["y"].tolist() == [1, 1]


# ---- the size of a batch


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(4, 2),
        (torch.zeros(4), torch.zeros(4)),
        [torch.zeros(4)],
        {"x": {"image": torch.zeros(4, 1)}},
        (torch.tensor(1.0), torch.zeros(4)),
        (("a", "b", "c", "d"), torch.zeros(4)),
        np.zeros((4, 2)),
        ("a", "b", "c", "d"),
        (("a", "b", "c", "d"), ("e", "f", "g", "h")),
        {"name": ["a", "b", "c", "d"]},
    ],
)
def test_the_size_of_a_batch_is_found_in_every_kind_of_batch(batch):
    assert find_batch_size(batch) == 4


def test_a_batch_of_none_has_size_zero():
    assert find_batch_size((torch.zeros(0, 3),)) == 0


@pytest.mark.parametrize("batch", [(), [], {}, 3, "abc", None, (torch.tensor(1.0),), ({},), (3, 4)])
def test_what_has_no_size_is_named(batch):
    with pytest.raises(DataError, match="no telling how many samples are in"):
        find_batch_size(batch)


# ---- small tools


def test_first_is_the_first_item_or_the_default():
    assert first([3, 4]) == 3
    assert first(o for o in "ab") == "a"
    assert first([]) is None
    assert first([], default=0) == 0
    assert first([None], default=0) is None


def test_first_takes_no_more_than_it_needs():
    source = iter(range(3))
    first(source)
    assert list(source) == [1, 2]


def test_params_are_all_parameters_of_a_module():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))
    assert [tuple(p.shape) for p in params(net)] == [(3, 2), (3,), (1, 3)]
    assert params(net)[0] is net[0].weight


def test_noop_gives_back_what_it_gets():
    assert noop(3) == 3
    assert noop(3, 4, five=5) == 3
    assert noop() is None


def test_inf_is_endless_and_fresh_at_each_look():
    def three(iterator):
        return list(itertools.islice(iterator, 3))

    assert three(Inf.count) == [0, 1, 2]
    assert three(Inf.count) == [0, 1, 2]
    assert three(Inf.zeros) == [0, 0, 0]
    assert three(Inf.ones) == [1, 1, 1]
    assert three(Inf.nones) == [None, None, None]
