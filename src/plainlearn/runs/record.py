"""The folder of a run: what was asked, planned and reached, as JSON, so that another process can go on with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, cast

from plainlearn.core.errors import DataError, MissingFileError, StorageError
from plainlearn.core.paths import Path
from plainlearn.core.wholefile import whole_file
from plainlearn.runs.config import RunConfig

__all__ = ["Record", "held", "read_record"]

_VERSION: Final = 1
_NAME: Final = "run.json"


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
        text = json.dumps({"version": _VERSION, **asdict(self)}, indent=2).encode()
        with whole_file(self.asked.beside / _NAME, len(text)) as out:
            out.write(text)


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


@contextmanager
def held(asked: RunConfig) -> Generator[None]:
    """The run's folder, made and kept for this process. Raises `DataError` when another one is at it."""
    from filelock import FileLock, Timeout

    folder = asked.beside
    lock = FileLock(folder / "lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:  # an OSError too
        raise DataError(
            f"another process is training {asked.out} right now", try_="waiting for it, or another --out"
        ) from error
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be made or written: {error.strerror}", try_="--out in a folder of your own"
        ) from error
    try:
        yield
    finally:
        lock.release()
        if not (folder / _NAME).exists():  # nothing came of it
            shutil.rmtree(folder, ignore_errors=True)
