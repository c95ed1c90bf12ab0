"""The model in service: one file's, until the file is another; then the next one's, and no request notices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from plainlearn.app.batcher import Batcher, Budget
from plainlearn.app.limits import Limits
from plainlearn.app.monitoring import ServerMetrics, log
from plainlearn.app.served import ScoredPrediction, ServedModel, load_model
from plainlearn.core.errors import DataError, PlainlearnError
from plainlearn.images.decode import decoding_cost
from plainlearn.images.files import EncodedImage
from plainlearn.images.load import image_size

__all__ = ["Service"]

_TURNED: Final = 6  # any of EXIF's orientations that needs a second copy
Answers = Batcher[EncodedImage, Any, ScoredPrediction]


@dataclass(frozen=True)
class _InUse:
    model: ServedModel
    answers: Answers
    since: datetime


class Service:
    """Answers for the model in `file`, and looks after the file.

    `problem` is what is wrong with the file that is there now, if it could not take the place of the one in use.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        limits: Limits,
        metrics: ServerMetrics,
        *,
        load: Callable[[str | os.PathLike[str]], ServedModel] = load_model,
    ) -> None:
        self.file, self._limits, self._metrics, self._load = file, limits, metrics, load
        self._budget = Budget(limits.pixels)
        self._seen = _signature(file)
        self._in_use = self._made(load(file))
        self._reloading = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self.problem: str | None = None

    @property
    def model(self) -> ServedModel:
        """The model that answers now."""
        return self._in_use.model

    @property
    def since(self) -> datetime:
        """When it came into service."""
        return self._in_use.since

    @property
    def inside(self) -> int:
        """How many images are being read, wait, or are being answered."""
        return self._in_use.answers.inside

    @property
    def waiting(self) -> int:
        """How many are read and wait for a run."""
        return self._in_use.answers.waiting

    def room_for(self, count: int) -> bool:
        """Whether so many more images may come in."""
        return self._in_use.answers.room_for(count)

    async def ask(self, images: Sequence[bytes]) -> tuple[ServedModel, list[ScoredPrediction | Exception]]:
        """What the model says of each, and which model; an error stands in the place of its image. Raises `Full`."""
        in_use = self._in_use  # the whole request is answered by one model
        return in_use.model, await in_use.answers.ask([EncodedImage(each) for each in images])

    async def reload(self) -> str | None:
        """Look at the file again, and put its model into service if it is sound. Returns what is wrong, if anything."""
        async with self._reloading:
            self._seen = _signature(self.file)
            try:
                made = self._made(await asyncio.to_thread(self._load, self.file))
            except PlainlearnError as error:
                self.problem = error.what
            except Exception as error:  # noqa: BLE001 - the old model goes on answering
                log().exception("the model file cannot be loaded")
                self.problem = f"the model file cannot be loaded: {error}"
            else:
                self.problem = None
                old, self._in_use = self._in_use, made
                leaving = asyncio.create_task(old.answers.close())
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
        self._metrics.reloads.labels("loaded" if self.problem is None else "refused").inc()
        if self.problem is None:
            log().warning("%s is in service (%s)", self.model.name, self.model.digest)
        else:
            log().error("%s stays in service (%s): %s", self.model.name, self.model.digest, self.problem)
        return self.problem

    async def watch(self, every_seconds: float = 2.0) -> None:
        """Reload when the file has become another, once it has stayed the same from one look to the next."""
        before = self._seen
        while True:
            await asyncio.sleep(every_seconds)
            now = await asyncio.to_thread(_signature, self.file)
            if now != self._seen and now == before:
                await self.reload()
            before = now

    async def close(self) -> None:
        """Wait for all that is being answered."""
        await self._in_use.answers.close()
        await asyncio.gather(*self._leaving)

    def _made(self, model: ServedModel) -> _InUse:
        answers = Answers(
            model.read, model.judged, alone=model.judged_alone, lanes=model.lanes,
            most=self._limits.batch, room=self._limits.inside,
            weigh=self._weight, budget=self._budget, on_run=self._metrics.on_run,
        )  # fmt: skip
        return _InUse(model, answers, datetime.now(UTC))

    def _weight(self, image: EncodedImage) -> int:
        """The memory that decoding a picture and keeping its pixels takes at most, by its header."""
        width, height = image_size(image)
        cost = decoding_cost(image.kind or "", "RGB", grey=False, orientation=_TURNED)
        if (weight := int(width * height * cost)) > self._budget.units:
            most = int(self._budget.units / cost)
            raise DataError(
                f"it has {width:,}×{height:,} pixels; of its kind, the server takes up to {most:,}"
            )
        return weight


def _signature(file: str | os.PathLike[str]) -> tuple[int, ...]:
    """Changes when the file does."""
    try:
        found = os.stat(file)  # noqa: PTH116 - of a str too
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
