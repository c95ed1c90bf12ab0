"""The loop (**`train/loop.py`, read this first**), its callbacks, evaluation and recipes. It knows nothing of files or images."""

from plainlearn.train.callback import Callback
from plainlearn.train.checkpoint import Checkpoint
from plainlearn.train.evaluate import evaluate
from plainlearn.train.loop import Learner
from plainlearn.train.progress import ProgressTable
from plainlearn.train.ranks import Ranks, launch, shard
from plainlearn.train.recorder import Epoch, Recorder
from plainlearn.train.step import Result, Step, SupervisedStep

__all__ = [
    "Callback",
    "Checkpoint",
    "Epoch",
    "Learner",
    "ProgressTable",
    "Ranks",
    "Recorder",
    "Result",
    "Step",
    "SupervisedStep",
    "evaluate",
    "launch",
    "shard",
]
