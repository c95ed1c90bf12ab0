"""Transforms as data: where they act, in which order, and what a person may write for them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from plainlearn.core.errors import ArgumentTypeError
from plainlearn.data.blocks import Block
from plainlearn.data.transform import Function, Transform, as_transforms, for_side


class OnBatch(Transform):
    order: ClassVar[int] = 5

    def on_batch(self, batch: Any, blocks: Any, rng: Any, *, train: bool) -> Any:
        return batch


class InTraining(OnBatch):
    split_idx: ClassVar[int | None] = 0
    order: ClassVar[int] = 1


class InValidation(OnBatch):
    split_idx: ClassVar[int | None] = 1


def test_one_several_a_class_a_function_or_nothing_will_do() -> None:
    assert as_transforms(None, "batch_tfms") == ()
    made = as_transforms([OnBatch, OnBatch(), len], "batch_tfms")
    assert [type(each) for each in made] == [OnBatch, OnBatch, Function]
    assert made[2] == Function(len) and repr(made[2]) == "Function(len)"
    with pytest.raises(ArgumentTypeError, match="item_tfms has 224; expected transforms"):
        as_transforms(224, "item_tfms")


def test_a_transform_in_the_wrong_place_is_refused_when_it_is_named() -> None:
    with pytest.raises(ArgumentTypeError, match=r"acts on batches only\n  Try batch_tfms="):
        as_transforms(OnBatch(), "item_tfms")
    with pytest.raises(ArgumentTypeError, match=r"acts on items only\n  Try item_tfms="):
        as_transforms(Transform(), "batch_tfms")


def test_sides_are_told_apart_and_the_order_is_each_transform_s_own() -> None:
    every = (OnBatch(), InValidation(), InTraining())
    assert [type(each) for each in for_side(every, 0)] == [InTraining, OnBatch]
    assert [type(each) for each in for_side(every, 1)] == [OnBatch, InValidation]


def test_a_function_must_give_as_many_fields_as_it_got() -> None:
    rng, blocks = np.random.default_rng(0), (Block(), Block())
    swap = Function(lambda fields: [fields[1], fields[0]])
    assert swap.on_items((1, 2), blocks, rng, train=True) == (2, 1)
    for wrong in (lambda fields: fields[0], lambda fields: fields[:1], lambda fields: None):
        with pytest.raises(ArgumentTypeError, match=r"got 2 fields and gave .* expected a tuple of as many"):
            Function(wrong).on_batch((1, 2), blocks, rng, train=True)


class Sized(Transform):
    def __init__(self, size: int) -> None:
        self.size = size


def test_a_class_that_needs_arguments_is_refused_by_name() -> None:
    with pytest.raises(
        ArgumentTypeError, match=r"item_tfms has the class Sized.*'size'\n  Try item_tfms=Sized"
    ):
        as_transforms(Sized, "item_tfms")
