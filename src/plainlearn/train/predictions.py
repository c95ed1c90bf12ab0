"""What a learner predicts: for the validation set, for other batches, for one item, and as the mean of several views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, DataError, LossError, ShapeError
from plainlearn.core.lists import L
from plainlearn.core.seed import preserve_random_state
from plainlearn.core.tensors import to_cpu, to_device
from plainlearn.losses.activations import activation_of, decoding_of, unreduced
from plainlearn.train.evaluate import evaluating
from plainlearn.train.features import unaugmented_batches
from plainlearn.train.loop import TrainingLoop
from plainlearn.train.step import Batch, apply_model, described, in_full, loss_name, place, split_batch

#: Where batches come from: a loader of ours or torch's, a list.
Batches = Iterable[Batch]


class Scores(L[float]):
    """`[loss, metric, …]`, as `validate` gives them, with their `names`.

    >>> scores = Scores(["loss", "accuracy"], [0.25, 0.9])
    >>> scores, scores.loss, scores.named["accuracy"]
    ([0.25, 0.9], 0.25, 0.9)
    """

    __slots__ = ("names",)

    def __init__(self, names: Sequence[str], values: Iterable[float]) -> None:
        super().__init__(values)
        self.names = tuple(names)

    @property
    def loss(self) -> float:
        return self[0]

    @property
    def named(self) -> dict[str, float]:
        return dict(zip(self.names, self, strict=True))


class Prediction(NamedTuple):
    """What one item is taken for: for classes the label, its number, and the probability of each class.

    Of several targets each part is a tuple.
    """

    label: Any
    index: Tensor  # pyright: ignore[reportIncompatibleMethodOverride] (it is the course's word)
    probabilities: Tensor


class Predictions(tuple[Any, ...]):
    """`([inputs,] predictions, targets[, decoded][, losses])`: what was asked for, in this order, and by name.

    Each is one tensor with an item a row, or a tuple of them where a batch has several fields; None when it was not
    asked for. `targets` are None, too, when the batches have none.
    """

    inputs: Any
    predictions: Any
    targets: Any
    decoded: Any
    losses: Tensor | None

    def __new__(
        cls,
        predictions: object,
        targets: object,
        *,
        inputs: object = None,
        decoded: object = None,
        losses: Tensor | None = None,
    ) -> Predictions:
        before, after = [inputs], [decoded, losses]
        parts = [*(part for part in before if part is not None), predictions, targets]
        made = super().__new__(cls, [*parts, *(part for part in after if part is not None)])
        made.inputs, made.predictions, made.targets, made.decoded, made.losses = (
            inputs,
            predictions,
            targets,
            decoded,
            losses,
        )
        return made


def get_preds(
    learner: TrainingLoop,
    ds_idx: int = 1,
    dl: Batches | None = None,
    with_input: bool = False,
    with_decoded: bool = False,
    with_loss: bool = False,
    act: Callable[[Any], Any] | None = None,
) -> Predictions:
    """`(predictions, targets)` over the validation set, or over `dl`, any iterable of batches.

    Predictions have the loss's activation applied (`act` replaces it): probabilities for
    classes. `with_input` puts the inputs first, `with_decoded` and `with_loss` add the answers and
    the loss of each item behind. Targets are None when the batches have none. All are on the CPU, items in the order of
    the batches.
    Raises `DataError` when there is no batch, or when losses are asked for and there are no targets;
    `ShapeError` when batches do not fit together; `LossError` when the loss of an item is not known.
    """
    batches = batches_of(learner, ds_idx, dl)
    place(learner.model, learner.device)
    activation = act or activation_of(learner.loss_func)
    losses = unreduced(cast("Callable[..., Tensor]", learner.loss_func)) if with_loss else None
    seen: list[Any] = []
    predicted: list[Any] = []
    aimed: list[Any] = []
    lost: list[Tensor] = []
    with evaluating(learner.model):
        for host_batch in batches:
            batch = to_device(host_batch, learner.device)
            given, targets = split_batch(batch, getattr(learner.dls, "n_inp", None))
            with learner.precision.autocast():
                outputs = in_full(apply_model(learner.model, given))
            predicted.append(to_cpu(activation(outputs)))
            aimed.append(to_cpu(targets))
            if with_input:
                seen.append(to_cpu(tuple(given)))
            if losses is not None:
                lost.append(to_cpu(_loss_of_each(losses, learner.loss_func, outputs, targets)))
    if not predicted:
        raise DataError("there is no batch to predict; expected at least one")
    if len(set(map(len, aimed))) > 1:
        raise DataError("some batches have targets and some have none; expected one kind")
    predictions = _joined(predicted)
    return Predictions(
        predictions,
        _alone(_joined(aimed)),
        inputs=_alone(_joined(seen)) if with_input else None,
        decoded=decoding_of(learner.loss_func)(predictions) if with_decoded else None,
        losses=_joined(lost) if with_loss else None,
    )


def batches_of(learner: TrainingLoop, ds_idx: int, dl: Batches | None) -> Batches:
    """`dl`, if there is one, else the training data for 0, the validation data for 1."""
    if dl is not None:
        return dl
    known: dict[Any, Any] = {0: learner.dls.train, 1: learner.dls.valid}
    if ds_idx not in known:
        raise ArgumentError(
            f"ds_idx is {describe(ds_idx)}; expected 0, training, or 1, validation",
            try_="dl=learn.dls[2]",
        )
    if known[ds_idx] is None:
        raise DataError(
            "there is no validation data", try_="dl=a list of batches, or ds_idx=0 for the training data"
        )
    return known[ds_idx]


def predict(learner: TrainingLoop, item: object) -> Prediction:
    """`(label, index, probabilities)` for one item: a path, bytes, a picture, whatever the first getter reads.

    The transforms are those of validation. Of several targets each part is a tuple. Nothing is printed.
    """
    dls: Any = learner.dls
    if not hasattr(dls, "test_dl"):
        raise ArgumentError(
            f"{type(dls).__name__} do not say how an item becomes a batch",
            try_="learn.get_preds(dl=[(batch,)]), or loaders of a DataBlock",
        )
    values = get_preds(learner, dl=dls.test_dl([item], bs=1, num_workers=0)).predictions
    answer = decoding_of(learner.loss_func)(values)
    targets = dls.blocks[dls.n_inp :]
    if not isinstance(values, Tensor) or len(targets) != 1:
        return Prediction(answer, answer, values)
    return Prediction(targets[0].decode(answer[0]), answer[0], values[0])


def tta(
    learner: TrainingLoop,
    ds_idx: int = 1,
    dl: Batches | None = None,
    n: int = 4,
    beta: float | None = 0.25,
    use_max: bool = False,
) -> Predictions:
    """`(predictions, targets)` from `n` passes as training sees the items and one as validation does.

    The mean of the `n` is mixed with the plain pass, whose share is `beta` (None gives both, unmixed, in a tuple);
    `use_max` takes the largest of all instead. `dl` is a loader of the data's own, such as `dls.test_dl(files)`.
    The random state is left as it was. Raises `DataError` when the data cannot show items as training sees them.
    """
    if n < 1:
        raise ArgumentError(f"n is {n}; expected 1 pass or more", try_="n=4")
    if beta is not None and not 0 <= beta <= 1:
        raise ArgumentError(f"beta is {beta}; expected the share of the plain pass, 0..1", try_="beta=0.25")
    as_in_training = getattr(learner.dls, "augmented", None)
    loader: Any = dl if dl is not None else {0: learner.dls.train, 1: learner.dls.valid}.get(ds_idx)
    items = getattr(getattr(loader, "dataset", None), "items", None)
    if as_in_training is None or items is None:
        raise DataError(
            f"{describe(loader)} does not say how training would see its items; expected a loader of a DataBlock",
            try_="learn.get_preds(dl=…), or dl=learn.dls.test_dl(files)",
        )
    plain_dl = unaugmented_batches(learner) if dl is None and ds_idx == 0 else loader
    with preserve_random_state():
        plain, targets = get_preds(learner, dl=plain_dl)
        views = [get_preds(learner, dl=as_in_training(loader)).predictions for _ in range(n)]
    seen = torch.stack(views)
    if use_max:
        return Predictions(torch.cat([seen, plain[None]]).amax(0), targets)
    mean = seen.mean(0)
    return Predictions((mean, plain) if beta is None else torch.lerp(mean, plain, beta), targets)


# ---- batches, put together


def _loss_of_each(
    losses: Callable[..., Tensor], loss_func: Any, outputs: Any, targets: tuple[Any, ...]
) -> Tensor:
    """One loss an item. A loss that gives one value an element has the mean of an item's elements taken."""
    if not targets:
        raise DataError("with_loss=True needs targets, and the batches have none")
    values, items = losses(outputs, *targets), len(targets[0])
    if not values.ndim or values.numel() % items:
        raise LossError(
            f"the loss {loss_name(loss_func)} gave {described(values)} for {items} items; expected one or more values each",
            try_="a loss that honours reduction='none'",
        )
    return values.reshape(items, -1).mean(dim=1)


def _joined(parts: list[Any]) -> Any:
    """The same field of all batches, one after another."""
    head = parts[0]
    if isinstance(head, Tensor):
        if not head.ndim or len({(part.ndim, part.shape[1:]) for part in parts}) > 1:
            shapes = " and ".join(sorted({str(tuple(part.shape)) for part in parts})[:4])
            raise ShapeError(
                f"batches of shape {shapes} do not make one tensor; expected items of one shape, a row each",
                try_="one batch at a time, or a model that keeps the batch axis",
            )
        return torch.cat(parts)
    if isinstance(head, Mapping):
        return {key: _joined([part[key] for part in parts]) for key in cast("Mapping[Any, Any]", head)}
    if not isinstance(head, (tuple, list)):
        return tuple(parts)
    fields = cast("Sequence[Any]", head)
    if any(isinstance(field, Tensor | tuple | list | Mapping) for field in fields):
        return tuple(_joined(list(field)) for field in zip(*parts, strict=True))
    return tuple(name for part in parts for name in part)  # names and the like, one an item


def _alone(fields: Any) -> Any:
    if not fields:
        return None
    return fields[0] if len(fields) == 1 else fields
