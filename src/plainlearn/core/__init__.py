"""The floor of the house: errors that say what to do, `L`, `Path`, tensors, seeds, files written whole.

Only what is free of torch is named here, so that `plainlearn --help` answers at once.
"""

from plainlearn.core.lists import L
from plainlearn.core.paths import Path

__all__ = ["L", "Path"]
