"""The way out of a run: its learner as it was at the beginning, written down as a plain PyTorch script."""

from __future__ import annotations

import os
from typing import Any

from plainlearn.core.errors import ArgumentError
from plainlearn.core.paths import Path
from plainlearn.core.seed import set_seed
from plainlearn.eject import eject
from plainlearn.runs.record import read_record
from plainlearn.runs.report import HEAD_ALONE
from plainlearn.runs.run import learner_of
from plainlearn.runs.training_data import pictures_of

__all__ = ["eject_run"]


def eject_run(
    run: str | os.PathLike[str], script: str | os.PathLike[str] | None = None, *, force: bool = False
) -> tuple[Path, str]:
    """Write the script that does what the run did, and return its path and what there is to say about it.

    `run` is the folder of a run, or its model file. The images must lie where they were.
    Raises `MissingFileError` where there is no run, `ArgumentError` for one that has no plan yet, and `StorageError` for a
    file in the way that no eject wrote, unless `force`.
    """
    folder = Path(run)
    record = read_record(folder.with_suffix(".run") if folder.suffix == ".plain" else folder)
    config, plan = record.config, record.plan
    if plan is None:
        raise ArgumentError(
            f"{run} was stopped before it had a plan", try_=f"plainlearn train {config.folder} --resume"
        )
    epochs = plan.epochs if record.outcome is None else record.outcome.epochs
    head_alone = not epochs or (record.outcome is not None and record.outcome.kept == HEAD_ALONE)
    pictures = pictures_of(config)
    set_seed(config.seed)
    learn = learner_of(pictures, plan)
    target = Path(script) if script is not None else Path(config.out).with_suffix(".py")
    if head_alone:
        learn.freeze()
        path = eject(learn, target, recipe="fit_head", force=force)
        return Path(path), "It fits the head alone, and ends with the weights of that run, to the bit."
    frozen: dict[str, Any] = {} if plan.features else {"freeze_epochs": 0}
    path = eject(learn, target, recipe="fine_tune", epochs=epochs, force=force, **frozen)
    if plan.seconds is None:
        return Path(path), "It ends with the weights of that run, to the bit."
    return Path(path), (
        f"That run went by the clock, and no two such runs are equal. The script does its {epochs} epochs by number, "
        "as plainlearn train --epochs does, and ends with the weights of that to the bit."
    )
