"""The linear probe: how far the features of a body go, by the best linear layer on them; seconds, not epochs.

features of training and validation items     one pass through the body, as validation sees them
for each strength, for each fold:              multinomial logistic regression, by L-BFGS
the strength with the lowest loss on the folds left out, on all training items
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, LossError
from plainlearn.core.seed import preserve_random_state
from plainlearn.losses.activations import activation_of, decoding_of
from plainlearn.optim.optimizers import minimise
from plainlearn.train.evaluate import evaluate
from plainlearn.train.features import Features, body_is_fixed, features_of, head_of, unaugmented_batches
from plainlearn.train.loop import TrainingLoop
from plainlearn.train.recorder import Epoch
from plainlearn.train.step import SupervisedStep, loss_name
from plainlearn.train.trial import affects_step, undisturbed

_STRENGTHS: Final = (100.0, 10.0, 1.0, 0.1)  # strong first: each is a good start for the next
_FOLDS: Final = 5
_NORM: Final = (
    20.0  # features are scaled to this root mean square norm, so that strengths mean the same for all bodies
)
_FEW_ENOUGH: Final = 2000  # items on which strengths are compared
_SMALL_ENOUGH: Final = 1 << 30  # bytes of features that `fine_tune` would keep

LossFunc = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Probe:
    """The result of `learn.probe()`.

    `accuracy` is on the validation items (nan without any), `cv_accuracy` on the training items by
    cross-validation, `cv_error` its standard error. `per_class` is the validation accuracy of each class that occurs there.
    `strength` is the chosen weight of half the squared norm of the layer's weights beside the summed loss.
    """

    accuracy: float
    cv_accuracy: float
    cv_error: float
    per_class: dict[Any, float]
    strength: float
    items: tuple[int, int]
    seconds: float
    weight: Tensor = field(repr=False)
    bias: Tensor = field(repr=False)

    def into(self, learner: TrainingLoop) -> None:
        """Make this layer the learner's head. Raises `ArgumentError` unless that is one linear layer of this size."""
        linear = head_of(learner).linear
        if linear is None or linear.weight.shape != self.weight.shape:
            found = (
                "more than one linear layer"
                if linear is None
                else f"a layer of shape {tuple(linear.weight.shape)}"
            )
            raise ArgumentError(
                f"the probe is a linear layer of shape {tuple(self.weight.shape)}, and the head is {found}",
                try_="vision_learner(dls, arch) without lin_ftrs, ps or concat_pool",
            )
        with torch.no_grad():
            linear.weight.copy_(self.weight)
            if linear.bias is not None:  # pyright: ignore[reportUnnecessaryComparison] (a layer may have none)
                linear.bias.copy_(self.bias)

    def __repr__(self) -> str:
        hardest = sorted(self.per_class.items(), key=lambda entry: entry[1])[:5]
        lines = [
            f"Probe: accuracy {self.accuracy:.3f} on {self.items[1]} validation items",
            f"  cross-validation  {self.cv_accuracy:.3f} ± {self.cv_error:.3f} on {self.items[0]} training items",
            f"  strength          {self.strength:g}",
            f"  seconds           {self.seconds:.1f}",
        ]
        if hardest:
            lines.append("  hardest classes   " + ", ".join(f"{name} {share:.2f}" for name, share in hardest))
        return "\n".join(lines)


def probe(learner: TrainingLoop) -> Probe:
    """How well a linear layer on the body's features tells the classes apart, found in one pass through the body.

    Training items are seen as validation sees them (without random transforms) where the loaders can give them so.
    `.into(learn)` of the result makes it the head. The learner itself is not changed.
    Raises `LossError` when the learner's loss is not one of classes, `ArgumentError` for a model without a head.
    """
    started = time.perf_counter()
    loss_func = _class_loss(learner)
    head = head_of(learner)
    dls = learner.dls
    with preserve_random_state(), undisturbed(dls.train), undisturbed(dls.valid):
        train = features_of(learner, unaugmented_batches(learner), head)
        valid = None if dls.valid is None else features_of(learner, dls.valid, head)
    seen = train.targets if valid is None else torch.cat([train.targets, valid.targets])
    classes = head.linear.out_features if head.linear is not None else int(seen.max()) + 1
    layer, strength, folds = fit_linear(train, classes, loss_func)
    hits = torch.zeros(0) if valid is None else (layer(valid.rows).argmax(1) == valid.targets).float()
    mean = sum(folds) / len(folds)
    spread = math.sqrt(sum((fold - mean) ** 2 for fold in folds) / max(len(folds) - 1, 1))
    return Probe(
        accuracy=float(hits.mean()) if len(hits) else math.nan,
        cv_accuracy=mean,
        cv_error=spread / math.sqrt(len(folds)),
        per_class={} if valid is None else _per_class(hits, valid.targets, getattr(dls, "vocab", None)),
        strength=strength,
        items=(len(train.targets), len(hits)),
        seconds=time.perf_counter() - started,
        weight=layer.weight.detach(),
        bias=layer.bias.detach(),
    )


def can_fit_head_on_features(learner: TrainingLoop) -> bool:
    """Whether the head can be fitted to features computed once, in place of frozen epochs.

    That is so when the head is one linear layer, the loss one of classes, nothing before the head learns, the loaders can
    show the training items unaugmented, the features fit into a gigabyte, and neither a step of the user's own nor a
    callback has a say in what a step does.
    """
    if len(list(learner.splitter(learner.model))) < 2 or not is_class_loss(learner.loss_func):
        return False
    if not isinstance(learner.step, SupervisedStep) or any(map(affects_step, learner.callbacks)):
        return False
    if not hasattr(learner.dls, "unaugmented"):
        return False
    head = head_of(learner)
    if head.linear is None or not body_is_fixed(learner):
        return False
    items = len(getattr(learner.dls, "train_ds", ()))
    return 0 < items * head.linear.in_features * 4 <= _SMALL_ENOUGH


def fit_head(learner: TrainingLoop) -> Epoch:
    """Fit the linear head to features computed once; prints, and returns, the row of the table that an epoch would."""
    started = time.perf_counter()
    head = head_of(learner)
    assert head.linear is not None
    view = copy.copy(learner)
    view.epochs, view.steps_of_epoch, view.stop_reason = 1, 0, ""
    learner.progress.say("The head, on features computed once:")
    with learner.progress.fit_scope(view):
        train = features_of(learner, unaugmented_batches(learner), head)
        layer, _, _ = fit_linear(train, head.linear.out_features, _class_loss(learner))
        with torch.no_grad():
            head.linear.weight.copy_(layer.weight)
            head.linear.bias.copy_(layer.bias)

        def measured(features: Features) -> list[float]:
            return evaluate(
                layer,
                learner.step,
                [(features.rows, features.targets)],
                meters=learner.meters,
                device=learner.device,
            )

        train_loss = measured(train)[0]
        values = [math.nan] * (1 + len(learner.meters))
        if learner.dls.valid is not None:
            values = measured(features_of(learner, learner.dls.valid, head))
        row = Epoch(0, train_loss, values[0], tuple(values[1:]), time.perf_counter() - started)
        learner.progress.on_epoch(view, row)
        return row


def is_class_loss(loss_func: object) -> bool:
    """Whether the loss takes a row of scores an item, and decodes it to one class number."""
    scores = torch.tensor([[0.0, 1.0]])
    sums_to_one = torch.allclose(activation_of(loss_func)(scores).sum(-1), torch.ones(1))
    return sums_to_one and decoding_of(loss_func)(scores).shape == (1,)


def _class_loss(learner: TrainingLoop) -> LossFunc:
    loss_func = learner.loss_func
    if loss_func is None or not is_class_loss(loss_func):
        raise LossError(
            f"a probe tells classes apart, and the loss {loss_name(loss_func)} is not one of classes",
            try_="loss_func=CrossEntropyLossFlat()",
        )
    return loss_func


def fit_linear(train: Features, classes: int, loss_func: LossFunc) -> tuple[nn.Linear, float, list[float]]:
    """The layer, the strength that was chosen, and the accuracy on each fold left out with that strength."""
    mean = train.rows.mean(0)
    centred = train.rows - mean
    scale = _NORM / float(centred.square().sum(1).mean().sqrt().clamp_min(1e-12))
    rows = centred * scale
    strength, folds = _strength(rows, train.targets, classes, loss_func)
    coefficients = _regressed(rows, train.targets, classes, strength, loss_func)
    layer = cast("nn.Linear", nn.utils.skip_init(nn.Linear, centred.shape[1], classes, device=rows.device))
    with torch.no_grad():
        layer.weight.copy_(coefficients[:-1].T * scale)
        layer.bias.copy_(coefficients[-1] - layer.weight @ mean)
    return layer.eval(), strength, folds


def _strength(rows: Tensor, targets: Tensor, classes: int, loss_func: LossFunc) -> tuple[float, list[float]]:
    """The strength with the lowest loss on the folds that were left out, and its accuracy on each."""
    drawn = torch.Generator().manual_seed(0)
    order = torch.randperm(len(rows), generator=drawn)[:_FEW_ENOUGH].to(rows.device)
    rows, targets = rows[order], targets[order]
    # One after another within each class, so that each fold has its share of every class.
    fold, count = targets.argsort(stable=True).argsort() % _FOLDS, min(_FOLDS, len(rows))
    losses = [0.0] * len(_STRENGTHS)
    hits: list[list[float]] = [[] for _ in _STRENGTHS]
    for number in range(count):
        out, inside = fold == number, fold != number
        start: Tensor | None = None
        for place, strength in enumerate(_STRENGTHS):
            start = _regressed(rows[inside], targets[inside], classes, strength, loss_func, start)
            scores = rows[out] @ start[:-1] + start[-1]
            losses[place] += float(loss_func(scores, targets[out]))
            hits[place].append(float((scores.argmax(1) == targets[out]).float().mean()))
    best = losses.index(min(losses))
    return _STRENGTHS[best], hits[best]


def _regressed(
    rows: Tensor,
    targets: Tensor,
    classes: int,
    strength: float,
    loss_func: LossFunc,
    start: Tensor | None = None,
) -> Tensor:
    """Coefficients (F + 1, K), the last row the bias, which is not held back."""
    if start is None:
        start = torch.zeros(rows.shape[1] + 1, classes, device=rows.device)

    def cost(coefficients: Tensor) -> Tensor:
        loss = loss_func(rows @ coefficients[:-1] + coefficients[-1], targets)
        return loss + strength / (2 * len(rows)) * coefficients[:-1].square().sum()

    return minimise(cost, start)


def _per_class(hits: Tensor, targets: Tensor, vocab: Sequence[Any] | None) -> dict[Any, float]:
    numbers = cast("list[int]", targets.unique().tolist())  # pyright: ignore[reportUnknownMemberType]
    return {
        number if vocab is None else vocab[number]: float(hits[targets == number].mean())
        for number in numbers
    }
