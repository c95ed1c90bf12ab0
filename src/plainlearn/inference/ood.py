"""Out of distribution: how far an input is from what a model learned, by the angle between its features and the last layer.

1 minus the largest cosine between the features before the last layer, less their mean over the validation items, and
the layer's weights for each class, less their mean over the classes. It costs no pass of its own, and validation items
are in it no more than new ones are. What else was tried, on the same photos: `benchmarks/unlike_auroc.py`.

What is fitted are two arrays, `middle` (F,) and `directions` (K, F). Only what looks at a network needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["KEPT", "arrays_of", "check_fitted", "fit", "parts", "scores"]

#: The share of validation inputs that are to count as known.
KEPT: Final = 0.98
_ENOUGH: Final = 20
_LEAST: Final = 1e-12  # of a length that is divided by


def parts(model: nn.Module) -> tuple[list[nn.Module], list[nn.Module]] | None:
    """The model up to its last linear layer, and from there on; None where the end is not a row of layers."""
    from torch import nn

    children = list(model.children())
    if not isinstance(model, nn.Sequential) or not children:
        return None
    if isinstance(children[-1], nn.Sequential):
        inner = parts(children[-1])
        return None if inner is None else ([*children[:-1], *inner[0]], inner[1])
    for place in range(len(children) - 1, -1, -1):
        if isinstance(children[place], nn.Linear):
            return children[:place], children[place:]
    return None


def fit(model: nn.Module, features: Tensor) -> tuple[dict[str, Tensor], float | None]:
    """What `scores` needs, of a model that has `parts` and its features (N, F) of validation items, and a limit.

    The limit is what a share `KEPT` of these items stays below; None where they are too few to say.
    """
    import torch
    from torch import nn

    found = parts(model)
    assert found is not None
    weight = cast("nn.Linear", found[1][0]).weight.detach().float().cpu()
    directions = nn.functional.normalize(weight - weight.mean(0), dim=1)
    fitted = {"middle": features.mean(0), "directions": directions}
    if len(features) < _ENOUGH:
        return fitted, None
    return fitted, float(torch.from_numpy(scores(features.numpy(), arrays_of(fitted))).quantile(KEPT))


def scores(features: NDArray[np.float32], fitted: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """How far each of the features (N, F) is from what was fitted, (N,) in 0..2."""
    centred = features - fitted["middle"]
    directions = centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(_LEAST)
    return 1 - (directions @ fitted["directions"].T).max(1)


def arrays_of(fitted: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """What was fitted, as numpy's arrays."""
    return {name: value.detach().cpu().float().numpy() for name, value in fitted.items()}


def check_fitted(fitted: Mapping[str, Any], width: int) -> None:
    """Raise `DataError` unless this is what `fit` gives for features of this width."""
    shapes = {name: tuple(value.shape) for name, value in fitted.items()}
    classes = shapes.get("directions", (0,))[0]
    if shapes != {"middle": (width,), "directions": (classes, width)} or not classes:
        raise DataError(
            f"what the model knows of unlike inputs has the shapes {shapes}; its features are {width}"
        )
