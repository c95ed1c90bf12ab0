"""Losses, each with the activation and the decoding that belong to it."""

from plainlearn.losses.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    L1LossFlat,
    Loss,
    MSELossFlat,
)
from plainlearn.losses.meaning import activation_of, decoding_of, unreduced

__all__ = [
    "BCEWithLogitsLossFlat",
    "CrossEntropyLossFlat",
    "L1LossFlat",
    "Loss",
    "MSELossFlat",
    "activation_of",
    "decoding_of",
    "unreduced",
]
