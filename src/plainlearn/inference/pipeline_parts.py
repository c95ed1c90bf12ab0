"""What a model file says of an input's way to the model, as objects; also for programs without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import numpy as np

from plainlearn.core.errors import DataError
from plainlearn.data.transform import Transform
from plainlearn.inference.serialize import Registry, from_plain

__all__ = ["PipelineParts", "pipeline_parts"]

_MOST_TRANSFORMS: Final = 64
_LARGEST: Final = 16_384  # pixels a side; a file that asks for more asks for the memory


class PipelineParts(NamedTuple):
    """The inputs' blocks, or what stands for them, and the transforms of validation; see `InputPipeline`."""

    blocks: tuple[Any, ...]
    item_tfms: tuple[Transform, ...]
    batch_tfms: tuple[Transform, ...]
    placing: bool


def pipeline_parts(plain: Any, registry: Registry, *, block: type[Any]) -> PipelineParts:
    """From data, of kinds in the registry; inputs are of the class `block`. Raises `DataError` for anything else."""
    if not isinstance(plain, Mapping) or set(cast("Mapping[str, Any]", plain)) != set(PipelineParts._fields):
        raise DataError("it does not say how an input becomes a batch")
    given = cast("Mapping[str, Any]", plain)
    lists = [given[name] for name in PipelineParts._fields[:3]]
    if not all(isinstance(each, list) and len(cast("list[Any]", each)) <= _MOST_TRANSFORMS for each in lists):
        raise DataError("its blocks and transforms are no short lists")
    blocks, item_tfms, batch_tfms = (tuple(from_plain(each, registry) for each in listed) for listed in lists)
    if not blocks or not all(isinstance(each, block) for each in blocks):
        raise DataError("its inputs are no blocks")
    for transform in (*item_tfms, *batch_tfms):
        _check(transform)
    return PipelineParts(blocks, item_tfms, batch_tfms, given["placing"] is True)


def _check(transform: Any) -> None:
    if not isinstance(transform, Transform):
        raise DataError(f"it has {type(transform).__name__} among its transforms")
    size: Any = getattr(transform, "size", None)
    if size is not None and int(np.max(size)) > _LARGEST:
        raise DataError(f"it wants pictures of {size} pixels a side; {_LARGEST} are the most")
