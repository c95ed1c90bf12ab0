"""One reading: how an item becomes a model's input, as validation does it, in plain data. No torch here.

What a model file says of its inputs is a `Reading`. The learner from a file makes its loaders of it, the predictors of torch and
onnxruntime and the ONNX graph are built from it; the server and the command line ask these. They differ in the last step
alone, sampling: `PendingImage` has torch's, `Reading.__call__` numpy's, and `inference.onnx_reading` the graph's.
`tests/inference/test_one_reading.py` holds them, training's validation and an ejected script to one picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.augment import transforms
from plainlearn.augment.geometry import Maps, Size, to_pixels
from plainlearn.augment.lighting import Normalize
from plainlearn.augment.pending import Pending
from plainlearn.augment.sampling.kernel import KERNELS, Mode, PadMode, sample_by_axes
from plainlearn.augment.transforms import Geometric, ReadAs, decode_for, decoded_frame
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.data.target_specs import (
    CategorySpec,
    LabelSpec,
    MaskSpec,
    MultiCategorySpec,
    PointSpec,
    RegressionSpec,
    TargetSpec,
)
from plainlearn.data.transform import Function, Transform, for_side
from plainlearn.datasets.remote import RemotePath, is_url
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.inference.serialize import Kind, Registry, from_plain, kinds, to_plain

__all__ = ["KINDS", "Reading", "target_of"]

#: What a model file may name, by the names that it has for them: the transforms that can act in validation, and the halves of
#: blocks without torch, under the names of their blocks.
KINDS: Final[Registry] = {
    **kinds(transforms.Resize, transforms.RandomResizedCrop, transforms.CropPad, transforms.Flip, transforms.Dihedral,
            transforms.Rotate, transforms.Zoom, transforms.Warp, transforms.ReadAs, Normalize),
    "ImageBlock": Kind(ImageDecoder, ("mode", "background", "channels", "value_range", "full_decode")),
    "CategoryBlock": Kind(CategorySpec, ("vocab", "sort", "add_na")),
    "MultiCategoryBlock": Kind(MultiCategorySpec, ("vocab",)),
    "RegressionBlock": Kind(RegressionSpec, ("n_out",)),
    "MaskBlock": Kind(MaskSpec, ("codes", "values")),
    "PointBlock": Kind(PointSpec, ("n_points",)),
}  # fmt: skip

_VALIDATION: Final = 1
_UNDRAWN: Final = np.random.default_rng(0)  # nothing is drawn in validation
_PARTS: Final = ("blocks", "item_tfms", "batch_tfms", "placing")  # of a file
_MOST_TRANSFORMS: Final = 64
_LARGEST: Final = 16_384  # pixels a side; a file that asks for more asks for the memory

P = TypeVar("P", bound=Pending)


@dataclass(frozen=True)
class Reading:
    """The inputs' halves without torch, and the transforms that act in validation, on items and on batches.

    `placing` says whether items are placed in a frame though no transform moves them.
    """

    inputs: tuple[Any, ...]
    item_tfms: tuple[Transform, ...] = ()
    batch_tfms: tuple[Transform, ...] = ()
    placing: bool = True

    def __post_init__(self) -> None:
        for name in ("item_tfms", "batch_tfms"):
            object.__setattr__(self, name, for_side(getattr(self, name), _VALIDATION))
        mean, std = self.normalisation
        for each in self.inputs:
            if isinstance(each, ImageDecoder) and not {len(mean), len(std)} <= {1, each.channels}:
                raise DataError(
                    f"its Normalize has mean {mean} and std {std}; expected one of each a channel, std above 0"
                )

    # ---- what the transforms come to

    @cached_property
    def moves(self) -> tuple[Geometric, ...]:
        """All that move the picture, in their order; their maps compose."""
        return tuple(each for each in (*self.item_tfms, *self.batch_tfms) if isinstance(each, Geometric))

    @cached_property
    def kernel(self) -> Mode:
        """How pixels are read."""
        kernel: Mode = "cubic"
        for each in self.batch_tfms:
            if isinstance(each, ReadAs):
                kernel = each.mode
        return kernel

    @cached_property
    def pad_mode(self) -> PadMode:
        """What lies beyond the picture."""
        said: PadMode | None = None
        for move in self.moves:
            said = move.beyond(said) or said
        return said or "reflection"

    @cached_property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of values 0..1: one of each, or one a channel."""
        mean, std = np.zeros(1), np.ones(1)
        for each in self.batch_tfms:
            if isinstance(each, Normalize):
                mean, std = mean + std * np.array(each.mean), std * np.array(each.std)
        return tuple(mean.tolist()), tuple(std.tolist())

    @cached_property
    def size(self) -> Size | None:
        """The (height, width) of the model's input; None where it depends on the picture."""
        sizes = [move.maps_for(np.ones((1, 2), np.int64), _UNDRAWN, train=False)[1] for move in self.moves]
        return next((size for size in reversed(sizes) if size is not None), None)

    @property
    def picture(self) -> ImageDecoder:
        """The one input, a picture. Raises `ArgumentError` for any other inputs."""
        if len(self.inputs) != 1 or not isinstance(self.inputs[0], ImageDecoder):
            raise ArgumentError("this model's input is not one picture")
        return self.inputs[0]

    # ---- the steps, of which sampling is the last

    def open(self, item: Any, source: Any) -> Any:
        """An item as the input `source` opens it: a picture decoded as far as it will be seen, or an encoded value."""
        value = RemotePath(item) if is_url(item) else item
        if isinstance(source, ImageDecoder):
            return decode_for(self.item_tfms, source, value, train=False)
        return cast("LabelSpec", source).encode(value)

    def placed(self, thing: Any, waiting: Callable[[Any, NDArray[np.int64], Maps], P]) -> P:
        """An opened picture with the maps of the item transforms, as the kind of thing that `waiting` makes."""
        picture, frame, maps = decoded_frame(thing)
        return self.moved(waiting([picture], np.array([frame], np.int64), maps), self.item_tfms)

    def moved(self, field: P, steps: Sequence[Transform]) -> P:
        """The same, through the maps of these as well."""
        for move in steps:
            if isinstance(move, Geometric):
                (field,) = move.on_items((field,), (), _UNDRAWN, train=False)
        return field

    def __call__(self, item: Any) -> NDArray[np.float32]:
        """What the model gets of an item, (C, h, w), read by numpy: for one picture, and a size that is known.

        Raises `DataError` for what cannot be read.
        """
        levels = self.moved(self.placed(self.open(item, self.picture), self._waiting), self.batch_tfms).read()
        mean, std = (np.array(each, np.float32).reshape(-1, 1, 1) for each in self.normalisation)
        return (levels * np.float32(1 / 255) - mean) / std

    def _waiting(self, things: Any, originals: NDArray[np.int64], maps: Maps) -> _ArrayImage:
        return _ArrayImage(things, originals, maps, kernel=self.kernel)

    # ---- as plain data

    def as_plain(self) -> dict[str, Any]:
        """As a model file has it. Raises `ArgumentError` naming the transform or block that no file can hold."""
        for transform in (*self.item_tfms, *self.batch_tfms):
            if isinstance(transform, Function):
                raise ArgumentError(
                    f"{transform!r} acts in validation, so predictions need it, and a model file holds no code",
                    try_="a transform of plainlearn's that does the same, or to do it to the files before",
                )
        for each in self.inputs:
            if isinstance(each, (MaskSpec, PointSpec)):
                raise ArgumentError(
                    f"{each!r} is an input here, and a model file's are pictures, labels or numbers"
                )
        parts = (self.inputs, self.item_tfms, self.batch_tfms)
        lists = [[to_plain(each, KINDS) for each in part] for part in parts]
        return dict(zip(_PARTS, (*lists, self.placing), strict=True))

    @classmethod
    def from_plain(cls, plain: Any) -> Reading:
        """From what a file says, whoever wrote it. Raises `DataError` for anything that `as_plain` does not give."""
        if not isinstance(plain, Mapping) or set(cast("Mapping[str, Any]", plain)) != set(_PARTS):
            raise DataError("it does not say how an input becomes a batch")
        given = cast("Mapping[str, Any]", plain)
        lists = [given[name] for name in _PARTS[:3]]
        if not all(
            isinstance(each, list) and len(cast("list[Any]", each)) <= _MOST_TRANSFORMS for each in lists
        ):
            raise DataError("its blocks and transforms are no short lists")
        inputs, items, batches = (tuple(from_plain(each, KINDS) for each in listed) for listed in lists)
        if not inputs or not all(isinstance(each, _INPUTS) for each in inputs):
            raise DataError("its inputs are no blocks of pictures, labels or numbers")
        for transform in (*items, *batches):
            _check(transform, on_items=transform in items)
        return cls(inputs, items, batches, given["placing"] is True)


#: What a model's input may be, and its target.
_INPUTS: Final = (ImageDecoder, CategorySpec, MultiCategorySpec, RegressionSpec)
_TARGETS: Final = (CategorySpec, MultiCategorySpec, RegressionSpec, MaskSpec, PointSpec)


def target_of(plain: Any) -> TargetSpec:
    """What a model file says of its target. Raises `DataError` for what is none."""
    found = from_plain(plain, KINDS)
    if not isinstance(found, _TARGETS):
        raise DataError(f"its target is {type(found).__name__}, which is no block of a target")
    return found


def _check(transform: Any, *, on_items: bool) -> None:
    """Refuse what no transform of a file is, and sizes that would take the memory."""
    if not isinstance(transform, Transform):
        raise DataError(f"it has {type(transform).__name__} among its transforms")
    if on_items and not isinstance(transform, Geometric):
        raise DataError(f"{transform!r} acts on batches only, and it stands among the items' transforms")
    if isinstance(transform, Normalize) and transform.learns:
        raise DataError("its Normalize has no mean and std")
    size: Any = getattr(transform, "size", None)
    if size is not None and int(np.max(size)) > _LARGEST:
        raise DataError(f"it wants pictures of {size} pixels a side; {_LARGEST} are the most")


@dataclass(frozen=True, eq=False)
class _ArrayImage(Pending):
    """One picture that numpy reads, through maps that keep rows and columns apart, as validation's do."""

    kernel: Mode = "cubic"

    def read(self) -> NDArray[np.float32]:
        """Levels (C, h, w), 0..255."""
        (picture,), size = self.things, self.output_size()
        (pixel_map,) = to_pixels(self.maps, picture.shape[:2], size)
        return sample_by_axes(
            picture, pixel_map, size, KERNELS.get(self.kernel), self.pad_mode or "reflection"
        )
