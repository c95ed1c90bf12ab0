"""plainlearn: from a folder of images to a model that you understand, trust and can ship.

The names below are loaded when they are first used, so that `import plainlearn` costs nothing and
`plainlearn --help` answers without torch. This is Python's own way (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from plainlearn._version import __version__

if TYPE_CHECKING:
    from plainlearn.core.lists import L
    from plainlearn.core.paths import Path
    from plainlearn.core.seed import set_seed
    from plainlearn.data.block import DataBlock
    from plainlearn.data.blocks import CategoryBlock, MultiCategoryBlock, RegressionBlock
    from plainlearn.data.items import get_image_files
    from plainlearn.data.loader import DataLoader
    from plainlearn.data.loaders import DataLoaders
    from plainlearn.datasets.download import untar_data
    from plainlearn.datasets.urls import URLs
    from plainlearn.eject import eject
    from plainlearn.metrics.functions import accuracy, accuracy_multi, error_rate
    from plainlearn.train.callback import Callback
    from plainlearn.train.learner import Learner
    from plainlearn.vision.blocks import ImageBlock
    from plainlearn.vision.learner import vision_learner
    from plainlearn.vision.loaders import ImageDataLoaders

_HOMES = {
    "Callback": "train.callback",
    "CategoryBlock": "data.blocks",
    "DataBlock": "data.block",
    "DataLoader": "data.loader",
    "DataLoaders": "data.loaders",
    "ImageBlock": "vision.blocks",
    "ImageDataLoaders": "vision.loaders",
    "L": "core.lists",
    "Learner": "train.learner",
    "MultiCategoryBlock": "data.blocks",
    "Path": "core.paths",
    "RegressionBlock": "data.blocks",
    "URLs": "datasets.urls",
    "accuracy": "metrics.functions",
    "accuracy_multi": "metrics.functions",
    "eject": "eject",
    "error_rate": "metrics.functions",
    "get_image_files": "data.items",
    "set_seed": "core.seed",
    "untar_data": "datasets.download",
    "vision_learner": "vision.learner",
}

__all__ = [
    "Callback",
    "CategoryBlock",
    "DataBlock",
    "DataLoader",
    "DataLoaders",
    "ImageBlock",
    "ImageDataLoaders",
    "L",
    "Learner",
    "MultiCategoryBlock",
    "Path",
    "RegressionBlock",
    "URLs",
    "__version__",
    "accuracy",
    "accuracy_multi",
    "eject",
    "error_rate",
    "get_image_files",
    "set_seed",
    "untar_data",
    "vision_learner",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'plainlearn' has no attribute {name!r}")
    module = import_module(f"plainlearn.{home}")
    return module if home == name else getattr(module, name)  # `eject` is a package that can be called


def __dir__() -> list[str]:
    return sorted(__all__)
