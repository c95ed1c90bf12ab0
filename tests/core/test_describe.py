"""Claims about the words that error messages use for values."""

import numpy as np
import torch

from plainlearn.core.describe import describe


def test_plain_values_are_told_with_their_kind():
    assert describe("cat") == "str 'cat'"
    assert describe(None) == "NoneType None"
    assert describe(torch.tensor(3)) == "Tensor tensor(3)"


def test_a_long_value_is_cut_short():
    assert len(describe("x" * 10_000)) < 100
    assert len(describe(list(range(10_000)))) < 100


def test_arrays_and_tensors_are_told_by_shape_not_by_content():
    assert describe(torch.zeros(3, 4)) == "Tensor of shape (3, 4)"
    assert describe(np.zeros(5)) == "ndarray of shape (5,)"


def test_a_value_whose_repr_fails_is_described_all_the_same():
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert "Broken" in describe(Broken())
