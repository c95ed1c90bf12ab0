"""Objects of ours as plain data, and back by a registry: a file names what it holds, and never what to import."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from inspect import Parameter, signature
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, DataError, PlainlearnError

__all__ = ["Kind", "Registry", "checked_fields", "from_plain", "kinds", "to_plain"]

_LONGEST = 100_000  # items of a list in a description: a vocabulary may be long, all else is short


@dataclass(frozen=True)
class Kind:
    """A class that may stand in a file, and those of its fields that stand there too."""

    made_by: type[Any]
    fields: tuple[str, ...]


Registry = Mapping[str, Kind]


def kinds(*classes: type[Any]) -> Registry:
    """The registry of these dataclasses, under their own names and with all of their fields."""
    return {each.__name__: Kind(each, tuple(field.name for field in fields(each))) for each in classes}


def to_plain(thing: Any, registry: Registry) -> dict[str, Any]:
    """`{"kind": name, field: value, …}`. Raises `ArgumentError` for what is not in the registry, or holds code."""
    found = next((pair for pair in registry.items() if pair[1].made_by is type(thing)), None)
    if found is None:
        raise ArgumentError(
            f"{thing!r} is of a kind of your own, {type(thing).__name__}; a model file holds no code, so it can hold "
            f"only what plainlearn knows: {', '.join(sorted(registry))}"
        )
    plain: dict[str, Any] = {"kind": found[0]}
    for name in found[1].fields:
        value = getattr(thing, name)
        if not _is_plain(value):
            raise ArgumentError(
                f"{thing!r} has {describe(value)} as {name}, which no model file can hold; expected numbers and text"
            )
        plain[name] = value
    return plain


def from_plain(plain: Any, registry: Registry) -> Any:
    """What `to_plain` described. Raises `DataError` for an unknown kind, for fields that are missing, too many or odd."""
    given = dict(cast("Mapping[str, Any]", plain)) if isinstance(plain, Mapping) else {}
    name = given.pop("kind", None)
    if not isinstance(name, str) or name not in registry:
        raise DataError(f"it names {name!r} among its parts; known are {', '.join(sorted(registry))}")
    kind = registry[name]
    checked = checked_fields(given, kind.made_by, name, kind.fields)
    try:
        return kind.made_by(**checked)
    except PlainlearnError as error:
        raise DataError(f"its {name} cannot be: {error.what}") from error


def checked_fields(
    given: Any, made_by: type[Any], name: str, expected: Iterable[str] | None = None
) -> dict[str, Any]:
    """The arguments for `made_by`, none beyond, each of its annotated type. Raises `DataError`.

    What has a default may be missing: a file of an older version does not know it yet.
    """
    known = signature(made_by).parameters
    names = {field.name for field in fields(made_by)} if expected is None else set(expected)
    needed = {name for name in names if known[name].default is Parameter.empty}
    found = (
        set(map(str, cast("Mapping[Any, Any]", given))) if isinstance(given, Mapping) else {describe(given)}
    )
    if not needed <= found <= names:
        raise DataError(f"its {name} has {sorted(found)}; expected {sorted(names)}")
    hints = get_type_hints(made_by if is_dataclass(made_by) else made_by.__init__)
    values = dict(cast("Mapping[str, Any]", given))
    for field, value in values.items():
        if not _fits(value, hints[field]):
            raise DataError(f"the {field} of its {name} is {describe(value)}; expected {hints[field]}")
    return values


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, cast("Sequence[Any]", value)))
    return value is None or isinstance(value, (bool, int, float, str))


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of the annotated type; of callables none is."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return value in inner
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[Any]", value)
        if len(items) > _LONGEST or not all(map(_is_plain, items)):
            return False
        if hint is Any:
            return True
        if origin is tuple and inner[-1:] != (Ellipsis,):
            return len(items) == len(inner) and all(map(_fits, items, inner))
        of_many = isinstance(origin, type) and issubclass(tuple, origin)
        return of_many and all(_fits(item, inner[0]) for item in items)
    if hint is Any or hint is None:
        return value is None or (hint is Any and _is_plain(value))
    if not isinstance(hint, type):
        return False
    if hint is float and isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
