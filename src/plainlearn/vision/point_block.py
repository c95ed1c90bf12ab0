"""Points: places in a picture, which move with it and are told from edge to edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.augment.geometry import identity
from plainlearn.augment.pending import PendingPoints
from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ShapeError
from plainlearn.data.blocks import Block, Frame, Geometry, Metric
from plainlearn.data.stages import Value
from plainlearn.data.target_specs import PointSpec
from plainlearn.losses.losses import MSELossFlat
from plainlearn.metrics.functions import rmse

if TYPE_CHECKING:
    from plainlearn.core.figures import Axes


class PointBlock(Block):
    """Points, as (x, y) in pixels of the image, from a getter; encoded (K, 2) in −1..1.

    −1 and 1 are the outer edges of the picture, whatever its size, so a model need not know it.
    """

    geometry: ClassVar[Geometry] = "points"

    def __init__(self, n_points: int | None = None) -> None:
        self.spec = PointSpec(n_points)

    @property
    def n_points(self) -> int | None:
        """How many points; None before `setup`."""
        return self.spec.n_points

    def setup(self, values: Sequence[Value]) -> Self:
        return self if self.n_points is not None else type(self)(len(_pairs(values[0])))

    def open(self, value: Value) -> NDArray[np.float32]:
        if reason := self.check(value):
            raise ShapeError(reason)
        return _pairs(value)

    def check(self, value: Value) -> str:
        try:
            points = _pairs(value)
        except (TypeError, ValueError):
            return f"the points are {describe(value)}; expected numbers, an x and a y each"
        if not np.isfinite(points).all():
            return f"the points {points.tolist()} are not finite; expected a place for each"
        if self.n_points is not None and len(points) != self.n_points:
            return f"there are {len(points)} points; expected {self.n_points}, as in the first item"
        return ""

    def place(self, thing: NDArray[np.float32], frame: Frame) -> PendingPoints:
        return PendingPoints([_to_unit(thing, frame)], np.array([frame], dtype=np.int64), identity())

    def encode(self, thing: NDArray[np.float32]) -> NoReturn:
        raise ArgumentError(
            "points are measured in the picture they lie on, and there is none in the sample",
            try_="RegressionBlock(n_out=…) for plain numbers",
        )

    def begin_batch(self, batch: Tensor | PendingPoints) -> PendingPoints:
        return PendingPoints.from_batch(batch) if isinstance(batch, Tensor) else batch

    def decode(self, encoded: Tensor) -> NDArray[np.float32]:
        return self.spec.decode(encoded)

    def show(self, thing: NDArray[np.float32], ax: Axes) -> str:
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        x = left + (thing[:, 0] + 1) / 2 * (right - left)
        y = top + (thing[:, 1] + 1) / 2 * (bottom - top)
        seen = (np.abs(thing) <= 1).all(axis=1)
        ax.autoscale(False)  # or points would move the edges of the picture
        ax.scatter(x[seen], y[seen], s=32, c="tab:red", edgecolors="white", linewidths=1)
        return ""

    def __repr__(self) -> str:
        return f"PointBlock(n_points={self.n_points})"

    @property
    def outputs(self) -> int | None:
        return None if self.n_points is None else 2 * self.n_points

    def loss_func(self) -> MSELossFlat:
        return MSELossFlat()

    def metric(self) -> Metric:
        return rmse


def _pairs(value: Value) -> NDArray[np.float32]:
    points = np.asarray(value, dtype=np.float32)
    if points.size % 2 or points.size == 0:
        raise ShapeError(f"the points have the shape {points.shape}; expected (K, 2), an x and a y each")
    return points.reshape(-1, 2)


def _to_unit(points: NDArray[np.float32], frame: Frame) -> NDArray[np.float32]:
    height, width = frame
    # A coordinate k names the centre of pixel k, which lies half a pixel from its edge.
    return ((2 * points + 1) / np.array([width, height], dtype=np.float32) - 1).astype(np.float32)
