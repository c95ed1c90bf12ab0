"""Copying definitions: all that a script may hold stands in one file, is found again there, and says what was left out."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from plainlearn.augment import lighting, transforms
from plainlearn.core.errors import ArgumentError
from plainlearn.eject import script_code
from plainlearn.eject.library import Library, module_of
from plainlearn.eject.source import Copied
from plainlearn.losses import dice, focal, losses
from plainlearn.metrics import functions
from plainlearn.models import heads, model


def public(module: ModuleType) -> list[Any]:
    """The functions and classes of a module that have no underscore."""
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    return [value for value in own if isinstance(value, type) and not value.__name__.startswith("_")]


def test_all_that_a_script_may_copy_stands_in_one_file(tmp_path: Path) -> None:
    copied = Copied()
    for module in (lighting, transforms, losses, focal, dice, heads):
        for thing in public(module):
            copied.take(thing, "the thing")
    for thing in (model.VisionModel, model.ExpectedInput, functions.accuracy, functions.top_k_accuracy):
        copied.take(thing, "the thing")
    for thing in public(script_code):
        copied.spell_out(thing.__name__)
    for name in ("fit", "scheduled", "fit_head"):
        copied.spell_out(name)
    text = copied.library.text("All of it.")
    defined = [
        node.name for node in ast.parse(text).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]
    assert len(defined) == len(set(defined))
    names: dict[str, Any] = {"__name__": "copied"}
    module = ModuleType("copied")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "copied", module)
        exec(compile(text, "copied.py", "exec"), names := vars(module))
    assert names["Resize"](8) == names["Resize"](8)
    assert names["Resize"] is not transforms.Resize
    assert dataclasses.fields(names["Warp"])[0].name == "magnitude"


def test_a_definition_is_copied_as_it_is_written() -> None:
    library = Library("nothing", {})
    library.need("plainlearn.augment.geometry", "crop")
    source = Path(transforms.__file__).with_name("geometry.py").read_text("utf-8")
    text = library.text("Copied.")
    for each in library.taken("plainlearn.augment.geometry"):
        assert each.text in source
        assert each.text in text
    assert "def crosses_horizon" not in text  # nothing that is not reached


def test_a_name_with_two_meanings_is_refused() -> None:
    library = Library("nothing", {})
    library.need("plainlearn.augment.geometry", "flip")
    with pytest.raises(ArgumentError, match=r"^flip is (.|\\n)* in one module and .* in another"):
        library._claim("flip", "def flip(): ...")  # pyright: ignore[reportPrivateUsage]


def test_what_is_left_out_says_why() -> None:
    library = Copied().library
    library.need("plainlearn.images.image_decoder", "ImageDecoder")
    text = library.text("Copied.")
    assert 'class PixelCache(Any):\n    """Left out: each file is read anew."""' in text
    assert module_of("plainlearn.images.cache").statements["PixelCache"].text not in text
