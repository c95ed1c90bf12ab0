"""What is minimised: losses, each with the activation and the decoding that belong to it."""

from plainlearn.losses.activations import activation_of, decoding_of, unreduced
from plainlearn.losses.balance import balanced_loss, class_weights
from plainlearn.losses.dice import DiceLoss
from plainlearn.losses.focal import FocalLoss, FocalLossFlat
from plainlearn.losses.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    L1LossFlat,
    LabelSmoothingCrossEntropy,
    LabelSmoothingCrossEntropyFlat,
    Loss,
    MSELossFlat,
)

__all__ = [
    "BCEWithLogitsLossFlat",
    "CrossEntropyLossFlat",
    "DiceLoss",
    "FocalLoss",
    "FocalLossFlat",
    "L1LossFlat",
    "LabelSmoothingCrossEntropy",
    "LabelSmoothingCrossEntropyFlat",
    "Loss",
    "MSELossFlat",
    "activation_of",
    "balanced_loss",
    "class_weights",
    "decoding_of",
    "unreduced",
]
