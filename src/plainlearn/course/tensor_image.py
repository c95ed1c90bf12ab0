"""The course's `TensorImage`: images of a batch by the hand, each change read from the last one's pixels.

Made to show what happens when every transform interpolates; batches are plain tensors, and `Pipeline`
reads them once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.augment.pipeline import Pipeline
from plainlearn.augment.transforms import Draw, Resize, Rotate, Size, Warp, Zoom
from plainlearn.core.describe import describe
from plainlearn.core.errors import ShapeError
from plainlearn.core.tensors import to_np
from plainlearn.data.transform import Transform


class TensorImage:
    """Images (N, C, H, W), or one (C, H, W), uint8 or floats 0..1, held in `data`. Every method gives a new one."""

    def __init__(self, data: Any) -> None:
        self.data: Tensor = data.data if isinstance(data, TensorImage) else data
        if getattr(self.data, "ndim", 0) not in (3, 4):
            raise ShapeError(f"the images are {describe(data)}; expected a tensor (N, C, H, W) or (C, H, W)")

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)

    def __getitem__(self, index: int) -> TensorImage:
        return TensorImage(self.data[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(to_np(self.data), dtype=dtype, copy=copy)

    def clone(self) -> TensorImage:
        return TensorImage(self.data.clone())

    def show(self, ctx: Any = None, **kwargs: Any) -> Any:
        """Draw one image, on the axes `ctx` if given, and return the axes; see `show_image`."""
        from plainlearn.core.figures import show_image

        return show_image(self.data, ctx=ctx, **kwargs)

    def affine_coord(self, sz: int | Size) -> TensorImage:
        """Brought to the size `sz`, whatever the proportions."""
        return self._changed(Resize(sz, "squish"))

    def rotate(self, draw: Draw = None, p: float = 1.0, max_deg: float = 10.0) -> TensorImage:
        """See `Rotate`."""
        return self._changed(Rotate(max_deg, p, draw))

    def zoom(self, draw: Draw = None, p: float = 1.0, draw_x: Draw = 0.5, draw_y: Draw = 0.5) -> TensorImage:
        """See `Zoom`; about the middle unless `draw_x` and `draw_y` say otherwise."""
        return self._changed(Zoom(p=p, draw=draw, draw_x=draw_x, draw_y=draw_y))

    def warp(self, draw_x: Draw = None, draw_y: Draw = None, p: float = 1.0) -> TensorImage:
        """See `Warp`."""
        return self._changed(Warp(p=p, draw_x=draw_x, draw_y=draw_y))

    def _changed(self, transform: Transform) -> TensorImage:
        batch = self.data if self.data.ndim == 4 else self.data[None]
        changed: Tensor = Pipeline([transform])(batch)
        return TensorImage(changed if self.data.ndim == 4 else changed[0])

    def __repr__(self) -> str:
        return f"TensorImage: {self.data.dtype} {self.shape}"
