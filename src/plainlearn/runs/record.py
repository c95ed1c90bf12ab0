"""The folder of a run: what was asked, planned and reached, as JSON, so that another process can go on with it."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, cast

from plainlearn.core.errors import DataError, MissingFileError, StorageError
from plainlearn.core.own_folder import OwnFolder, check_claimable, claim
from plainlearn.core.paths import Path
from plainlearn.core.tensorfile import TENSORFILE
from plainlearn.core.wholefile import Mark, write_whole
from plainlearn.runs.config import RunConfig

__all__ = ["PROBE", "Record", "check_folder", "held", "read_record", "remove_weights"]

_VERSION: Final = 1
_NAME: Final = "run.json"
_RECORD: Final = Mark(b'"version": ', within=16)
_LOCK: Final = "lock"
#: The weights of the head alone; a run has at most two phases, each with a checkpoint of its own.
PROBE: Final = "probe"
_WEIGHTS: Final = tuple(f"models/{name}.safetensors" for name in (PROBE, "checkpoint-1", "checkpoint-2"))
#: What runs left before their folders had a marker.
_OLDER: Final = {_NAME: _RECORD, _LOCK: Mark(b"\0"), "models/*.safetensors": TENSORFILE}


@dataclass
class Record:
    """What a run's folder tells. `plan` and `probe` are empty until they are known; `done` when the model file is there."""

    asked: RunConfig
    plan: dict[str, Any] = field(default_factory=dict[str, Any])
    probe: dict[str, Any] = field(default_factory=dict[str, Any])
    baselines: dict[str, float] = field(default_factory=dict[str, float])
    done: bool = False
    outcome: dict[str, Any] = field(default_factory=dict[str, Any])

    def write(self) -> None:
        """Write it, whole or not at all."""
        text = json.dumps({"version": _VERSION, **asdict(self)}, indent=2)
        write_whole(self.asked.beside / _NAME, text.encode(), mark=_RECORD, force=None)


def read_record(folder: Path) -> Record:
    """What was written. Raises `MissingFileError` where there is no run, `DataError` for a file that is none's."""
    file = folder / _NAME
    if not file.is_file():
        raise MissingFileError(
            f"{folder} is no folder of a run: there is no {_NAME} in it", try_="plainlearn train FOLDER"
        )
    try:
        told: Any = json.loads(file.read_text("utf-8"))
        if not isinstance(told, dict):
            raise ValueError("it holds no object")
        given = cast("dict[str, Any]", told)
        version = given.pop("version", None)
        if version != _VERSION:
            raise ValueError(f"its version is {version}; this plainlearn reads {_VERSION}")
        known = {each.name for each in fields(Record)}
        if not set(given) <= known:
            raise ValueError(f"it has {', '.join(sorted(set(given) - known))}")
        asked = RunConfig(**given.pop("asked"))
        return Record(asked, **given)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file} cannot be used: {error}", try_="a new run, without --resume") from error


def check_folder(asked: RunConfig) -> OwnFolder:
    """What is ours of the run's folder by now. Changes nothing; raises `StorageError` for a folder of the user's own."""
    return check_claimable(asked.beside, (_NAME, _LOCK, *_WEIGHTS), other=_other(asked), older=_OLDER)


def remove_weights(asked: RunConfig) -> None:
    """The weights that a run needs only until its model file is there."""
    check_folder(asked).remove(_WEIGHTS)


@contextmanager
def held(asked: RunConfig) -> Generator[None]:
    """The run's folder, made and kept for this process. Raises `DataError` when another one is at it."""
    from filelock import FileLock, Timeout

    folder = claim(asked.beside, (_NAME, _LOCK, *_WEIGHTS), other=_other(asked), older=_OLDER)
    lock = FileLock(asked.beside / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:  # an OSError too
        raise DataError(
            f"another process is training {asked.out} right now", try_="waiting for it, or another --out"
        ) from error
    except OSError as error:
        raise StorageError(
            f"{asked.beside} cannot be made or written: {error.strerror}", try_=_other(asked)
        ) from error
    try:
        yield
    finally:
        lock.release()
        if not (asked.beside / _NAME).exists():  # nothing came of it
            folder.remove()


def _other(asked: RunConfig) -> str:
    return f"--out with another name than {Path(asked.out).name}, or moving that folder away"
