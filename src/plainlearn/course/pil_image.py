"""The course's images: Pillow's own, a little more at hand in a notebook. Nothing in the library needs them."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, Self

import PIL.Image
from torch import Tensor

from plainlearn.images.load import Source, load_image, load_mask

if TYPE_CHECKING:
    from plainlearn.core.figures import Axes

__all__ = ["PILBase", "PILImage", "PILImageBW", "PILMask", "image2tensor", "open"]


class PILBase(PIL.Image.Image):
    """A Pillow image that knows its `shape`, draws itself with `show`, and gives a thumbnail of itself."""

    @classmethod
    def of(cls, image: PIL.Image.Image) -> Self:
        """The same image as this class. What a pickle would hold is the one public way into a subclass."""
        made = cls()
        made.__setstate__(image.__getstate__())
        return made

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), the other way round than `size`."""
        return self.height, self.width

    def show(self, ctx: Axes | None = None, **kwargs: Any) -> Axes:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw it in the notebook, on the axes `ctx` if given, and return the axes; see `show_image`."""
        from plainlearn.core.figures import show_image

        if self.mode in ("1", "L", "I", "F", "I;16"):
            kwargs.setdefault("cmap", "gray")
        return show_image(self, ctx=ctx, **kwargs)

    def to_thumb(self, h: int, w: int | None = None) -> PIL.Image.Image:
        """A copy that fits into `h` × `w` pixels (`w` is `h` if it is not given), in its own proportions."""
        copy = self.copy()
        copy.thumbnail((h if w is None else w, h))
        return copy


class PILImage(PILBase):
    """A picture in colour. `PILImage.create` takes anything that `load_image` takes."""

    #: How `ImageBlock` opens files for this class.
    opened_as: ClassVar[Literal["RGB", "L"]] = "RGB"

    @classmethod
    def create(cls, source: Source, **kwargs: Any) -> Self:
        """From a path, a file's bytes, an array, a tensor or a Pillow image: upright, in this class's mode.

        `kwargs` go to `load_image`, whose errors name what cannot be read.

        >>> PILImage.create(PIL.Image.new("L", (3, 2))).size
        (3, 2)
        """
        return cls.of(PIL.Image.fromarray(load_image(source, mode=cls.opened_as, **kwargs)))


class PILImageBW(PILImage):
    """A picture in grey."""

    opened_as: ClassVar[Literal["RGB", "L"]] = "L"


class PILMask(PILBase):
    """A mask: the numbers as stored, one a pixel."""

    @classmethod
    def create(cls, source: Source) -> Self:
        """From what `load_mask` takes."""
        return cls.of(PIL.Image.fromarray(load_mask(source)))


def open(
    fp: str | os.PathLike[str] | IO[bytes],
    mode: Literal["r"] = "r",
    formats: list[str] | tuple[str, ...] | None = None,
) -> PILBase:
    """Pillow's `Image.open`, whose image has `to_thumb` and `shape`; it is read at once, and its mode stays."""
    with PIL.Image.open(fp, mode, formats) as image:
        return PILBase.of(image)


def __getattr__(name: str) -> Any:
    """All else of `PIL.Image`: in the course's notebooks this module is their `Image`."""
    return getattr(PIL.Image, name)


def image2tensor(image: PIL.Image.Image) -> Tensor:
    """A Pillow image as a uint8 tensor (C, H, W)."""
    from plainlearn.core.tensors import tensor

    pixels = tensor(image)
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
