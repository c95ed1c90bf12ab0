"""The floor of the house: errors, lists, paths, tensors, seeds. It imports nothing of plainlearn's.

Only what is free of torch is named here, so that `plainlearn --help` answers at once.
"""

from plainlearn.core.lists import L
from plainlearn.core.paths import Path

__all__ = ["L", "Path"]
