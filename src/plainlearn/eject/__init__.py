"""The way out: a learner's run as one plain PyTorch script, which needs plainlearn no more."""

from plainlearn.eject.write import eject

__all__ = ["eject"]
