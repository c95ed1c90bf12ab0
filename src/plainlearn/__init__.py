"""plainlearn: from a folder of images to a model that you understand, trust and can ship."""

from plainlearn._version import __version__

__all__ = ["__version__"]
