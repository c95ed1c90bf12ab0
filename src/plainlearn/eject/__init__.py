"""The way out: a learner's run as one plain PyTorch script, which needs plainlearn no more.

The package can be called: `plainlearn.eject(learn, "train.py")` is its function `eject`, which says what it writes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from plainlearn.eject.write import eject
from plainlearn.train.learner import Learner

__all__ = ["eject"]


class _CallablePackage(ModuleType):
    def __call__(self, learn: Learner, path: str | os.PathLike[str], **run: Any) -> Path:
        """`eject` of this package."""
        return eject(learn, path, **run)


sys.modules[__name__].__class__ = _CallablePackage
