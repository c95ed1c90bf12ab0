"""The model file: weights, the way of an input, what the outputs mean, and a card. All of it is data; none of it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, cast

from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import DataError
from plainlearn.core.tensorfile import read_tree, write_tree
from plainlearn.inference.meaning import Meaning
from plainlearn.inference.plain import checked_fields

__all__ = ["ModelFile", "read_model_file", "write_model_file"]

_KIND: Final = "a model of plainlearn's"
#: Of the description. Files of this version or an older one are read.
_VERSION: Final = 1


@dataclass(frozen=True)
class ModelFile:
    """What is in a model file, as it lies there: `weights` and `aside`, the buffers that a state dict leaves out, by name.

    `architecture` is `{"recipe": …}` for what plainlearn can build, or `{"custom": name}` for a class of
    the user's own. `pipeline` and `target` are of `inference.plain`; `unlike` holds what tells strange inputs.
    """

    architecture: dict[str, Any]
    weights: dict[str, Tensor]
    pipeline: dict[str, Any]
    target: dict[str, Any]
    meaning: Meaning
    aside: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    unlike: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    card: dict[str, Any] = field(default_factory=dict[str, Any])


def write_model_file(path: str | os.PathLike[str], model: ModelFile) -> None:
    """Write the file, whole or not at all. Raises `StorageError` when it cannot be written."""
    tree = {each.name: getattr(model, each.name) for each in fields(model)}
    tree["meaning"] = {each.name: getattr(model.meaning, each.name) for each in fields(model.meaning)}
    write_tree(path, {"version": _VERSION, **tree}, kind=_KIND)


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """What is in the file, checked. Nothing that it holds is run or imported, whoever wrote it.

    Raises `DataError` naming the file when it is damaged, empty, a pickle, of another kind or from a newer
    version; `MissingFileError` when there is none.
    """
    tree: Any = read_tree(path, kind=_KIND)
    try:
        return _checked(tree)
    except DataError as error:
        raise DataError(f"{path} is no model file that can be used: {error.what}") from error


def _checked(tree: Any) -> ModelFile:
    if not isinstance(tree, dict):
        raise DataError(f"it holds {describe(tree)}")
    given = cast("dict[str, Any]", tree)
    version = given.pop("version", None)
    if not isinstance(version, int) or version < 1:
        raise DataError("it does not say its version")
    if version > _VERSION:
        raise DataError(
            f"it is from a newer version of plainlearn: its description is {version}, and this one reads up to {_VERSION}; "
            "pip install --upgrade plainlearn"
        )
    if given.keys() != {each.name for each in fields(ModelFile)}:
        raise DataError(f"it has the parts {sorted(map(str, given))}")
    for name in ("weights", "aside", "unlike"):
        _check_tensors(given[name], name)
    for name in ("architecture", "pipeline", "target", "card"):
        if not isinstance(given[name], dict):
            raise DataError(f"its {name} is {describe(given[name])}")
    meaning = Meaning(**checked_fields(given.pop("meaning"), Meaning, "meaning"))
    return ModelFile(**given, meaning=meaning)


def _check_tensors(given: Any, name: str) -> None:
    if not isinstance(given, dict):
        raise DataError(f"its {name} are {describe(given)}; expected tensors by name")
    for key, value in cast("Mapping[Any, Any]", given).items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise DataError(f"its {name} have {describe(value)} under {key!r}; expected tensors by name")
