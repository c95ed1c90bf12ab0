"""Predictions over any batches, with what belongs to them, in the batches' order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plainlearn.core.errors import DataError, LossError, ShapeError
from plainlearn.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from plainlearn.train import Learner

Make = Callable[..., Learner]


@pytest.fixture
def classes() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(5)
    return [(torch.randn(n, 3, generator=rng), torch.randint(4, (n,), generator=rng)) for n in (4, 4, 2)]


@pytest.fixture
def learn(classes: Any) -> Learner:
    torch.manual_seed(0)
    return Learner(
        SimpleNamespace(train=classes, valid=classes), nn.Linear(3, 4), F.cross_entropy, device="cpu"
    )


def whole(batches: Any) -> tuple[Tensor, Tensor]:
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    return x, y


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss(), CrossEntropyLossFlat()])
def test_rows_of_class_probabilities_sum_to_one(learn: Learner, classes: Any, loss: Any) -> None:
    learn.loss_func = loss
    predictions, targets = learn.get_preds()
    x, y = whole(classes)
    torch.testing.assert_close(predictions, learn.model(x).softmax(1).detach())
    torch.testing.assert_close(predictions.sum(1), torch.ones(10))
    assert torch.equal(targets, y)
    assert type(predictions) is type(targets) is Tensor
    assert not predictions.requires_grad


def test_everything_asked_for_comes_in_the_course_s_order(learn: Learner, classes: Any) -> None:
    x, y = whole(classes)
    inputs, predictions, targets, decoded, losses = learn.get_preds(
        with_input=True, with_decoded=True, with_loss=True
    )
    assert torch.equal(inputs, x)
    assert torch.equal(targets, y)
    assert torch.equal(decoded, predictions.argmax(1))
    torch.testing.assert_close(losses, F.cross_entropy(learn.model(x), y, reduction="none").detach())
    assert [len(learn.get_preds(**{name: True})) for name in ("with_input", "with_decoded", "with_loss")] == [
        3
    ] * 3


@pytest.mark.parametrize(
    "make",
    [
        lambda data: data,
        lambda data: tuple(data),
        lambda data: (batch for batch in data),
        lambda data: [[x, y] for x, y in data],
        lambda data: torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*whole(data)), batch_size=3),
        lambda data: [whole(data)],
    ],
)
def test_any_iterable_of_batches_gives_the_same(learn: Learner, classes: Any, make: Any) -> None:
    expected = learn.get_preds()
    found = learn.get_preds(dl=make(classes))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: x, lambda x: [x]])
def test_batches_without_targets_have_predictions(learn: Learner, classes: Any, wrap: Any) -> None:
    predictions, targets = learn.get_preds(dl=[wrap(x) for x, _ in classes])
    assert torch.equal(predictions, learn.get_preds()[0])
    assert targets is None
    with pytest.raises(DataError, match="with_loss=True needs targets, and the batches have none"):
        learn.get_preds(dl=[wrap(x) for x, _ in classes], with_loss=True)


def test_the_training_data_are_predicted_on_request(learn: Learner, classes: Any) -> None:
    learn.dls = SimpleNamespace(train=classes[:1], valid=classes[1:])
    assert [len(learn.get_preds(i)[0]) for i in (0, 1)] == [4, 6]


def test_an_activation_that_is_given_replaces_the_loss_s(learn: Learner, classes: Any) -> None:
    x, _ = whole(classes)
    torch.testing.assert_close(learn.get_preds(act=lambda x: x)[0], learn.model(x).detach())


def test_a_threshold_decodes_yes_or_no(make_learner: Make) -> None:
    learn = make_learner(loss_func=BCEWithLogitsLossFlat(thresh=0.3))
    learn.dls = SimpleNamespace(train=None, valid=[(torch.randn(6, 3), torch.ones(6, 1))])
    predictions, _, decoded = learn.get_preds(with_decoded=True)
    assert torch.equal(decoded, predictions > 0.3)
    assert ((predictions > 0) & (predictions < 1)).all()


def test_the_loss_of_an_item_is_the_mean_of_its_elements(make_learner: Make) -> None:
    class Wide(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).repeat(1, 2)

    data = [(torch.randn(5, 3), torch.randn(5, 2)), (torch.randn(2, 3), torch.randn(2, 2))]
    for loss in (F.mse_loss, MSELossFlat()):
        learn = make_learner(model=Wide(3, 1), valid=data, loss_func=loss)
        predictions, targets, losses = learn.get_preds(with_loss=True)
        torch.testing.assert_close(losses, (predictions - targets).square().mean(1))
        assert losses.mean().item() == pytest.approx(learn.validate()[0], rel=1e-5)


def test_a_loss_of_the_user_s_leaves_the_outputs_and_has_no_loss_of_an_item(make_learner: Make) -> None:
    def mine(predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions - targets).abs().mean()

    learn = make_learner(loss_func=mine)
    x, _y = whole(learn.dls.valid)
    predictions, _targets, decoded = learn.get_preds(with_decoded=True)
    torch.testing.assert_close(predictions, learn.model(x).detach())
    assert decoded is predictions
    with pytest.raises(LossError, match="the loss mine has no argument `reduction`"):
        learn.get_preds(with_loss=True)


def test_a_loss_that_ignores_reduction_is_named(make_learner: Make) -> None:
    def mine(predictions: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        return (predictions - targets).abs().mean()

    with pytest.raises(LossError, match=r"the loss mine gave shape \(\) \(float32\) for 8 items"):
        make_learner(loss_func=mine).get_preds(with_loss=True)


def test_several_inputs_targets_and_outputs_are_tuples(make_learner: Make) -> None:
    class Two(nn.Linear):
        def forward(self, first: Tensor, second: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(first), {"sum": first + second}

    rows = [torch.randn(n, 3) for n in (4, 2)]
    learn = make_learner(model=Two(3, 1))
    learn.dls = SimpleNamespace(train=None, valid=[(x, x * 2, x[:, :1], x[:, 1:]) for x in rows], n_inp=2)
    inputs, (first, second), targets = learn.get_preds(with_input=True)
    x = torch.cat(rows)
    assert torch.equal(inputs[0], x)
    assert torch.equal(inputs[1], x * 2)
    assert torch.equal(second["sum"], x * 3)
    assert first.shape == (6, 1)
    assert torch.equal(targets[0], x[:, :1])
    assert torch.equal(targets[1], x[:, 1:])


def test_names_among_the_targets_stay_names(make_learner: Make) -> None:
    learn = make_learner()
    valid = [
        (torch.zeros(2, 3), torch.zeros(2, 1), ("a", "b")),
        (torch.zeros(1, 3), torch.zeros(1, 1), ("c",)),
    ]
    learn.dls = SimpleNamespace(train=None, valid=valid, n_inp=1)
    _, (numbers, names) = learn.get_preds()
    assert names == ("a", "b", "c")
    assert numbers.shape == (3, 1)


@pytest.mark.parametrize(
    ("sizes", "found"),
    [([(4, 3), (4, 5)], r"\(4, 3\) and \(4, 5\)"), ([(4, 3), (4, 3, 2)], "do not make one tensor")],
)
def test_batches_that_do_not_fit_together_are_named(make_learner: Make, sizes: Any, found: str) -> None:
    learn = make_learner(loss_func=lambda p, y: p.sum())

    class Same(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return input

    learn.model = Same(1, 1)
    with pytest.raises(ShapeError, match=found):
        learn.get_preds(dl=[(torch.zeros(size), torch.zeros(4)) for size in sizes])


def test_a_model_that_drops_the_batch_axis_is_named(make_learner: Make) -> None:
    class Squeezed(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).squeeze()

    learn = make_learner(model=Squeezed(3, 1))
    with pytest.raises(ShapeError, match="do not make one tensor") as caught:
        learn.get_preds(dl=[torch.zeros(4, 3), torch.zeros(1, 3)])
    assert "a model that keeps the batch axis" in str(caught.value)


def test_batches_with_and_without_targets_are_refused(learn: Learner, classes: Any) -> None:
    (x, y), _, _ = classes
    with pytest.raises(DataError, match="some batches have targets and some have none"):
        learn.get_preds(dl=[(x, y), (x,)])


def test_without_a_batch_there_is_nothing_to_predict(learn: Learner) -> None:
    def none() -> Iterator[Any]:
        yield from ()

    with pytest.raises(DataError, match="there is no batch to predict"):
        learn.get_preds(dl=none())


def test_predicting_leaves_the_model_in_its_mode(learn: Learner) -> None:
    learn.model.train()
    learn.get_preds()
    assert learn.model.training
    assert torch.is_grad_enabled()


def test_what_was_asked_for_has_names_and_what_was_not_is_none(make_learner: Any) -> None:
    learn = make_learner()
    pair = learn.get_preds()
    assert len(pair) == 2
    assert (pair.inputs, pair.decoded, pair.losses) == (None, None, None)
    every = learn.get_preds(with_input=True, with_decoded=True, with_loss=True)
    named = (every.inputs, every.predictions, every.targets, every.decoded, every.losses)
    assert len(every) == 5
    assert all(part is name for part, name in zip(every, named, strict=True))


def test_validation_gives_the_course_s_list_with_names(make_learner: Any) -> None:
    scores = make_learner(metrics=nn.functional.l1_loss).validate()
    assert isinstance(scores, list)
    assert scores.names == ("loss", "l1_loss")
    assert scores.named == {"loss": scores.loss, "l1_loss": scores[1]}
