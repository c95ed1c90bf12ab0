"""What the user asked of a run, checked before anything is read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from plainlearn.core.errors import ArgumentError
from plainlearn.core.paths import Path

__all__ = ["RunConfig"]

_SMALLEST, _LARGEST = 32, 2048  # pixels a side


@dataclass(frozen=True)
class RunConfig:
    """A run as it was asked for; what is None is for the run to choose.

    `folder` holds the images, or is a table of them; `out` is the model file to make. Of `minutes` and `epochs` one
    is given. `valid` is the share of images to hold out where the folder does not say which.
    """

    folder: str
    out: str
    minutes: float | None = None
    epochs: int | None = None
    arch: str | None = None
    size: int | None = None
    valid: float = 0.2
    labels: str | None = None
    file_col: str | None = None
    label_col: str | None = None
    label_delim: str | None = None
    balance: bool = False
    devices: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.epochs is None):
            raise ArgumentError(
                "a run is as long as --minutes says, or has as many epochs as --epochs; expected one of them",
                try_="--minutes 10",
            )
        if self.minutes is not None and not (0 < self.minutes < math.inf):
            raise ArgumentError(
                f"--minutes is {self.minutes:g}; expected a number above 0", try_="--minutes 10"
            )
        if self.epochs is not None and self.epochs < 1:
            raise ArgumentError(f"--epochs is {self.epochs}; expected 1 or more", try_="--epochs 5")
        if self.size is not None and not _SMALLEST <= self.size <= _LARGEST:
            raise ArgumentError(
                f"--size is {self.size}; expected {_SMALLEST} to {_LARGEST} pixels a side", try_="--size 224"
            )
        if not 0 < self.valid < 1:
            raise ArgumentError(
                f"--valid is {self.valid:g}; expected a share of the images between 0 and 1",
                try_="--valid 0.2",
            )
        cores = os.cpu_count() or 1
        if not self.devices >= 1:
            raise ArgumentError(f"--devices is {self.devices}; expected 1 or more", try_="--devices 2")
        if self.devices > cores:
            raise ArgumentError(
                f"--devices is {self.devices}, and this machine has {cores} cores; expected {cores} or fewer",
                try_=f"--devices {cores}",
            )
        out = Path(self.out)
        if out.suffix != ".plain":
            raise ArgumentError(
                f"--out is {self.out!r}; expected a name that ends in .plain", try_=f"--out {out.stem}.plain"
            )

    @property
    def run_folder(self) -> Path:
        """The folder of the run, beside the model file: what is needed to go on with it, or to write it down."""
        return Path(self.out).with_suffix(".run")

    @property
    def report(self) -> Path:
        """The page that tells what came of it."""
        return Path(self.out).with_suffix(".html")
