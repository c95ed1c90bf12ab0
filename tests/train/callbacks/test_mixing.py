"""MixUp and CutMix: shares of 1 change nothing, targets follow the inputs for every kind of loss, validation is plain."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, LossError
from plainlearn.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    FocalLoss,
    LabelSmoothingCrossEntropy,
)
from plainlearn.optim import SGD
from plainlearn.train import Callback, Learner, Result
from plainlearn.train.callbacks.mixing import CutMix, MixedLoss, MixedTarget, MixUp

IMAGES = torch.rand(4, 3, 8, 6, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 2, 1, 1])
ORDER = torch.tensor([2, 0, 3, 1])


class Keep(Callback):
    """Holds what the step was given and what it gave."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.losses: list[float] = []

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        self.batches.append(batch)
        return batch

    def on_step(self, learner: Learner, result: Result) -> None:
        self.losses.append(result.loss.item())


def learner_of(loss: Any, targets: Any, inputs: Tensor = IMAGES, **given: Any) -> Learner:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].numel(), given.pop("outputs", 3)))
    batches = [(inputs, targets)]
    return Learner(
        SimpleNamespace(train=batches, valid=batches), model, loss, SGD, 0.1, device="cpu", **given
    )


def fixed(kind: type[Any], monkeypatch: pytest.MonkeyPatch, share: float) -> Any:
    """A callback whose share is known."""
    monkeypatch.setattr(kind, "draw_share", lambda _: share)
    return kind()


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_a_share_of_1_is_training_without_it(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, mixed = learner_of(F.cross_entropy, CLASSES), learner_of(F.cross_entropy, CLASSES)
    plain.fit(2)
    mixed.fit(2, cbs=fixed(kind, monkeypatch, 1.0))
    for ours, theirs in zip(mixed.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "loss",
    [F.cross_entropy, nn.CrossEntropyLoss(), CrossEntropyLossFlat(), CrossEntropyLossFlat(weight=torch.tensor([1.0, 2, 3])),
     FocalLoss(), LabelSmoothingCrossEntropy()],
)  # fmt: skip
@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:, None]])
def test_class_numbers_cost_the_loss_of_both(
    loss: Any, classes: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    if classes.ndim == 2 and not hasattr(loss, "decodes"):
        pytest.skip("torch's own take no column")
    keep = Keep()
    learn = learner_of(loss, classes)
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    learn.fit(1, cbs=[fixed(MixUp, monkeypatch, 0.75), keep])
    images, target = keep.batches[0]
    assert isinstance(target, MixedTarget)
    torch.testing.assert_close(target.own, classes)
    partners = [int((IMAGES.flatten(1) * 0.75 + other.flatten() * 0.25 - images.flatten(1)).abs().sum(1).argmin())
                for other in IMAGES]  # fmt: skip
    assert sorted(partners) == [0, 1, 2, 3]
    learn.model.load_state_dict(before)
    outputs = learn.model(images)
    expected = 0.75 * loss(outputs, target.own) + 0.25 * loss(outputs, target.partner)
    assert keep.losses[0] == pytest.approx(expected.item())


def test_the_loss_of_both_is_that_of_soft_labels() -> None:
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    both = MixedLoss(F.cross_entropy)(outputs, MixedTarget(CLASSES, CLASSES[ORDER], 0.3))
    soft = 0.3 * F.one_hot(CLASSES, 3) + 0.7 * F.one_hot(CLASSES[ORDER], 3)
    torch.testing.assert_close(both, F.cross_entropy(outputs, soft))


@pytest.mark.parametrize(
    ("loss", "targets", "outputs"),
    [
        (F.cross_entropy, F.one_hot(torch.tensor([0, 2, 1, 0]), 3).float(), 3),
        (BCEWithLogitsLossFlat(), torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]), 3),
        (F.mse_loss, torch.tensor([[1.0], [2.0], [3.0], [5.0]]), 1),
    ],
)
def test_numbers_are_blended_like_the_inputs(
    loss: Any, targets: Tensor, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Keep()
    learner_of(loss, targets, outputs=outputs).fit(1, cbs=[fixed(MixUp, monkeypatch, 0.75), keep])
    images, target = keep.batches[0]
    # Both by one linear map, so it is found from the inputs and must give the targets.
    shares = images.flatten(1) @ torch.linalg.pinv(IMAGES.flatten(1))
    torch.testing.assert_close(target, shares @ targets, atol=1e-4, rtol=1e-4)
    assert not torch.equal(target, targets)


def test_whole_numbers_of_several_labels_cost_the_loss_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    learn = learner_of(BCEWithLogitsLossFlat(), labels)
    learn.fit(1, cbs=fixed(MixUp, monkeypatch, 0.75))
    assert len(learn.recorder.losses) == 1


def test_a_cut_is_a_rectangle_of_the_partner_and_counts_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    shares = []
    for _ in range(50):
        cut, share = CutMix().blend([IMAGES], ORDER, 0.6)
        own, partner = cut[0] == IMAGES, cut[0] == IMAGES[ORDER]
        assert (own | partner).all()
        inside = ~own[0].all(dim=0)
        rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
        if len(rows):
            assert inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        assert share == pytest.approx(1 - inside.float().mean().item())
        shares.append(share)
    assert min(shares) == pytest.approx(0.6, abs=0.1)
    assert IMAGES.equal(torch.rand(4, 3, 8, 6, generator=torch.Generator().manual_seed(0))), (
        "the data were changed"
    )


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_validation_is_plain_and_the_step_comes_back(kind: Any) -> None:
    learn = learner_of(F.cross_entropy, CLASSES)
    step, seen = learn.step, list[Any]()

    def watched(inp: Tensor, targ: Tensor) -> Tensor:
        seen.append(targ)
        return F.cross_entropy(inp, targ).detach()

    learn.metrics = watched
    learn.fit(1, cbs=kind())
    assert learn.step is step
    assert [torch.equal(targets, CLASSES) for targets in seen] == [True, True]  # the rehearsal and the epoch
    assert learn.recorder.values[0][1] == learn.recorder.values[0][2] == learn.validate()[0]


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_a_seed_repeats_it(kind: Any) -> None:
    weights = []
    for seed in (1, 1, 2):
        learn = learner_of(F.cross_entropy, CLASSES)
        torch.manual_seed(seed)
        learn.fit(3, cbs=kind())
        weights.append(learn.model[1].weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_shares_are_those_of_beta() -> None:
    torch.manual_seed(0)
    shares = torch.tensor([MixUp(0.4).draw_share() for _ in range(2000)])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(0.25 / 1.8, abs=0.01)


@pytest.mark.parametrize(
    "target", [torch.zeros(4, 8, 6, dtype=torch.long), torch.zeros(4, 2, 2), [torch.zeros(1, 4)] * 4]
)
@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_places_are_refused(kind: Any, target: Any) -> None:
    learn = Learner(
        SimpleNamespace(train=[(IMAGES, target)], valid=None), nn.Conv2d(3, 3, 1), F.cross_entropy, SGD
    )
    with pytest.raises(
        ArgumentTypeError, match="masks, points and boxes lie at places, and two in one are neither"
    ):
        learn.fit(1, cbs=kind())


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [
        (MixUp, torch.zeros(4, 5, dtype=torch.long), "blends inputs of fractional numbers"),
        (CutMix, torch.zeros(4, 5), r"cuts pictures of one size \(B, C, H, W\)"),
    ],
)
def test_inputs_that_cannot_be_mixed_are_refused(kind: Any, inputs: Tensor, message: str) -> None:
    dls = SimpleNamespace(train=[(inputs, CLASSES)], valid=None)
    with pytest.raises(ArgumentTypeError, match=message):
        Learner(dls, nn.Linear(5, 3), F.cross_entropy, SGD).fit(1, cbs=kind())


def test_only_one_mixes_and_a_step_of_one_s_own_is_refused(make_learner: Callable[..., Learner]) -> None:
    with pytest.raises(ArgumentError, match="CutMix is not the only one that mixes batches"):
        learner_of(F.cross_entropy, CLASSES).fit(1, cbs=[MixUp(), CutMix()])
    with pytest.raises(ArgumentError, match="alpha is 0; expected a number above 0"):
        MixUp(0)

    def own(model: nn.Module, batch: Any) -> Result:
        return Result(model(batch[0]).mean(), None, ())

    with pytest.raises(ArgumentTypeError, match="this learner's step is the user's own, own"):
        make_learner(step=own, valid=None).fit(1, cbs=MixUp())


def test_an_error_of_the_loss_names_the_loss() -> None:
    learn = learner_of(F.cross_entropy, CLASSES + 7)
    learn.dls = SimpleNamespace(train=learn.dls.train, valid=None)
    with pytest.raises(LossError, match="the loss cross_entropy cannot compare"):
        learn.fit(1, cbs=MixUp())
