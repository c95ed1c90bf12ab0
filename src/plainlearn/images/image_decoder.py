"""From an item to decoded pixels, as an image block opens it: whole, or of a JPEG no more than can be seen. No torch here."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from plainlearn.core.errors import DataError
from plainlearn.images.cache import PixelCache, Where
from plainlearn.images.decode import Wish, decode
from plainlearn.images.files import Naming
from plainlearn.images.load import HasBytes, Source, load_image
from plainlearn.images.scaled_jpeg import ScaledJpeg, Shrink, whole

if TYPE_CHECKING:
    from plainlearn.images.channels import Ranges
    from plainlearn.images.pixels import Pixels, Range

__all__ = ["ImageDecoder"]


@dataclass(frozen=True)
class ImageDecoder:
    """How `ImageBlock` opens pictures; what the fields mean is said there."""

    mode: Literal["RGB", "L"] | None
    background: tuple[int, int, int]
    channels: int
    value_range: Ranges | None
    cache: Where = "none"
    kept: PixelCache = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        way = f"{self.mode or self.channels}{bytes(self.background).hex()}"
        if self.value_range is not None:  # a cache tells ways apart by 16 letters
            way = hashlib.blake2b(f"{way}{self.value_range}".encode(), digest_size=8).hexdigest()
        object.__setattr__(self, "kept", PixelCache(self.cache, key=way))

    def __call__(self, value: Any, shrink: Shrink = whole) -> Pixels | ScaledJpeg:
        """The pixels; of a JPEG perhaps at the scale that `shrink` chooses."""
        try:
            if isinstance(value, (str, os.PathLike)):
                return self.kept.of_file(os.fspath(cast("str", value)), self._decoded, shrink)
            if isinstance(value, (bytes, HasBytes)):
                data = value if isinstance(value, bytes) else value.read_bytes()
                return self.kept.of_bytes(data, self._decoded, shrink)
        except DataError:
            pass  # said again below, where the file has its name
        return self._decoded(cast("Source", value))

    def _decoded(self, source: Source, scale: int = 1) -> Pixels:
        if self.mode is None:
            from plainlearn.images.channels import load_channels

            return load_channels(source, self.channels, value_range=self.value_range)
        span = cast("Range | None", self.value_range)
        if scale > 1:
            data = cast("bytes", source)
            with Naming(data, ""):
                return decode(data, "", Wish(self.mode, self.background, value_range=span, scale=scale))
        return load_image(source, mode=self.mode, background=self.background, value_range=span)
