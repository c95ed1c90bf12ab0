"""Transforms tried on a batch by hand: the course's `Pipeline`, and its `TensorImage`.

`Pipeline` reads the pixels once, as loaders do; `TensorImage` reads each change from the last one's pixels, to show
what happens when every transform interpolates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.augment.aug_transforms import setup_aug_tfms
from plainlearn.augment.transforms import Draw, Resize, Rotate, Size, Warp, Zoom
from plainlearn.core.describe import describe
from plainlearn.core.errors import ShapeError
from plainlearn.core.tensors import to_np
from plainlearn.data.blocks import finished
from plainlearn.data.transform import Transform, Transforms, as_transforms
from plainlearn.vision.blocks import ImageBlock

if TYPE_CHECKING:
    from plainlearn.core.figures import Axes


class Pipeline:
    """Transforms in a row, for trying them on a batch by hand: `Pipeline(aug_transforms())(images)`."""

    def __init__(self, transforms: Transforms) -> None:
        self.transforms = tuple(setup_aug_tfms(as_transforms(transforms, "batch_tfms")))

    def __call__(self, images: Tensor, *, seed: int | None = None) -> Tensor:
        """The images (N, C, H, W) uint8, or floats 0..1, transformed as a training batch and finished as floats."""
        if getattr(images, "ndim", 0) != 4:
            raise ShapeError(
                f"the images are {describe(images)}; expected a batch, a tensor (N, C, H, W)",
                try_="images[None]",
            )
        block, rng = ImageBlock(), np.random.default_rng(seed)
        batch: tuple[Any, ...] = (block.begin_batch(images),)
        for transform in self.transforms:
            batch = transform.on_batch(batch, (block,), rng, train=True)
        return finished(block, batch[0])

    def decode(self, images: Tensor) -> Tensor:
        """Undo what hides finished images from the eye, such as normalisation; what is moved stays moved."""
        for transform in reversed(self.transforms):
            images = transform.decode((images,), (ImageBlock(),))[0]
        return images

    def __repr__(self) -> str:
        return f"Pipeline: {' -> '.join(map(repr, self.transforms))}"


class TensorImage:
    """Images (N, C, H, W), or one (C, H, W), uint8 or floats 0..1, held in `data`. Every method gives a new one."""

    def __init__(self, data: Tensor | TensorImage) -> None:
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

    def show(self, ctx: Axes | None = None, **kwargs: Any) -> Axes:
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
