"""The loop (**`train/loop.py`, read this first**), its callbacks, evaluation and recipes. It knows nothing of files or images."""

from plainlearn.train.callback import Callback, Epoch, Loop
from plainlearn.train.checkpoint import Checkpoint
from plainlearn.train.distributed import Ranks, launch, shard
from plainlearn.train.evaluate import evaluate
from plainlearn.train.learner import Learner
from plainlearn.train.progress import ProgressTable
from plainlearn.train.recorder import Recorder
from plainlearn.train.step import Result, Step, SupervisedStep

__all__ = [
    "Callback",
    "Checkpoint",
    "Epoch",
    "Learner",
    "Loop",
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
