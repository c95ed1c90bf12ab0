"""Run by test_checkpoint.py in two processes: a run, the same run crashed, and resumed; are they equal in each?"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import torch

from plainlearn.train import Learner

sys.path.insert(0, str(Path(__file__).parent.parent / "helpers"))
spec = importlib.util.spec_from_file_location("claims", Path(__file__).with_name("test_checkpoint.py"))
assert spec is not None and spec.loader is not None
claims = importlib.util.module_from_spec(spec)
spec.loader.exec_module(claims)
folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])


def learner(seed: int, *more: Any) -> Learner:
    made = claims.make(folder, seed=seed, cbs=[claims.Noise(), *more])
    torch.manual_seed(seed + rank)  # each process has draws of its own
    return made


reference = claims.all_of(claims.quietly(learner(0), Learner.fit_one_cycle, 3, 0.05))
try:
    claims.quietly(learner(0, claims.Stop(2, 1)), Learner.fit_one_cycle, 3, 0.05, checkpoint=True)
except claims.StoppedError:
    resumed = claims.quietly(learner(99), Learner.fit_one_cycle, 3, 0.05, resume=True)
    assert claims.all_of(resumed) == reference
    (folder / f"equal-{rank}").touch()
