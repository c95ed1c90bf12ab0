"""The model file: weights, the way of an input, what the outputs mean, and a card. All of it is data; none of it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, cast

from plainlearn.core.describe import describe
from plainlearn.core.errors import DataError
from plainlearn.core.tensorfile import read_array_tree, read_tree, write_tree
from plainlearn.inference.output_spec import OutputSpec
from plainlearn.inference.serialize import checked_fields

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ModelFile", "read_model_arrays", "read_model_file", "write_model_file"]

_KIND: Final = "a model of plainlearn's"
#: Of the description. Files of this version or an older one are read.
_VERSION: Final = 2
#: What a later version brought, and which: a file without it says the version before, for older programs to read.
_SINCE: Final = {"graph": 2}
#: Parts and fields that files call by another name than the code does.
_IN_FILES: Final = {"output_spec": "meaning", "ood": "unlike", "ood_above": "unlike_above"}


@dataclass(frozen=True)
class ModelFile:
    """What is in a model file, as it lies there: `weights` and `aside`, the buffers that a state dict leaves out, by name.

    `architecture` is `{"recipe": …}` for what plainlearn can build, or `{"custom": name}` for a class of
    the user's own. `pipeline` is a `Reading` and `target` a `TargetSpec` as plain data; `ood` holds what `inference.ood` fitted.
    `graph` is the network as ONNX, uint8 (N,), that shares its numbers with `weights`; see `inference.onnx_graph`.
    """

    architecture: dict[str, Any]
    weights: dict[str, Tensor]
    pipeline: dict[str, Any]
    target: dict[str, Any]
    output_spec: OutputSpec
    aside: dict[str, Tensor] = field(default_factory=lambda: dict[str, "Tensor"]())
    ood: dict[str, Tensor] = field(default_factory=lambda: dict[str, "Tensor"]())
    card: dict[str, Any] = field(default_factory=dict[str, Any])
    graph: Tensor | None = None


def write_model_file(path: str | os.PathLike[str], model: ModelFile, *, force: bool | None = False) -> None:
    """Write the file, whole or not at all.

    Raises `StorageError` when it cannot be written, and for a file there that is no model file, unless `force`.
    """
    tree = _fields(model)
    tree["meaning"] = _fields(model.output_spec)
    for name in _SINCE:
        if tree[name] is None:
            del tree[name]
    version = max((since for name, since in _SINCE.items() if name in tree), default=1)
    write_tree(path, {"version": version, **tree}, kind=_KIND, force=force)


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """What is in the file, checked. Nothing that it holds is run or imported, whoever wrote it.

    Raises `DataError` naming the file when it is damaged, empty, a pickle, of another kind or from a newer
    version; `MissingFileError` when there is none.
    """
    return _named(path, read_tree(path, kind=_KIND))


def read_model_arrays(path: str | os.PathLike[str]) -> ModelFile:
    """The same with numpy arrays for tensors, for programs that do not load torch."""
    return _named(path, read_array_tree(path, kind=_KIND))


def _named(path: str | os.PathLike[str], tree: Any) -> ModelFile:
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
    parts = {_in_files(each.name) for each in fields(ModelFile)}
    if given.keys() != {name for name in parts if _SINCE.get(name, 1) <= version}:
        raise DataError(f"it has the parts {sorted(map(str, given))}")
    for name in ("weights", "aside", "unlike"):
        _check_tensors(given[name], name)
    for name in ("architecture", "pipeline", "target", "card"):
        if not isinstance(given[name], dict):
            raise DataError(f"its {name} is {describe(given[name])}")
    graph = given.get("graph")
    if graph is not None and (
        not _is_tensor(graph) or graph.ndim != 1 or not str(graph.dtype).endswith("uint8")
    ):
        raise DataError(f"its graph is {describe(graph)}; expected bytes")
    said = given.pop("meaning")
    if isinstance(said, dict):
        said = _in_code(cast("dict[str, Any]", said))
    output_spec = OutputSpec(**checked_fields(said, OutputSpec, "meaning"))
    return ModelFile(**_in_code(given), output_spec=output_spec)


def _fields(thing: ModelFile | OutputSpec) -> dict[str, Any]:
    """As a file has them."""
    return {_in_files(each.name): getattr(thing, each.name) for each in fields(thing)}


def _in_files(name: str) -> str:
    return _IN_FILES.get(name, name)


def _in_code(given: dict[str, Any]) -> dict[str, Any]:
    names = {there: here for here, there in _IN_FILES.items()}
    return {names.get(key, key): value for key, value in given.items()}


def _check_tensors(given: Any, name: str) -> None:
    if not isinstance(given, dict):
        raise DataError(f"its {name} are {describe(given)}; expected tensors by name")
    for key, value in cast("Mapping[Any, Any]", given).items():
        if not isinstance(key, str) or not _is_tensor(value):
            raise DataError(f"its {name} have {describe(value)} under {key!r}; expected tensors by name")


def _is_tensor(value: Any) -> bool:
    """Whether it came from a tensor of the file: all else there is numbers, text and what holds these."""
    return hasattr(value, "dtype") and hasattr(value, "ndim")
