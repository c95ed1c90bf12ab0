"""From an item to decoded pixels, as an image block opens it: whole, or of a JPEG no more than can be seen. No torch here."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np

from plainlearn.core.errors import ArgumentError
from plainlearn.images.cache import CachePlace, PixelCache
from plainlearn.images.channels import Ranges, load_channels
from plainlearn.images.decode import DecodeOptions, ScaledJpeg, Shrink, as_scaled, decode, scale_of
from plainlearn.images.files import EncodedImage, HasBytes, naming_errors
from plainlearn.images.load import load_image
from plainlearn.images.pixels import Pixels, Range

__all__ = ["ImageDecoder"]


@dataclass(frozen=True)
class ImageDecoder:
    """How `ImageBlock` opens pictures; what the fields mean is said there. A model file keeps all but `cache`."""

    mode: Literal["RGB", "L"] | None
    background: tuple[int, int, int]
    channels: int
    value_range: Ranges | None
    full_decode: bool = False
    cache: CachePlace = "none"
    kept: PixelCache | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.channels, bool) or not isinstance(self.channels, int) or self.channels < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(
                f"channels is {self.channels!r}; expected 1 or more", try_="ImageBlock(channels=5)"
            )
        if self.mode is not None and self.channels != len(self.mode):
            raise ArgumentError(f"mode {self.mode!r} has {len(self.mode)} channels, and channels is {self.channels}",
                                try_=f"ImageBlock(channels={self.channels})")  # fmt: skip
        if not all(0 <= level <= 255 for level in self.background):
            raise ArgumentError(f"background is {self.background}; expected levels from 0 to 255")
        if self.mode is not None and np.ndim(cast("Any", self.value_range)) > 1:
            raise ArgumentError(
                "value_range has a pair for each channel, which only channels= can use",
                try_="value_range=(0, 4095), one pair for all",
            )
        key = f"{self.mode or self.channels}{bytes(self.background).hex()}"
        if self.value_range is not None:  # a cache keeps 16 letters of it
            key = hashlib.blake2b(f"{key}{self.value_range}".encode(), digest_size=8).hexdigest()
        kept = None if self.cache == "none" else PixelCache(self.cache, key=key)
        object.__setattr__(self, "kept", kept)

    def __call__(self, value: Any, shrink: Shrink | None = None) -> Pixels | ScaledJpeg:
        """The pixels; of a JPEG perhaps at the scale that `shrink` chooses. Raises what `load_image` raises."""
        if self.kept is not None and isinstance(value, (str, os.PathLike)):
            return self.kept.of_file(os.fspath(cast("str", value)), self._decoded, shrink)
        if not isinstance(value, (str, os.PathLike, bytes, HasBytes, EncodedImage)):
            return self._converted(value)
        image = EncodedImage.of(cast("str", value))
        if self.kept is not None:
            return self.kept.of_image(image, self._decoded, shrink)
        frame = None if shrink is None else image.frame
        scale = scale_of(frame, shrink)
        return as_scaled(self._decoded(image, scale), frame, scale)

    def _decoded(self, image: EncodedImage, scale: int) -> Pixels:
        if self.mode is None:
            return load_channels(image, self.channels, value_range=self.value_range)
        value_range = cast("Range | None", self.value_range)
        with naming_errors(image):
            options = DecodeOptions(self.mode, self.background, value_range=value_range, scale=scale)
            return decode(image, options)

    def _converted(self, value: Any) -> Pixels:
        """Of what is no file: a Pillow image, an array or a tensor."""
        if self.mode is None:
            return load_channels(value, self.channels, value_range=self.value_range)
        value_range = cast("Range | None", self.value_range)
        return load_image(value, mode=self.mode, background=self.background, value_range=value_range)
