"""Blocks of boxes: where things are in a picture, and what they are, through every transform together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.augment.geometry import identity
from plainlearn.augment.pending import PendingBoxes, PendingBoxLabels
from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, DataError, ShapeError
from plainlearn.core.lists import L
from plainlearn.data.blocks import Block, Frame, Geometry, MultiCategoryBlock
from plainlearn.data.stages import Thing, Value

if TYPE_CHECKING:
    from matplotlib.patches import Rectangle

    from plainlearn.core.figures import Axes

_DRAWN = "box"  # the mark of a drawn box, by which its label finds it

_NO_PICTURE = "boxes are measured in the picture they lie on, and there is none in the sample"


class BBoxBlock(Block):
    """Boxes, as (left, top, right, bottom) in pixels of the image: a list or array (K, 4), of which K may be 0.

    The numbers are edges: (0, 0, width, height) is the whole picture. A batch is (B, N, 4) float32 in
    −1..1, the outer edges of the picture; N is the most that a picture of the batch has in view, and
    zeros fill up the others. Each box moves with its picture: its corners are mapped, the upright box
    around them is clipped, and when nothing is left it goes, together with its label in a `BBoxLblBlock`.
    It implies no loss: that depends on how the model predicts boxes.
    """

    geometry: ClassVar[Geometry] = "boxes"

    def check(self, value: Value) -> str:
        try:
            boxes = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return f"the boxes are {describe(value)}; expected numbers (left, top, right, bottom) for each"
        if boxes.size == 0:
            return ""
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            return f"the boxes have the shape {boxes.shape}; expected (K, 4), a list of (left, top, right, bottom)"
        if not np.isfinite(boxes).all():
            return f"box {_first(~np.isfinite(boxes).all(axis=1), boxes)} is not finite"
        empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
        if empty.any():
            return (
                f"box {_first(empty, boxes)} has its right or bottom edge before its left or top; "
                "expected (left, top, right, bottom), not a width and a height"
            )
        if boxes.max() <= 1 and (boxes % 1).any():
            return f"box {_first([True], boxes)} is smaller than a pixel; expected pixels, not fractions"
        return ""

    def open(self, value: Value) -> NDArray[np.float32]:
        if reason := self.check(value):
            raise DataError(reason)
        return np.asarray(value, dtype=np.float32).reshape(-1, 4)

    def place(self, thing: NDArray[np.float32], frame: Frame) -> PendingBoxes:
        height, width = frame
        gone = (thing >= [width, height, np.inf, np.inf]).any(axis=1) | (thing[:, 2:] <= 0).any(axis=1)
        if gone.any():
            raise DataError(
                f"box {_first(gone, thing)} lies outside its picture of {width} × {height} (width × height)"
            )
        units = (2 * thing / np.array([width, height] * 2) - 1).clip(-1, 1).astype(np.float32)
        return PendingBoxes([units], np.array([frame], dtype=np.int64), identity())

    def encode(self, thing: NDArray[np.float32]) -> NoReturn:
        raise ArgumentError(_NO_PICTURE, try_="blocks=(ImageBlock, BBoxBlock, BBoxLblBlock)")

    def begin_batch(self, batch: Tensor | PendingBoxes) -> PendingBoxes:
        return PendingBoxes.from_batch(batch) if isinstance(batch, Tensor) else batch

    def decode(self, encoded: Tensor) -> NDArray[np.float32]:
        """Without what only fills up a row: (K, 4), still in −1..1."""
        boxes = encoded.numpy()
        return boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]

    def show(self, thing: NDArray[np.float32], ax: Axes) -> str:
        from matplotlib.patches import Rectangle
        from matplotlib.patheffects import Normal, Stroke

        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        for x0, y0, x1, y1 in (thing + 1) / 2:
            corner = left + x0 * (right - left), top + y0 * (bottom - top)
            box = Rectangle(corner, (x1 - x0) * (right - left), (y1 - y0) * (bottom - top), gid=_DRAWN,
                            fill=False, edgecolor="white", linewidth=1.5)  # fmt: skip
            # White with a dark rim is seen on any photo.
            box.set_path_effects([Stroke(linewidth=3, foreground="black"), Normal()])
            ax.add_patch(box)
        return ""


class BBoxLblBlock(Block):
    """The label of each box of a `BBoxBlock`, in the same order: a list of K labels.

    A batch is (B, N) int64, for the (B, N, 4) of the boxes. With `add_na` number 0 is the background, which
    fills up rows; without, numbers begin at 0 and −1 fills up. The vocabulary is the sorted labels of the
    training items, unless `vocab` is given. Raises `ShapeError` unless there is one label a box.
    """

    geometry: ClassVar[Geometry] = "boxes"

    def __init__(self, vocab: Iterable[Any] | None = None, add_na: bool = True) -> None:
        self._several = MultiCategoryBlock(vocab=vocab)
        self.classes = self._several.classes
        self.add_na = add_na
        self._labels = L(["#na#", *self.classes] if add_na else self.classes)
        self._numbers = {label: number for number, label in enumerate(self._labels)}

    def setup(self, values: Sequence[Value]) -> Self:
        return type(self)(self._several.setup(values).classes, self.add_na)

    def check(self, value: Value) -> str:
        return self._several.check(value)

    def labels_of(self, value: Value) -> Iterable[Any]:
        return tuple(value)

    @property
    def vocab(self) -> L[Any]:
        return L(self._labels)

    @property
    def padding(self) -> int:
        """What fills up the rows of a batch."""
        return 0 if self.add_na else -1

    def open(self, value: Value) -> NDArray[np.int64]:
        if reason := self.check(value):
            raise DataError(reason)
        return np.array([self._numbers[label] for label in value], dtype=np.int64)

    def link_fields(
        self, thing: NDArray[np.int64] | Tensor | PendingBoxLabels, sample: Sequence[Thing]
    ) -> PendingBoxLabels:
        if isinstance(thing, PendingBoxLabels):
            return thing
        found = [each for each in sample if isinstance(each, PendingBoxes)]
        if len(found) != 1:
            raise ArgumentError(
                f"the labels of boxes belong to one block of boxes, and the sample has {len(found)}",
                try_="blocks=(ImageBlock, BBoxBlock, BBoxLblBlock)",
            )
        boxes = found[0]
        # One sample on its way to a batch, or the rows of a batch on its way to the model.
        rows = cast("Sequence[Any]", thing if isinstance(thing, Tensor) else [thing])
        pairs = list(zip(boxes.things, rows, strict=True))
        if len(pairs[0][0]) != len(pairs[0][1]):
            raise ShapeError(
                f"there are {len(pairs[0][1])} labels for {len(pairs[0][0])} boxes; expected one label a box"
            )
        return PendingBoxLabels(pairs, boxes.originals, boxes.maps, padding=self.padding)

    def encode(self, thing: NDArray[np.int64]) -> NoReturn:
        raise ArgumentError(_NO_PICTURE, try_="blocks=(ImageBlock, BBoxBlock, BBoxLblBlock)")

    def decode(self, encoded: Tensor) -> L[Any]:
        """The labels, without what only fills up a row."""
        numbers = (int(number) for number in encoded)
        return L([self._labels[number] for number in numbers if number != self.padding])

    def show(self, thing: Sequence[Thing], ax: Axes) -> str:
        """A box and its label have one colour, each label its own; without drawn boxes the labels are text."""
        from matplotlib import colormaps

        drawn = [cast("Rectangle", patch) for patch in ax.patches if patch.get_gid() == _DRAWN]
        if len(drawn) != len(thing):
            return "; ".join(map(str, thing))
        corners: list[Any] = [ax.transData.transform(box.get_xy()) for box in drawn]
        for place, (box, label) in enumerate(zip(drawn, thing, strict=True)):
            colour = colormaps["tab10"](self._numbers[label] % 10)
            box.set_edgecolor(colour)
            # Boxes whose corners meet have their labels one below the other.
            below = sum((np.abs(corners[place] - other) < (60, 12)).all() for other in corners[:place])
            ax.annotate(
                str(label), box.get_xy(), xytext=(2, -2 - 12 * below), textcoords="offset points", va="top",
                fontsize=8, color="white", annotation_clip=False,
                bbox={"facecolor": colour, "alpha": 0.8, "linewidth": 0, "pad": 1.5},
            )  # fmt: skip
        return ""

    def __repr__(self) -> str:
        return f"BBoxLblBlock(vocab={list(self.classes)!r}, add_na={self.add_na})"


def _first(bad: Any, boxes: NDArray[Any]) -> str:
    """The first bad box, as people count and write it."""
    number = int(np.flatnonzero(bad)[0])
    return f"{number} {tuple(round(float(edge), 2) for edge in boxes[number])}"
