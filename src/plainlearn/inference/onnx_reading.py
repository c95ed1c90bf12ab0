"""The reading of a picture as a graph: an image of any size through validation's maps, by two products of matrices.

Validation moves nothing but the frame: each map is a scaling about the middle, so that rows and columns are read apart.
The weights of every row and column are computed in the graph, from the image's own height and width, by
the formulas of `sampling_kernel`; `augment/sampling/torch_ops.py` says the same for any map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plainlearn.augment.lighting import Normalize
from plainlearn.augment.sampling.kernel import KERNELS, WIDEST, Kernel, Mode, PadMode
from plainlearn.augment.sampling.torch_ops import weights_of
from plainlearn.augment.transforms import CropPad, Geometric, RandomResizedCrop, ReadAs, Resize
from plainlearn.core.errors import ArgumentError
from plainlearn.inference.pipeline import InputPipeline
from plainlearn.vision.blocks import ImageBlock

__all__ = ["Reading"]


class Reading(nn.Module):
    """Images (N, H, W, C) uint8 to the model's input, as the pipeline makes it.

    Raises `ArgumentError` naming what no graph can say.
    """

    def __init__(self, pipeline: InputPipeline) -> None:
        super().__init__()
        (block,) = pipeline.blocks if len(pipeline.blocks) == 1 else (None,)
        if type(block) is not ImageBlock:
            raise ArgumentError("this model takes more than one picture; ONNX export knows one")
        self.channels = block.channels
        self.steps: list[Geometric] = []
        self.mode: Mode = "cubic"
        self.pad_mode: PadMode = "reflection"
        mean, std = np.zeros(1), np.ones(1)
        said: PadMode | None = None
        for transform in (*pipeline.item_tfms, *pipeline.batch_tfms):
            if isinstance(transform, Geometric):
                self.steps.append(transform)
                said = transform.beyond(said) or said
            elif isinstance(transform, ReadAs):
                self.mode = transform.mode
            elif isinstance(transform, Normalize):
                mean, std = np.array(transform.mean), np.array(transform.std)
            else:
                raise ArgumentError(f"{transform!r} acts in validation, and ONNX export does not know it")
        if self.mode == "nearest":
            raise ArgumentError("pictures are read by their nearest pixels, which ONNX export does not know")
        self.pad_mode = said or "reflection"
        self.kernel: Kernel = KERNELS[self.mode]
        self.mean = nn.Buffer(torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.std = nn.Buffer(torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        # Tensors, not numbers: they follow the image.
        rows = torch.arange(images.shape[1], dtype=torch.float64)
        columns = torch.arange(images.shape[2], dtype=torch.float64)
        height, width = rows[-1] + 1, columns[-1] + 1
        scale_y, scale_x, size = _scales(self.steps, height, width)
        pixels = images.permute(0, 3, 1, 2).float()
        if size is not None:
            down = self._weights(rows, height, scale_y, size[0])
            across = self._weights(columns, width, scale_x, size[1])
            pixels = (down @ pixels @ across.T).clamp(0, 255)
        return (pixels * (1 / 255) - self.mean) / self.std

    def _weights(self, places: Tensor, length: Tensor, scale: Tensor, size: int) -> Tensor:
        """How much each of `places` counts for each of `size` output pixels, (size, places)."""
        out = ((2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1) * scale
        position = ((out + 1) * length - 1)[:, None] / 2
        # Farther away than the picture's mirror images below there is nothing new.
        if self.pad_mode == "reflection":
            position = position - (position / (2 * length)).floor() * (2 * length)
        elif self.pad_mode == "border":
            position = position.maximum(-length).minimum(2 * length)
        footprint = scale * length / size * self.kernel.share
        stretch = footprint.clamp(min=1).minimum(length.clamp(max=WIDEST))
        shape = weights_of(self.kernel, 1 / stretch)

        def seen(mirrored: Tensor) -> Tensor:
            return shape((mirrored[None] - position) / stretch)

        # The picture goes on beyond its edges as in a mirror, twice over.
        own, left, right = seen(places), seen(-1 - places), seen(2 * length - 1 - places)
        farther_left, farther_right = seen(places - 2 * length), seen(places + 2 * length)
        whole = own + left + right + farther_left + farther_right
        total = whole.sum(1, keepdim=True)
        if self.pad_mode == "zeros":
            whole = own
        elif self.pad_mode == "border":
            before = (left + farther_left).sum(1, keepdim=True) * (places == 0)
            after = (right + farther_right).sum(1, keepdim=True) * (places == length - 1)
            whole = own + before + after
        return (whole / torch.where(total == 0, 1.0, total)).float()


def _scales(steps: Sequence[Geometric], height: Any, width: Any) -> tuple[Any, Any, tuple[int, int] | None]:
    """By how much the output's frame is smaller than the image's, up and across, and its size."""
    scale_y, scale_x = torch.ones((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    size: tuple[int, int] | None = None
    for step in steps:
        given: Any = getattr(step, "size", None)
        if given is None:
            continue
        size = (given, given) if isinstance(given, int) else (given[0], given[1])
        wider = (size[1] / size[0]) * (height / width)
        method = (
            step.method
            if isinstance(step, Resize)
            else "crop"
            if isinstance(step, RandomResizedCrop)
            else "squish"
        )
        if isinstance(step, CropPad):
            scale_y, scale_x = scale_y * (size[0] / height), scale_x * (size[1] / width)
        elif method == "crop":
            scale_y, scale_x = scale_y * (1 / wider).clamp(max=1), scale_x * wider.clamp(max=1)
        elif method == "pad":
            scale_y, scale_x = scale_y * (1 / wider).clamp(min=1), scale_x * wider.clamp(min=1)
        height, width = (torch.tensor(float(side), dtype=torch.float64) for side in size)
    return scale_y, scale_x, size
