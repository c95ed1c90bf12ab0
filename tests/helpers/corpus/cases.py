"""All cases, and the folder that holds them."""

from __future__ import annotations

from pathlib import Path

from corpus.base import ORIENTED, Case
from corpus.files import HIDDEN, NAMES, NOT_IMAGES, SIZES, SPECIAL
from corpus.formats import GIFS_AND_WEBPS, OTHERS, TIFFS
from corpus.jpegs import JPEGS
from corpus.pngs import PNGS

CASES: list[Case] = [
    *ORIENTED,
    *JPEGS,
    *PNGS,
    *GIFS_AND_WEBPS,
    *TIFFS,
    *OTHERS,
    *NOT_IMAGES,
    *SIZES,
    *SPECIAL,
    *NAMES,
    *HIDDEN,
]


def make_corpus(folder: Path) -> dict[Path, Case]:
    """Make every file that this machine can make, in `folder`, and say which case is which."""
    return {case.create(folder): case for case in CASES if case.needs()}
