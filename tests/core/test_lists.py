"""Claims about `L`: it is a list, it can be indexed by many, and it says what is wrong."""

import copy
import itertools
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, PlainlearnError
from plainlearn.core.lists import L, PositionError

lists = st.lists(st.integers(), max_size=15)


def is_L(value, expected) -> bool:
    return type(value) is L and value == expected


# ---- making one


def test_arguments_become_items():
    assert is_L(L(), [])
    assert is_L(L(1, 2, 3), [1, 2, 3])
    assert is_L(L([1], [2]), [[1], [2]])
    assert is_L(L(None, None), [None, None])


def test_one_iterable_gives_its_items():
    assert is_L(L([1, 2]), [1, 2])
    assert is_L(L((1, 2)), [1, 2])
    assert is_L(L(range(3)), [0, 1, 2])
    assert is_L(L(o * 2 for o in range(3)), [0, 2, 4])
    assert is_L(L({"a": 1, "b": 2}), ["a", "b"])
    assert is_L(L(L(1, 2)), [1, 2])


@pytest.mark.parametrize("item", ["ab", b"ab", 3, 2.5, len, object()])
def test_a_string_or_what_cannot_be_iterated_is_one_item(item):
    assert is_L(L(item), [item])


def test_none_gives_an_empty_list():
    assert is_L(L(None), [])


def test_tensors_and_arrays_give_their_rows():
    assert [row.tolist() for row in L(torch.tensor([[1, 2], [3, 4]]))] == [[1, 2], [3, 4]]
    assert is_L(L(np.array([5, 6])), [5, 6])
    assert L(torch.tensor(7))[0].item() == 7
    assert L(np.array(7)) == [7]


def test_a_dataset_without_an_iterator_is_one_item_and_is_not_walked():
    class Endless:
        def __getitem__(self, index):
            return index

    assert len(L(Endless())) == 1


# ---- being a list


@given(lists)
def test_it_equals_and_behaves_as_the_list_it_was_made_of(items):
    made = L(items)
    assert isinstance(made, list)
    assert made == items
    assert items == made
    assert len(made) == len(items)
    assert list(made) == items
    assert list(reversed(made)) == items[::-1]
    assert all(item in made for item in items)
    assert json.dumps(made) == json.dumps(items)


def test_it_does_not_share_the_list_it_was_made_of():
    items = [1, 2]
    made = L(items)
    made.append(3)
    assert items == [1, 2]


def test_changes_in_place_work_as_on_a_list():
    made = L(1, 2)
    made.append(3)
    made.extend([4])
    made.insert(0, 0)
    del made[1]
    assert is_L(made, [0, 2, 3, 4])
    assert made.pop() == 4


@given(lists, lists)
def test_adding_and_repeating_give_an_L(a, b):
    assert is_L(L(a) + b, a + b)
    assert is_L(a + L(b), a + b)
    assert is_L(L(a) + tuple(b), a + b)
    assert is_L(L(a) * 2, a * 2)
    assert is_L(2 * L(a), a * 2)


def test_a_string_is_added_as_one_item_in_either_way():
    made = L("ab") + "cd"
    made += "ef"
    assert is_L(made, ["ab", "cd", "ef"])


def test_adding_in_place_keeps_the_object():
    made = same = L(1)
    made += [2, 3]
    assert same is made
    assert is_L(same, [1, 2, 3])


def test_copies_and_pickles_keep_the_kind():
    made = L(1, [2])
    for twin in (made.copy(), copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert is_L(twin, made)
        assert twin is not made


# ---- showing itself


def test_up_to_ten_items_are_shown_as_a_list_shows_them():
    assert repr(L()) == "[]"
    assert str(L(1, "a")) == "[1, 'a']"
    assert repr(L(range(10))) == repr(list(range(10)))


def test_a_longer_list_says_how_many_and_shows_ten():
    assert repr(L(range(11))) == "(#11) [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"
    assert str(L(range(7349))).startswith("(#7349) [0, 1, 2,")


def test_a_huge_list_is_shown_without_looking_at_all_its_items():
    seen = []

    class Item:
        def __repr__(self) -> str:
            seen.append(self)
            return "item"

    repr(L(Item() for _ in range(1000)))
    assert len(seen) == 10


# ---- indexing


@given(st.data(), st.lists(st.integers(), min_size=1, max_size=15))
def test_every_way_to_index_agrees_with_a_list(data, items):
    made = L(items)
    size = len(items)
    positions = data.draw(st.lists(st.integers(-size, size - 1), max_size=20))
    mask = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    bounds = st.none() | st.integers(-20, 20)
    cut = slice(data.draw(bounds), data.draw(bounds), data.draw(st.sampled_from([None, 1, 2, -1, -3])))
    picked = [items[position] for position in positions]
    masked = list(itertools.compress(items, mask))

    for position in positions:
        assert made[position] == made[torch.tensor(position)] == made[np.int64(position)] == items[position]
    assert is_L(made[cut], items[cut])
    assert is_L(made[positions], picked)
    assert is_L(made[tuple(positions)], picked)
    assert is_L(made[np.array(positions, dtype=np.int64)], picked)
    assert is_L(made[torch.tensor(positions, dtype=torch.int64)], picked)
    assert is_L(made[mask], masked)
    assert is_L(made[np.array(mask)], masked)
    assert is_L(made[torch.tensor(mask)], masked)


def test_a_vocabulary_is_indexed_by_a_tensor_of_predictions():
    assert is_L(L("cat", "dog")[torch.tensor([1, 0, 1])], ["dog", "cat", "dog"])


def test_wrong_indices_are_errors_that_name_what_was_found():
    made = L(1, 2, 3)
    with pytest.raises(PositionError, match="position 3 in a list of 3 items"):
        made[3]
    with pytest.raises(IndexError):
        made[-4]
    with pytest.raises(ArgumentError, match="a mask of 2 for a list of 3 items"):
        made[[True, False]]
    with pytest.raises(ArgumentTypeError, match="indexed by str 'a'"):
        made["a"]


def test_items_are_set_at_one_position_a_slice_several_or_a_mask():
    made = L(range(5))
    made[0] = 10
    made[1:3] = [11, 12, 13]
    assert is_L(made, [10, 11, 12, 13, 3, 4])
    made[[0, -1]] = ["first", "last"]
    made[torch.tensor([False, True, True, False, False, False])] = None
    made[np.array([3, 4])] = "ab"
    assert is_L(made, ["first", None, None, "ab", "ab", "last"])


def test_setting_too_few_or_too_many_values_changes_nothing():
    made = L(1, 2, 3)
    with pytest.raises(ArgumentError, match="1 values for 2 positions; expected as many"):
        made[[0, 1]] = [9]
    with pytest.raises(PositionError, match="position 7"):
        made[[0, 7]] = [9, 9]
    assert made == [1, 2, 3]


# ---- item by item


def test_map_takes_a_function_a_format_or_a_table():
    assert is_L(L(1, 2).map(str), ["1", "2"])
    assert is_L(L(1, 2).map("{:02}.jpg"), ["01.jpg", "02.jpg"])
    assert is_L(L("b", "a").map({"a": 0, "b": 1}), [1, 0])
    assert is_L(L(1, 0).map(["zero", "one"]), ["one", "zero"])


def test_map_hands_further_arguments_on():
    assert is_L(L("11", "12").map(int, 3), [4, 5])
    assert is_L(L("11", "12").map(int, base=3), [4, 5])
    assert is_L(L(1).map("{}-{}-{c}", 2, c=3), ["1-2-3"])


def test_an_error_in_map_comes_out_unchanged_with_a_note_of_the_item():
    error = ZeroDivisionError("mine")

    def fail_at_two(item):
        if item == 2:
            raise error
        return item

    with pytest.raises(ZeroDivisionError) as caught:
        L(1, 2, 3).map(fail_at_two)
    assert caught.value is error
    assert caught.value.__notes__ == ["Item 1 of 3: int 2"]


def test_a_stop_iteration_in_map_does_not_shorten_the_result():
    supply = iter([1])
    with pytest.raises(StopIteration):
        L(1, 2).map(lambda _: next(supply))


def test_an_item_missing_from_the_table_of_map_is_named():
    with pytest.raises(DataError, match="str 'eel' is not in the table of 2 given to map"):
        L("cat", "eel").map({"cat": 0, "dog": 1})


def test_map_of_what_is_no_function_is_named():
    with pytest.raises(ArgumentTypeError, match="map got int 3; expected a function"):
        L(1).map(3)


def test_filter_keeps_or_drops():
    assert is_L(L(range(5)).filter(lambda o: o > 2), [3, 4])
    assert is_L(L(range(5)).filter(lambda o: o > 2, negate=True), [0, 1, 2])
    assert is_L(L(0, 1, "", "a").filter(), [1, "a"])


def test_itemgot_takes_one_index_after_another():
    rows = L([0.1, 0.2, 0.91], [0.1, 0.2, 0.98])
    assert is_L(rows.itemgot(2), [0.91, 0.98])
    assert is_L(rows.itemgot(-1), [0.91, 0.98])
    assert is_L(L({"a": [1, 2]}, {"a": [3, 4]}).itemgot("a", 1), [2, 4])
    assert is_L(rows.itemgot(), rows)


def test_itemgot_names_the_row_that_is_too_short():
    with pytest.raises(DataError, match=r"item 1 has no \[2\]: it holds 2; list \[0.1, 0.2\]"):
        L([0.1, 0.2, 0.9], [0.1, 0.2]).itemgot(2)
    with pytest.raises(DataError, match=r"item 0 has no \['b'\]: it holds 1"):
        L({"a": 1}).itemgot("b")
    with pytest.raises(DataError, match="it cannot be indexed; int 5"):
        L(5).itemgot(0)


# ---- order


@given(st.lists(st.tuples(st.integers(0, 5), st.text(max_size=3))), st.booleans())
def test_sorted_agrees_with_python_for_every_kind_of_key(items, reverse):
    made = L(items)
    assert is_L(made.sorted(reverse=reverse), sorted(items, reverse=reverse))
    by_first = sorted(items, key=lambda o: o[0], reverse=reverse)
    assert is_L(made.sorted(lambda o: o[0], reverse), by_first)
    assert is_L(made.sorted(0, reverse), by_first)
    assert made == items


def test_sorted_takes_the_name_of_an_attribute():
    assert is_L(L(3 + 1j, 1 + 2j).sorted("real"), [1 + 2j, 3 + 1j])


def test_sorted_by_an_index_that_a_row_lacks_names_the_row():
    with pytest.raises(DataError, match=r"item 1 has no \[1\]"):
        L([1, 2], [1]).sorted(1)


@given(st.lists(st.integers(0, 4) | st.sampled_from(["a", "b"])))
def test_unique_keeps_the_first_of_each_in_order(items):
    assert is_L(L(items).unique(), list(dict.fromkeys(items)))


def test_unique_compares_what_cannot_be_hashed():
    assert is_L(L([1], {2: 3}, [1], {2: 3}, 1).unique(), [[1], {2: 3}, 1])


def test_unique_compares_tensors_and_arrays_by_value():
    assert [o.item() for o in L(torch.tensor([3, 1, 3])).unique()] == [3, 1]
    rows = L(np.array([1, 2]), np.array([1, 2]), np.array([[1, 2]]))
    assert [o.shape for o in rows.unique()] == [(2,), (1, 2)]


# ---- what an index means

XYZ = L("x", "y", "z")


@pytest.mark.parametrize(
    "index", [2, np.int64(2), np.uint8(2), np.array(2), torch.tensor(2), torch.tensor(2, dtype=torch.uint8)]
)
def test_any_kind_of_whole_number_is_one_position(index):
    assert XYZ[index] == "z"


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
    assert XYZ[index] == ["x", "z"]


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
    assert XYZ[mask] == ["x", "z"]


def test_a_mask_that_selects_nothing_is_no_positions():
    assert XYZ[[False] * 3] == []


@pytest.mark.parametrize("index", [[], (), np.array([]), torch.tensor([])])
def test_an_empty_vector_is_no_positions(index):
    assert XYZ[index] == []


def test_a_mask_of_another_length_is_named_with_both_lengths():
    with pytest.raises(ArgumentError, match="a mask of 2 for a list of 3 items; expected as many"):
        XYZ[[True, False]]


@pytest.mark.parametrize("index", [3, -4, [0, 3], [-4], torch.tensor([1, 3]), np.array(-4)])
def test_a_position_that_is_not_there_is_named_with_those_that_are(index):
    with pytest.raises(PositionError, match=r"position (3|-4) in a list of 3 items; expected -3 to 2"):
        XYZ[index]


def test_any_position_in_an_empty_list_is_an_error_that_says_so():
    with pytest.raises(PositionError, match="position 0 in a list of 0 items; it is empty"):
        L()[0]


def test_a_position_error_is_an_index_error_and_one_of_ours():
    assert issubclass(PositionError, IndexError)
    assert issubclass(PositionError, PlainlearnError)


@pytest.mark.parametrize("index", ["a", b"a", 1.0, None, True, np.True_, torch.tensor(1.5), object])
def test_what_is_no_index_is_named_with_what_would_be(index):
    with pytest.raises(
        ArgumentTypeError, match=r"a list of 3 items was indexed by .*; expected a position, a slice"
    ):
        XYZ[index]


@pytest.mark.parametrize(
    "index", [[0, 1.5], ["0"], torch.tensor([0.5]), np.array(["a"]), [[0, 1]], [torch.zeros(2)]]
)
def test_what_is_no_position_among_positions_is_named(index):
    with pytest.raises(ArgumentTypeError, match="is among the positions; expected whole numbers"):
        XYZ[index]


def test_positions_mixed_with_bools_are_refused():
    with pytest.raises(ArgumentTypeError, match="mixes positions and bools"):
        XYZ[[0, True, False]]


@pytest.mark.parametrize("index", [torch.zeros(2, 2, dtype=torch.int64), np.zeros((1, 3), dtype=bool)])
def test_an_index_of_two_axes_is_named_with_its_shape(index):
    with pytest.raises(ArgumentTypeError, match=r"of shape \((2, 2|1, 3)\); expected one axis"):
        XYZ[index]
