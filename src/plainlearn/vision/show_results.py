"""What a model makes of pictures, for the eye: each with its target and the model's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, cast

from plainlearn.core.errors import ArgumentError
from plainlearn.data.block_loaders import BlockLoaders, Grid, show_samples
from plainlearn.train.learner import Learner

if TYPE_CHECKING:
    from plainlearn.core.figures import Axes


def show_results(
    learner: Learner,
    ds_idx: int = 1,
    max_n: int = 9,
    **grid: Unpack[Grid],
) -> None:
    """A `Grid` of the first batch's items with target and answer: as two lines of the title, or, where they are drawn,
    side by side. `ds_idx=0` shows training items.

    Raises `ArgumentError` for loaders that no DataBlock made, and for several targets.
    """
    dls = learner.dls
    if not isinstance(dls, BlockLoaders) or len(dls.blocks) - (dls.n_inp or 0) != 1:
        raise ArgumentError(
            "results are shown for loaders of a DataBlock with one target",
            try_="learn.get_preds(with_input=True, with_decoded=True)",
        )
    batch = dls.loaders[ds_idx].one_batch()
    decoded = learner.get_preds(dl=[batch], with_decoded=True)[-1]
    target = dls.blocks[-1]
    samples = dls.decoded_samples(batch, ds_idx, max_n)
    answered = [(*sample[:-1], target.decode(decoded[i])) for i, sample in enumerate(samples)]
    if target.geometry != "none":  # such a target is seen in its picture, as masks and points are
        both: list[tuple[Any, ...]] = [each for pair in zip(samples, answered, strict=True) for each in pair]
        titles = ["target", "prediction"] * len(samples)
        grid["ncols"] = grid.get("ncols") or 2 * min(len(samples), 2)
        show_samples(dls.blocks, both, **grid, titles=titles)
        return
    no_axes = cast("Axes", None)  # what is read beside its picture draws nothing
    titles = [
        f"{target.show(sample[-1], no_axes)}\n{target.show(answer[-1], no_axes)}"
        for sample, answer in zip(samples, answered, strict=True)
    ]
    show_samples(dls.blocks, samples, **grid, titles=titles)
