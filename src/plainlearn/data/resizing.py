"""The same transforms at another size: for runs that begin with small pictures and end with large ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

from plainlearn.data.transform import Transform

Size = int | tuple[int, int]


def at_size(transforms: Sequence[Transform], size: Size) -> tuple[Transform, ...]:
    """The transforms, with those that set a size set to this one; a side, or (height, width)."""
    return tuple(
        cast(Transform, dataclasses.replace(cast(Any, each), size=size)) if sets_size(each) else each
        for each in transforms
    )


def sets_size(transform: Transform) -> bool:
    """Whether a transform brings what it acts on to a size of its own."""
    return getattr(transform, "size", None) is not None
