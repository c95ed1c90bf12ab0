"""The way out, as a method: the one place of training that looks up, to the package that writes scripts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner


def eject(
    learner: Learner,
    path: str | os.PathLike[str],
    recipe: Literal["fit", "fit_one_cycle", "fine_tune"] | None = None,
    epochs: int = 1,
    lr: float | slice | None = None,
    *,
    seed: int | None = None,
    **settings: Any,
) -> Path:
    """Write the plain PyTorch script that does what this learner would do now, and return its path.

    Without a `recipe` that is `fine_tune` if the body is frozen, as behind trained weights, else `fit`; for one epoch.
    All else is as in `plainlearn.eject.eject`, which says what it writes and what it refuses.
    """
    from plainlearn.eject import eject  # on use: it knows vision, which training does not

    return eject(learner, path, recipe=recipe, epochs=epochs, lr=lr, seed=seed, **settings)
