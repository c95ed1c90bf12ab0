"""The data of a run: from labelled files to loaders, at a size."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import DataError
from plainlearn.data.block import DataBlock
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.blocks import CategoryBlock, MultiCategoryBlock
from plainlearn.data.labelled_items import FileOf, Labelled, LabelOf, labelled_items
from plainlearn.data.split import IndexSplitter, RandomSplitter, TrainTestSplitter
from plainlearn.data.validate_items import DataWarning
from plainlearn.images.file_facts import gather
from plainlearn.runs.config import RunConfig
from plainlearn.vision.blocks import ImageBlock

__all__ = ["Pictures", "pictures_of"]

_FEWEST = 10


@dataclass(frozen=True)
class Pictures:
    """The labelled images of a run. `held_out` are the places of those to validate on, None where the run draws them."""

    config: RunConfig
    pairs: list[Labelled]
    held_out: list[int] | None
    source: str
    side: int  # pixels: the middle one of the images' shorter sides

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several labels."""
        return self.config.label_delim is not None

    def loaders(self, size: int, bs: int, *, only: int | None = None) -> BlockLoaders:
        """Loaders of pictures of `size`, photos' usual augmentation in training; `only` so many of the images, for a trial."""
        config, pairs = self.config, self.pairs
        splitter: Any
        if only is not None and only < len(pairs):
            places = sorted({round(place * (len(pairs) - 1) / (only - 1)) for place in range(only)})
            pairs = [pairs[place] for place in places]
            splitter = RandomSplitter(0.25, seed=config.seed)
        elif self.held_out is not None:
            splitter = IndexSplitter(self.held_out)
        elif self.multi_label:
            splitter = RandomSplitter(config.valid, config.seed)
        else:
            splitter = TrainTestSplitter(config.valid, config.seed, stratify=LabelOf())
        vocab = None if only is None else self._vocab()  # of a part, all labels all the same
        target = MultiCategoryBlock(vocab=vocab) if self.multi_label else CategoryBlock(vocab=vocab)
        block = DataBlock(
            (ImageBlock, target), splitter=splitter, get_x=FileOf(), get_y=LabelOf(),
            item_tfms=Resize(presize(size)), batch_tfms=aug_transforms(size=size),
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # the audit says all of it, once
            return block.dataloaders(pairs, path=config.run_folder, bs=bs, check=only is None)

    def _vocab(self) -> list[str]:
        if self.multi_label:
            return sorted({each for pair in self.pairs for each in pair.label})
        return sorted({pair.label for pair in self.pairs})


def presize(size: int) -> int:
    """From what a picture is read, so that turning and zooming have something to take from: 256 for 224."""
    return round(size * 256 / 224 / 8) * 8


def pictures_of(config: RunConfig) -> Pictures:
    """The images that `config` names. Raises `DataError` for too few to learn from and to test on."""
    found = labelled_items(
        config.folder,
        config.labels,
        file_col=config.file_col,
        label_col=config.label_col,
        label_delim=config.label_delim,
    )
    known = [side for side in ("valid", "test") if side in found.sides]
    kept = found.on("train", "", known[0]) if known else found
    pairs = [Labelled(item, label) for item, label in zip(kept.items, kept.labels, strict=True)]
    _refuse_few(pairs, found.source, several=config.label_delim is not None)
    held_out = [place for place, side in enumerate(kept.sides) if known and side == known[0]] or None
    if held_out is not None and len(held_out) == len(pairs):
        raise DataError(f"all {len(pairs)} images are in {known[0]}, and none is left to learn from")
    some = [str(pair.file) for pair in pairs[:: max(1, len(pairs) // 500)]]
    sides = sorted(min(facts.height, facts.width) for facts in gather(some) if facts.height and facts.width)
    return Pictures(config, pairs, held_out, found.source, sides[len(sides) // 2] if sides else 224)


def _refuse_few(pairs: Sequence[Labelled], source: str, *, several: bool) -> None:
    counts = Counter(pair.label for pair in pairs) if not several else Counter[Any]()
    told = ", ".join(f"{count} of {label!r}" for label, count in counts.most_common(5))
    if len(pairs) < _FEWEST:
        raise DataError(
            f"there are {len(pairs)} images ({told or source}): too few to learn from some and to test on others; "
            f"expected {_FEWEST} or more, and 50 of each class for a model that you can trust",
            try_="adding images to the folders",
        )
    if not several and len(counts) < 2:
        raise DataError(
            f"all {len(pairs)} images have the one label {pairs[0].label!r} ({source}); expected two classes or more",
            try_="a folder for each class, or --labels with a table or a pattern of the names",
        )
