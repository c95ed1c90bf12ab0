"""Claims about what the index of a list means, and what is said of a wrong one."""

import numpy as np
import pytest
import torch

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, PlainlearnError
from plainlearn.core.positions import PositionError, read_index


@pytest.mark.parametrize(
    "index", [2, np.int64(2), np.uint8(2), np.array(2), torch.tensor(2), torch.tensor(2, dtype=torch.uint8)]
)
def test_any_kind_of_whole_number_is_one_position(index):
    assert read_index(index, 3) == 2


@pytest.mark.parametrize(
    "index",
    [
        [0, -1],
        (0, -1),
        iter([0, -1]),
        np.array([0, -1]),
        torch.tensor([0, -1]),
        [np.int32(0), np.int64(-1)],
        [torch.tensor(0), -1],
    ],
)
def test_any_kind_of_vector_is_several_positions(index):
    assert read_index(index, 3) == [0, -1]


@pytest.mark.parametrize(
    "mask",
    [
        [True, False, True],
        np.array([True, False, True]),
        torch.tensor([True, False, True]),
        [np.True_, np.False_, np.True_],
        [torch.tensor(True), False, True],
    ],
)
def test_any_kind_of_mask_is_the_positions_where_it_is_true(mask):
    assert read_index(mask, 3) == [0, 2]


def test_a_mask_that_selects_nothing_is_no_positions():
    assert read_index([False] * 3, 3) == []


@pytest.mark.parametrize("index", [[], (), np.array([]), torch.tensor([])])
def test_an_empty_vector_is_no_positions(index):
    assert read_index(index, 3) == []


def test_a_mask_of_another_length_is_named_with_both_lengths():
    with pytest.raises(ArgumentError, match="a mask of 2 for a list of 3 items; expected as many"):
        read_index([True, False], 3)


@pytest.mark.parametrize("index", [3, -4, [0, 3], [-4], torch.tensor([1, 3]), np.array(-4)])
def test_a_position_that_is_not_there_is_named_with_those_that_are(index):
    with pytest.raises(PositionError, match=r"position (3|-4) in a list of 3 items; expected -3 to 2"):
        read_index(index, 3)


def test_any_position_in_an_empty_list_is_an_error_that_says_so():
    with pytest.raises(PositionError, match="position 0 in a list of 0 items; it is empty"):
        read_index(0, 0)


def test_a_position_error_is_an_index_error_and_one_of_ours():
    assert issubclass(PositionError, IndexError)
    assert issubclass(PositionError, PlainlearnError)


@pytest.mark.parametrize("index", ["a", b"a", 1.0, None, True, np.True_, torch.tensor(1.5), object])
def test_what_is_no_index_is_named_with_what_would_be(index):
    with pytest.raises(
        ArgumentTypeError, match=r"a list of 3 items was indexed by .*; expected a position, a slice"
    ):
        read_index(index, 3)


@pytest.mark.parametrize(
    "index", [[0, 1.5], ["0"], torch.tensor([0.5]), np.array(["a"]), [[0, 1]], [torch.zeros(2)]]
)
def test_what_is_no_position_among_positions_is_named(index):
    with pytest.raises(ArgumentTypeError, match="is among the positions; expected whole numbers"):
        read_index(index, 3)


def test_positions_mixed_with_bools_are_refused():
    with pytest.raises(ArgumentTypeError, match="mixes positions and bools"):
        read_index([0, True, False], 3)


@pytest.mark.parametrize("index", [torch.zeros(2, 2, dtype=torch.int64), np.zeros((1, 3), dtype=bool)])
def test_an_index_of_two_axes_is_named_with_its_shape(index):
    with pytest.raises(ArgumentTypeError, match=r"of shape \((2, 2|1, 3)\); expected one axis"):
        read_index(index, 3)
