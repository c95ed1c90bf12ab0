"""What a thing of the user's own is called on its way from a source to the model. No torch here.

    source -> items -> values -> things -> encoded things, of one sample -> fields, of a batch
      get_items  a getter  Block.open   Block.encode                Block.gather

It may be anything, so that these names, and not its type, say where it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias

Source: TypeAlias = Any
"""What `get_items` takes, most often a folder; without it the items themselves, as a list or a table."""
Item: TypeAlias = Any
"""What `get_items` finds: a path, a row of a table."""
Value: TypeAlias = Any
"""What a labeller, or any getter, gives of an item: a label, the path of a picture."""
Thing: TypeAlias = Any
"""What a value is once its block has opened it: an array of pixels, a label."""
Encoded: TypeAlias = Any
"""A thing as the model gets it: most often a tensor; or what is `Deferred`."""
Field: TypeAlias = Any
"""The encoded things of one block in a batch: most often a tensor; or what is `Deferred`."""

Getter: TypeAlias = Callable[[Item], Value]
Column: TypeAlias = Getter | str | int
"""How a value is read from an item: by a function, or from the column of that name or number."""


class Deferred(ABC):
    """Things of a sample, or of a batch, that are read once, when all geometry has said where they go.

    Transforms change the map that comes with them. `augment.pending` has those of pictures, masks, points and boxes.
    """

    @classmethod
    @abstractmethod
    def joined(cls, parts: Sequence[Any], names: Sequence[str] = ()) -> Self:
        """Many of this class as one. `names` are what errors call them."""

    @abstractmethod
    def read(self) -> Any:
        """The finished batch, a tensor: the one time that the things are read."""

    def materialize(self) -> Any:
        """Read already now, to travel to another device, where it may be moved and read once more."""
        return self.read()
