"""The folder of a run: what was asked, planned and reached, as JSON, so that another process can go on with it."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

from plainlearn.core.errors import DataError, MissingFileError, StorageError
from plainlearn.core.own_folder import OwnFolder, check_claimable, claim
from plainlearn.core.paths import Path
from plainlearn.core.tensorfile import TENSORFILE
from plainlearn.core.wholefile import Mark, write_whole
from plainlearn.runs.config import RunConfig
from plainlearn.runs.plan import Plan

__all__ = ["PROBE", "Outcome", "Record", "check_folder", "locked_folder", "read_record", "remove_weights"]

_VERSION: Final = 1
_NAME: Final = "run.json"
_RECORD: Final = Mark(b'"version": ', within=16)
_LOCK: Final = "lock"
#: The weights of the head alone; a run has at most two phases, each with a checkpoint of its own.
PROBE: Final = "probe"
_WEIGHTS: Final = tuple(f"models/{name}.safetensors" for name in (PROBE, "checkpoint-1", "checkpoint-2"))
#: What runs left before their folders had a marker.
_OLDER: Final = {_NAME: _RECORD, _LOCK: Mark(b"\0"), "models/*.safetensors": TENSORFILE}


@dataclass(frozen=True)
class Outcome:
    """What came of a run: `value` of the `metric` on the validation images, between `low` and `high`.

    `kept` is "tuned", or "head alone" where tuning all depths had not made it better.
    """

    model: str
    report: str
    metric: str
    value: float
    low: float
    high: float
    validated_on: int
    epochs: int
    kept: str
    baselines: dict[str, float]
    seconds: float


@dataclass
class Record:
    """What a run's folder tells. `plan` and `head_accuracy`, of the head alone, are None until they are known.

    `done` says that the model file is there, and `outcome` what came of it.
    """

    config: RunConfig
    plan: Plan | None = None
    head_accuracy: float | None = None
    baselines: dict[str, float] = field(default_factory=dict[str, float])
    done: bool = False
    outcome: Outcome | None = None

    def write(self) -> None:
        """Write it, whole or not at all."""
        tree = {
            "version": _VERSION,
            "asked": asdict(self.config),
            "plan": {} if self.plan is None else asdict(self.plan),
            "probe": {} if self.head_accuracy is None else {"accuracy": self.head_accuracy},
            "baselines": self.baselines,
            "done": self.done,
            "outcome": {} if self.outcome is None else asdict(self.outcome),
        }
        text = json.dumps(tree, indent=2)
        write_whole(self.config.run_folder / _NAME, text.encode(), mark=_RECORD, force=None)


def read_record(folder: str | os.PathLike[str]) -> Record:
    """What was written. Raises `MissingFileError` where there is no run, `DataError` for a file that is none's."""
    file = Path(folder) / _NAME
    if not file.is_file():
        raise MissingFileError(
            f"{folder} is no folder of a run: there is no {_NAME} in it", try_="plainlearn train FOLDER"
        )
    try:
        tree: Any = json.loads(file.read_text("utf-8"))
        if not isinstance(tree, dict):
            raise ValueError("it holds no object")
        given = cast("dict[str, Any]", tree)
        version = given.pop("version", None)
        if version != _VERSION:
            raise ValueError(f"its version is {version}; this plainlearn reads {_VERSION}")
        config, plan, probe, outcome = (given.pop(name) for name in ("asked", "plan", "probe", "outcome"))
        return Record(
            RunConfig(**config),
            plan=Plan(**plan) if plan else None,
            head_accuracy=probe["accuracy"] if probe else None,
            outcome=Outcome(**outcome) if outcome else None,
            **given,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file} cannot be used: {error}", try_="a new run, without --resume") from error


def check_folder(config: RunConfig) -> OwnFolder:
    """What is ours of the run's folder by now. Changes nothing; raises `StorageError` for a folder of the user's own."""
    return check_claimable(config.run_folder, (_NAME, _LOCK, *_WEIGHTS), other=_other(config), older=_OLDER)


def remove_weights(config: RunConfig) -> None:
    """The weights that a run needs only until its model file is there."""
    check_folder(config).remove(_WEIGHTS)


@contextmanager
def locked_folder(config: RunConfig) -> Generator[None]:
    """The run's folder, made and kept for this process. Raises `DataError` when another one is at it."""
    from filelock import FileLock, Timeout

    folder = claim(config.run_folder, (_NAME, _LOCK, *_WEIGHTS), other=_other(config), older=_OLDER)
    lock = FileLock(config.run_folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:  # an OSError too
        raise DataError(
            f"another process is training {config.out} right now", try_="waiting for it, or another --out"
        ) from error
    except OSError as error:
        raise StorageError(
            f"{config.run_folder} cannot be made or written: {error.strerror}", try_=_other(config)
        ) from error
    try:
        yield
    finally:
        lock.release()
        if not (config.run_folder / _NAME).exists():  # nothing came of it
            folder.remove()


def _other(config: RunConfig) -> str:
    return f"--out with another name than {Path(config.out).name}, or moving that folder away"
