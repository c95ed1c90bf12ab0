"""How to step: optimizers with the course's signatures, parameter groups by depth, schedules."""

from plainlearn.optim.groups import learning_rates, make_optimizer, parameter_groups, trainable_params
from plainlearn.optim.optimizers import SGD, Adam, RMSProp
from plainlearn.optim.schedules import (
    Combined,
    Constant,
    Cosine,
    Exponential,
    Linear,
    Schedule,
    combine_scheds,
    combined_cos,
    flat_cosine,
)

__all__ = [
    "SGD",
    "Adam",
    "Combined",
    "Constant",
    "Cosine",
    "Exponential",
    "Linear",
    "RMSProp",
    "Schedule",
    "combine_scheds",
    "combined_cos",
    "flat_cosine",
    "learning_rates",
    "make_optimizer",
    "parameter_groups",
    "trainable_params",
]
