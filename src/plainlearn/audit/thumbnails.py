"""Pictures of what an audit found: small copies of the files, upright, and a drawing of them in groups."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from plainlearn.core.errors import ArgumentError, DataError, MissingFileError
from plainlearn.core.paths import shown
from plainlearn.images.load import load_image

if TYPE_CHECKING:
    from plainlearn.audit.findings import Audit, Finding
    from plainlearn.images.pixels import Pixels

_COLUMNS = 4


def thumbnail(path: str, side: int) -> Pixels | None:
    """The image, its longer side `side` pixels or less; of a damaged one what can be had; None if that is nothing."""
    try:
        pixels = load_image(path, draft_to=side, strict=False)
    except (DataError, MissingFileError):
        return None  # the report says why, and is what the picture stands in
    small = Image.fromarray(pixels)
    small.thumbnail((side, side))
    return np.asarray(small)


def draw(report: Audit, max_groups: int) -> None:
    """Rows of images for the groups of files, up to `max_groups` a finding. Prints a line if there are none."""
    from plainlearn.core.figures import show_image, subplots

    if max_groups < 1:
        raise ArgumentError(f"max_groups is {max_groups}; expected 1 or more")
    rows = [row for found in report.findings for row in _rows(found, max_groups)]
    if not rows:
        print("Nothing was found that a picture could show.")
        return
    columns = max(len(paths) for _, paths, _ in rows)
    figure, axes = subplots(len(rows), columns, imsize=2.6, squeeze=False)
    for (kind, paths, captions), line in zip(rows, axes, strict=True):
        line[0].text(-0.06, 0.5, kind, transform=line[0].transAxes, rotation=90, ha="right", va="center")
        for ax in line:
            ax.axis("off")
        for path, caption, ax in zip(paths, captions, line, strict=False):
            pixels = thumbnail(path, 200)
            if pixels is None:
                ax.text(
                    0.5, 0.5, "no picture", transform=ax.transAxes, ha="center", va="center", color="gray"
                )
            else:
                show_image(pixels, ax=ax)
            ax.set_title(_drawable(caption), fontsize=7, parse_math=False)
    figure.tight_layout()


def _rows(found: Finding, max_groups: int) -> list[tuple[str, list[str], list[str]]]:
    """The finding's kind, paths and captions, row by row: a group in each, or single files side by side."""
    groups = list(zip(found.paths, found.groups, strict=False))[:max_groups]
    if any(len(paths) > 1 for paths, _ in groups):
        return [(found.kind, paths[:_COLUMNS], captions[:_COLUMNS]) for paths, captions in groups]
    paths, captions = [path for (path,), _ in groups], [caption for _, (caption,) in groups]
    starts = range(0, len(groups), _COLUMNS)
    return [(found.kind, paths[at : at + _COLUMNS], captions[at : at + _COLUMNS]) for at in starts]


def _drawable(caption: str) -> str:
    """A caption in lines that fit, with a box for what matplotlib's own font has no sign for."""
    letters = [letter if ord(letter) < 0x2E80 else "□" for letter in shown(caption)]
    lines = textwrap.wrap("".join(letters), 34)
    return "\n".join([*lines[:3], *(["…"] if len(lines) > 3 else [])])
