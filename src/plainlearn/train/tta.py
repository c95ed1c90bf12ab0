"""Test-time augmentation: predictions on several views of each item, averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.seed import preserve_random_state

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner


def tta(
    learner: Learner,
    ds_idx: int = 1,
    dl: Any = None,
    n: int = 4,
    beta: float | None = 0.25,
    use_max: bool = False,
) -> tuple[Tensor, Any]:
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
    loader = dl if dl is not None else {0: learner.dls.train, 1: learner.dls.valid}.get(ds_idx)
    items = getattr(getattr(loader, "dataset", None), "items", None)
    if as_in_training is None or items is None:
        raise DataError(
            f"{describe(loader)} does not say how training would see its items; expected a loader of a DataBlock",
            try_="learn.get_preds(dl=…), or dl=learn.dls.test_dl(files)",
        )
    plain_dl = learner.dls.unaugmented() if dl is None and ds_idx == 0 else loader  # type: ignore[attr-defined]
    with preserve_random_state():
        plain, targets = learner.get_preds(dl=plain_dl)
        views = [learner.get_preds(dl=as_in_training(loader))[0] for _ in range(n)]
    seen = torch.stack(views)
    if use_max:
        return torch.cat([seen, plain[None]]).amax(0), targets
    mean = seen.mean(0)
    if beta is None:
        return (mean, plain), targets  # pyright: ignore[reportReturnType]
    return torch.lerp(mean, plain, beta), targets
