"""The course's face: every name is there, and the star import loads only what its names need."""

from __future__ import annotations

import subprocess
import sys

from patience import PATIENCE

import plainlearn.vision.all as face


def test_every_name_is_there_once() -> None:
    assert [name for name in face.__all__ if not hasattr(face, name)] == []
    assert len(set(face.__all__)) == len(face.__all__)


def test_the_star_import_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom plainlearn.vision.all import *\n"
        "print([name for name in ('torchvision', 'timm', 'scipy', 'numba', 'sklearn', 'fastapi') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert ran.stdout.strip() == "[]"
