"""The reading of a picture as a graph: an image of any size through validation's maps, by two products of matrices.

Validation moves nothing but the frame: each map is a scaling about the middle, so that rows and columns are read apart.
The weights of every row and column are computed in the graph, from the image's own height and width, by
the formulas of `sampling_kernel`; `augment/sampling/torch_ops.py` says the same for any map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plainlearn.augment.sampling.kernel import KERNELS, WIDEST, weights_of
from plainlearn.core.errors import ArgumentError
from plainlearn.inference.reading import Reading

__all__ = ["GraphReading"]


class GraphReading(nn.Module):
    """Images (N, H, W, C) uint8 to the model's input, as `reading` says.

    Raises `ArgumentError` naming what no graph can say.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.channels, self.moves, self.size = reading.picture.channels, reading.moves, reading.size
        if reading.kernel == "nearest":
            raise ArgumentError("pictures are read by their nearest pixels, which ONNX export does not know")
        self.kernel, self.pad_mode = KERNELS[reading.kernel], reading.pad_mode
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in reading.normalisation)
        self.mean, self.std = nn.Buffer(mean), nn.Buffer(std)

    def forward(self, images: Tensor) -> Tensor:
        # Tensors, not numbers: they follow the image.
        rows = torch.arange(images.shape[1], dtype=torch.float64)
        columns = torch.arange(images.shape[2], dtype=torch.float64)
        height, width = rows[-1] + 1, columns[-1] + 1
        pixels = images.permute(0, 3, 1, 2).float()
        if self.size is not None:
            scale_y, scale_x = self._scales(height, width)
            down = self._weights(rows, height, scale_y, self.size[0])
            across = self._weights(columns, width, scale_x, self.size[1])
            pixels = (down @ pixels @ across.T).clamp(0, 255)
        return (pixels * (1 / 255) - self.mean) / self.std

    def _scales(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """By how much the output's frame is smaller than the image's, up and across: the maps of validation composed."""
        scale_y, scale_x = torch.ones((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        for move in self.moves:
            across, down, size = move.valid_window(height, width)
            scale_y, scale_x = scale_y * down, scale_x * across
            if size is not None:
                height, width = (torch.tensor(float(side), dtype=torch.float64) for side in size)
        return scale_y, scale_x

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
