"""An import that documents once named still works, and says what to write."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

# What README and docs of 0.1 told people to write.
DOCUMENTED = [
    ("plainlearn.data.download", "untar_data", "plainlearn.datasets.download"),
    ("plainlearn.data.shard_writing", "write_shards", "plainlearn.datasets.shards"),
    ("plainlearn.data.shards", "get_records", "plainlearn.datasets.shards"),
    ("plainlearn.data.urls", "URLs", "plainlearn.datasets.urls"),
    ("plainlearn.vision.predictor", "Predictor", "plainlearn.inference.predictor"),
    ("plainlearn.vision.transforms", "Resize", "plainlearn.augment.transforms"),
]


@pytest.mark.parametrize(("old", "name", "new"), DOCUMENTED)
def test_an_old_import_works_and_names_the_new_place(old: str, name: str, new: str) -> None:
    with pytest.warns(FutureWarning, match=f"{old} has moved.* from {new} import {name}$") as told:
        found = getattr(importlib.import_module(old), name)
    assert found is getattr(importlib.import_module(new), name)
    assert told[0].filename == __file__


def test_the_line_that_the_warning_tells_runs_without_one() -> None:
    script = "import warnings; warnings.simplefilter('error'); from plainlearn.inference.predictor import Predictor"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


def test_a_name_that_neither_place_has_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        importlib.import_module("plainlearn.data.urls").nothing_like_it  # noqa: B018
