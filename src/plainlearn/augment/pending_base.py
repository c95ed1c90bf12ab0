"""What waits, with a map, to be read: the base of pictures, masks, points and boxes that geometry moves. No torch here.

Transforms change the map, never the thing; so composing is said once, whoever reads the thing at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from plainlearn.augment import geometry
from plainlearn.augment.geometry import Maps, Size
from plainlearn.augment.sampling.kernel import PadMode
from plainlearn.core.errors import ShapeError
from plainlearn.data.transform import Deferred

__all__ = ["Pending", "different_sizes", "frame_of"]


@dataclass(frozen=True, eq=False)
class Pending(Deferred):
    """N things of one kind, `maps` (N, 3, 3) from output to input, and the `size` (h, w) of the output.

    `size` None means each thing's own, which only a batch of equal ones can be read with.
    `originals` (N, 2) are the heights and widths of the pictures that the things belong to, `names` what to
    call them. `pad_mode` None means that nobody has said what lies beyond a picture.
    """

    things: Any
    originals: NDArray[np.int64]
    maps: Maps
    size: Size | None = None
    pad_mode: PadMode | None = None
    names: tuple[str, ...] = ()

    #: Whether a sample's frame is this thing's; points and boxes live in another's.
    has_frame: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.maps)

    def sizes(self) -> NDArray[np.int64]:
        """The present height and width of each, (N, 2)."""
        return self.originals if self.size is None else np.broadcast_to(np.array(self.size), (len(self), 2))

    def then(self, maps: Maps, size: Size | None = None, pad_mode: PadMode | None = None) -> Self:
        """The same, read through one more map."""
        return replace(
            self,
            maps=geometry.compose(self.maps, maps),
            size=size if size is not None else self.size,
            pad_mode=pad_mode or self.pad_mode,
        )

    def output_size(self) -> Size:
        """The size to read at. Raises `ShapeError` when the pictures differ and nothing says which."""
        if self.size is not None:
            return self.size
        if (self.originals != self.originals[0]).any():
            raise different_sizes(self.originals.tolist(), self.names)
        height, width = self.originals[0].tolist()
        return height, width

    @classmethod
    def joined(cls, parts: Sequence[Any], names: Sequence[str] = ()) -> Self:
        """Many of this class as one. Raises `ShapeError` when they were asked for in different sizes."""
        first = parts[0]
        for position, part in enumerate(parts):
            if part.size != first.size:
                raise ShapeError(
                    f"image 0 is to be read at {first.size} and image {position} at {part.size}; expected one size"
                )
        return replace(
            first,
            things=[thing for part in parts for thing in part.things],
            originals=np.concatenate([part.originals for part in parts]),
            maps=np.concatenate([part.maps for part in parts]),
            names=tuple(names),
        )

    def summary(self) -> str:
        """In a few words, for people."""
        sizes = {(int(height), int(width)) for height, width in self.sizes()}
        shown = " and ".join(f"{height} × {width}" for height, width in sorted(sizes)[:3])
        return f"{len(self)} {type(self).__name__.removeprefix('Pending').lower()}, {shown}{' …' if len(sizes) > 3 else ''}"


def frame_of(fields: Sequence[Any]) -> Pending:
    """The field that the others' geometry follows: the first with a frame of its own."""
    for field in fields:
        if isinstance(field, Pending) and field.has_frame:
            return field
    raise ShapeError("a geometric transform needs an image or a mask in the sample; there is none")


def different_sizes(sizes: Sequence[Sequence[int]], names: Sequence[str]) -> ShapeError:
    """The error for pictures that cannot make a batch: the first two whose (height, width) differ, by name."""
    other = next(place for place, size in enumerate(sizes) if tuple(size) != tuple(sizes[0]))
    first, second = (
        f"{names[place] if names else f'image {place}'} is {sizes[place][0]} × {sizes[place][1]}"
        for place in (0, other)
    )
    return ShapeError(
        f"images of one batch have different sizes: {first}, {second} (height × width); a batch needs one size",
        try_="item_tfms=Resize(224)",
    )
