"""How unlike an input is to what a model learned from: the angle between its features and what the last layer looks for.

1 minus the largest cosine between the features before the last layer, less their mean over the validation items, and
the layer's weights for each class, less their mean over the classes. It costs no pass of its own, and validation items
are in it no more than new ones are. What else was tried, on the same photos: `benchmarks/unlike_auroc.py`.
"""

from __future__ import annotations

from typing import Final, cast

from torch import Tensor, nn

__all__ = ["KEPT", "learned_from", "parts", "scores"]

#: The share of validation inputs that are to count as known.
KEPT: Final = 0.98
_ENOUGH: Final = 20


def parts(model: nn.Module) -> tuple[list[nn.Module], list[nn.Module]] | None:
    """The model up to its last linear layer, and from there on; None where the end is not a row of layers."""
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


def learned_from(model: nn.Module, features: Tensor) -> tuple[dict[str, Tensor], float | None]:
    """What `scores` needs, of a model that has `parts` and its features (N, F) of validation items, and a limit.

    The limit is what a share `KEPT` of these items stays below; None where they are too few to say.
    """
    found = parts(model)
    assert found is not None
    weight = cast(nn.Linear, found[1][0]).weight.detach().float().cpu()
    directions = nn.functional.normalize(weight - weight.mean(0), dim=1)
    known = {"middle": features.mean(0), "directions": directions}
    enough = len(features) >= _ENOUGH
    return known, float(scores(features, known).quantile(KEPT)) if enough else None


def scores(features: Tensor, known: dict[str, Tensor]) -> Tensor:
    """How unlike each of the features (N, F) are to what is known, (N,) in 0..2."""
    directions = nn.functional.normalize(features - known["middle"], dim=1)
    return 1 - (directions @ known["directions"].T).amax(dim=1)
