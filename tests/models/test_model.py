"""Bodies and heads: cut where the body ends, with parameters complete and in forward order."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, ShapeError
from plainlearn.models.archs import resnet18
from plainlearn.models.heads import AdaptiveConcatPool2d, Flatten, create_head
from plainlearn.models.model import VisionModel, body_and_head, create_body
from plainlearn.models.model import create_vision_model as create_any_vision_model

create_vision_model = partial(create_any_vision_model, pretrained=False)


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, dilation=1, padding_mode="reflect"), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip


def test_the_body_ends_before_the_last_pooling_and_not_at_one_in_its_middle() -> None:
    assert [type(part) for part in create_body(small())] == [type(part) for part in list(small())[:6]]
    assert [name for name, _ in create_body(resnet18()).named_children()] == [str(i) for i in range(8)]
    assert len(create_body(small(), cut=-4)) == 5


@pytest.mark.parametrize("cut", [0, 99, -99, -9])
def test_a_cut_that_leaves_no_body_is_refused(cut: int) -> None:
    with pytest.raises(ArgumentError, match=f"cut={cut} does not divide the 9 parts of Sequential"):
        create_body(small(), cut)


def test_a_model_whose_body_has_no_end_needs_a_cut() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(ArgumentError, match=r"its parts are Conv2d, ReLU\n  Try cut=-2"):
        create_body(model)
    assert create_vision_model(model, 2, cut=2)(torch.zeros(2, 3, 8, 8)).shape == (2, 2)


def test_other_channels_change_the_first_convolution_alone() -> None:
    body = create_body(small(), channels=1)
    first = next(part for part in body if isinstance(part, nn.Conv2d))
    assert first.in_channels == 1 and first.padding_mode == "reflect" and first.bias is not None
    assert create_vision_model(resnet18, 2, channels=1).eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 2)
    with pytest.raises(ArgumentError, match="no convolution"):
        create_body(nn.Sequential(nn.ReLU(), nn.Linear(1, 1)), channels=1)


def test_a_head_pools_and_narrows() -> None:
    head = create_head(8, 3, lin_ftrs=(6, 5), ps=0.4)
    assert head.eval()(torch.zeros(2, 8, 7, 9)).shape == (2, 3)
    assert [part.p for part in head if isinstance(part, nn.Dropout)] == [0.2, 0.2, 0.4]
    assert isinstance(create_head(8, 3, concat_pool=False)[0], nn.AdaptiveAvgPool2d)
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(Flatten()(AdaptiveConcatPool2d()(x)), torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1))


@pytest.mark.parametrize(
    "arch",
    [
        resnet18,
        small,
        lambda: nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3)), nn.Linear(2, 2)),
    ],
)
def test_groups_are_complete_and_in_forward_order(arch: Any) -> None:
    model = create_vision_model(arch, 2)
    groups = body_and_head(model)
    assert len(groups) == 3 and all(groups)
    assert [id(p) for group in groups for p in group] == [id(p) for p in model.parameters()]


def test_a_model_that_is_no_body_and_head_cannot_be_divided_so() -> None:
    with pytest.raises(ArgumentError, match="Sequential has 9 parts; expected two, a body and a head"):
        body_and_head(small())


def test_arch_is_a_model_or_makes_one() -> None:
    model = small()
    assert create_vision_model(model, 5)[0][0] is model[0]
    with pytest.raises(
        ArgumentTypeError, match=r"arch is int 18; expected a name, .*\n  Try vision_learner\(dls, resnet18\)"
    ):
        create_vision_model(18, 2)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match=r"arch gave int; expected an nn.Module"):
        create_vision_model(lambda: 3, 2)  # type: ignore[arg-type, return-value]
    with pytest.raises(RuntimeError) as caught:
        create_vision_model(nn.Sequential(nn.Conv2d(5, 4, 3), nn.Linear(4, 1)), 2)
    assert "did not get through the body" in caught.value.__notes__[0]


def test_a_training_batch_of_one_says_why_it_cannot_be() -> None:
    model = create_vision_model(small, 2)
    assert isinstance(model, VisionModel) and len(list(model.children())) == 2
    with pytest.raises(ShapeError, match=r"has one image, and batch norm compares .*\n  Try another bs="):
        model(torch.zeros(1, 3, 8, 8))
    assert model.eval()(torch.zeros(1, 3, 8, 8)).shape == (1, 2)
