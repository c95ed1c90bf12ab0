"""The model in service: a file's, made ready to answer; until the file is another, then the next one's, and no request notices."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast

from plainlearn.app.batcher import Batcher, Budget
from plainlearn.app.limits import Limits
from plainlearn.app.monitoring import ServerMetrics, log
from plainlearn.core.errors import DataError, PlainlearnError, StorageError
from plainlearn.images.decode import decoding_cost, image_size
from plainlearn.images.files import EncodedImage
from plainlearn.inference.model_card import facts_of
from plainlearn.inference.modelfile import read_model_arrays
from plainlearn.inference.onnx_predictor import QuickPredictor, load_predictor
from plainlearn.inference.prediction import UNKNOWN, Prediction

__all__ = ["Predicts", "ScoredPrediction", "ServedModel", "Service", "load_model"]

_NESTED: Final = 100_000  # numbers in one answer; a mask of 224 pixels a side has half as many
_TURNED: Final = 6  # any of EXIF's orientations that needs a second copy


class Predicts(Protocol):
    """What is asked of a predictor; `inference.prediction` says more."""

    @property
    def vocab(self) -> Sequence[Any] | None: ...
    def read(self, item: bytes | EncodedImage) -> Any: ...
    def judged(self, samples: Sequence[Any]) -> tuple[list[Prediction], Any]: ...


class ScoredPrediction(NamedTuple):
    """An answer, and how unlike the input is to what the model learned from, where that is known."""

    prediction: Prediction
    score: float | None


@dataclass(frozen=True)
class ServedModel:
    """A predictor and what is told of it. `digest` begins the SHA-256 of its file: it tells which file answered.

    `narrow` says the same as `predictor` and keeps to one core, so that `lanes` runs of it go on side by side without
    waiting for each other: on a CPU that answers more in all than one run on all cores, which one alone likes better.
    """

    predictor: Predicts
    name: str
    digest: str
    facts: Mapping[str, Any]
    unlike_above: float | None = None
    narrow: Predicts | None = None
    lanes: int = 1

    def read(self, data: bytes | EncodedImage) -> Any:
        """An image's bytes decoded; from any thread. What cannot be read is a `DataError`."""
        assert isinstance(
            data, (bytes, EncodedImage)
        )  # a str would be taken for a path or an address, and opened
        return self.predictor.read(data)

    def judged(self, samples: list[Any]) -> list[ScoredPrediction]:
        """One run of the network for all of them, one of several at a time."""
        return _judged(self.narrow or self.predictor, samples)

    def judged_alone(self, samples: list[Any]) -> list[ScoredPrediction]:
        """The same on all cores."""
        return _judged(self.predictor, samples)

    def strange(self, score: float | None) -> bool:
        """Whether an input with this score is unlike what the model learned from."""
        return score is not None and self.unlike_above is not None and score > self.unlike_above

    def shown(self, judged: ScoredPrediction, *, top: int, unknown: bool) -> dict[str, Any]:
        """An answer as JSON has it: the label, the most probable ones, and how unlike the input is."""
        prediction, score = judged
        values = _flat(prediction.probabilities)
        labels = [] if self.predictor.vocab is None else [_plain(label) for label in self.predictor.vocab]
        index = _plain(prediction.index)
        answer: dict[str, Any] = {"label": _plain(prediction.label), "index": None, "probability": None}
        if labels and len(labels) == len(values):
            best = heapq.nlargest(top, range(len(values)), key=values.__getitem__)
            answer["probabilities"] = [
                {"label": labels[place], "probability": round(values[place], 6)} for place in best
            ]
            if isinstance(index, int):
                answer |= {"index": index, "probability": round(values[index], 6)}
        else:
            answer["probabilities"] = []
        if score is None or self.unlike_above is None:
            answer["unlike"] = None
        else:
            strange = self.strange(score)
            answer["unlike"] = {
                "score": round(score, 4), "limit": round(self.unlike_above, 4), "strange": strange
            }  # fmt: skip
            if strange and unknown:
                answer |= {"label": UNKNOWN, "index": -1}
        return answer


def _judged(predictor: Predicts, samples: list[Any]) -> list[ScoredPrediction]:
    predictions, scores = predictor.judged(samples)
    unlike: list[float | None] = [None] * len(predictions) if scores is None else scores.tolist()
    return [ScoredPrediction(*pair) for pair in zip(predictions, unlike, strict=True)]


def load_model(file: str | os.PathLike[str]) -> ServedModel:
    """The model of a file, after it has answered a first picture.

    Raises `MissingFileError`, `StorageError` or `DataError`, naming the file, for what cannot be used.
    """
    path = Path(file)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else ""
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    content = read_model_arrays(path)
    predictor, narrow, lanes = load_predictor(path), None, 1
    if isinstance(predictor, QuickPredictor):
        narrow, lanes = QuickPredictor.of(content, path, threads=1), _cores()
    model = ServedModel(
        predictor, path.name, digest, facts_of(content), content.output_spec.ood_above, narrow, lanes
    )
    _try(model, path)
    return model


def _try(model: ServedModel, path: Path) -> None:
    """One grey picture, for a file that is sound may still hold weights that answer nothing; and the first run is slow."""
    blocks = cast("Sequence[Mapping[str, Any]]", model.facts["pipeline"]["blocks"])
    if len(blocks) != 1:
        raise DataError(f"{path} takes {len(blocks)} inputs at a time, and the server knows one picture")
    if blocks[0].get("mode") not in ("RGB", "L"):
        return  # of other channels no picture can be made up
    sample = model.read(_grey())
    found = (*model.judged([sample]), *model.judged_alone([sample]))
    if not all(math.isfinite(value) for judged in found for value in _flat(judged.prediction.probabilities)):
        raise DataError(
            f"{path} answers a grey picture with nan: its weights are not those of a model that learned"
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _grey() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (64, 48), (128, 128, 128)).save(out, "PNG")
    return out.getvalue()


def _flat(values: Any) -> list[float]:
    return cast("list[float]", values.flatten().tolist())


def _plain(value: Any) -> Any:
    """A label, or anything a target decodes to, as JSON has it."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in cast("Sequence[Any]", value)]
    listed: Callable[[], Any] | None = getattr(value, "tolist", None)
    if listed is None:
        return str(value)
    if getattr(value, "size", 0) and _count(value) > _NESTED:
        raise DataError(
            f"an answer of {_count(value):,} numbers is too long for the server; {_NESTED:,} are the most"
        )
    return listed()


def _count(value: Any) -> int:
    return int(value.numel() if hasattr(value, "numel") else value.size)


# ---------------------------------------------------------------- in service


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
