"""What a prediction is, and how one, several or a stream are made by whatever can read an item and answer. No torch here."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from plainlearn.core.errors import ArgumentError, PlainlearnError
from plainlearn.core.lists import L
from plainlearn.inference.drift import Drift
from plainlearn.inference.output_spec import OutputSpec

__all__ = ["UNKNOWN", "AnyPredictor", "Prediction", "ood_flags"]

#: The label of what is unlike anything that the model learned from, when `unknown=True` asks for it; its index is -1.
UNKNOWN: Final = "unknown"

S = TypeVar("S")  # an item that is read
V = TypeVar("V")  # numbers: a tensor, or an array


class Prediction(NamedTuple):
    """An answer, as in the course: for classes the label, its number and the probability of each class.

    The numbers are tensors or numpy arrays, as what predicted has them; both have `tolist()`.
    """

    label: Any
    index: Any  # pyright: ignore[reportIncompatibleMethodOverride] (it is the course's word)
    probabilities: Any


class AnyPredictor(ABC, Generic[S, V]):
    """Predicts from pictures as they come: a path, an address, bytes, a Pillow image, an array.

    It is not changed by predicting, so threads may share it. `card` is what the model file says of itself,
    `output_spec` what the model's outputs mean.
    """

    card: dict[str, Any]
    output_spec: OutputSpec

    @property
    @abstractmethod
    def vocab(self) -> L[Any] | None:
        """The labels, in the order of the probabilities; None of a target that has none."""

    @abstractmethod
    def read(self, item: Any) -> S:
        """An item opened and decoded, as `answer` takes it. Threads may read while another answers.

        Raises `DataError` for what cannot be read, `MissingFileError` for a file that is not there.
        """

    @abstractmethod
    def judged(self, samples: Sequence[S], *, unknown: bool = False) -> tuple[list[Prediction], V | None]:
        """`answer`, and how far each is from what the model learned, (B,); None where that is not known."""

    def answer(self, samples: Sequence[S], *, unknown: bool = False) -> list[Prediction]:
        """A prediction for each of these, which `read` made, by one run of the model."""
        return self.judged(samples, unknown=unknown)[0]

    def drift(self, items: Iterable[Any] = (), *, window: int = 1000) -> Drift:
        """What tells whether inputs are still like those of validation: its `report`, on `items` and all that it is
        updated with. Raises `ArgumentError` for a model file that does not say what is usual.
        """
        follower, rest = Drift(self.card, self.vocab or (), window=window), iter(items)
        while batch := list(islice(rest, 16)):
            answers, scores = self.judged([self.read(item) for item in batch])
            for row, answer in enumerate(answers):
                follower.update(answer, None if scores is None else cast(Any, scores)[row])
        return follower

    def predict(self, item: Any, *, unknown: bool = False) -> Prediction:
        """`(label, index, probabilities)` for one item.

        `unknown=True` answers `"unknown"`, index -1, for an input unlike what the model learned from. Raises `DataError`
        for what cannot be read, `MissingFileError` for a file that is not there.
        """
        return self.answer([self.read(item)], unknown=unknown)[0]

    def predict_batch(self, items: Sequence[Any], *, unknown: bool = False) -> list[Prediction]:
        """A prediction for each item, all at once."""
        return self.answer([self.read(item) for item in items], unknown=unknown)

    def predict_many(
        self, items: Iterable[Any], *, bs: int = 16, unknown: bool = False, threads: int | None = None
    ) -> Generator[Prediction]:
        """Predictions for any number of items, in their order, as they are made; the next batches are read meanwhile.

        At most two batches wait. An item that cannot be read raises when its turn comes.
        """
        for answer in self.try_many(items, bs=bs, unknown=unknown, threads=threads):
            if isinstance(answer, PlainlearnError):
                raise answer
            yield answer

    def try_many(
        self, items: Iterable[Any], *, bs: int = 16, unknown: bool = False, threads: int | None = None
    ) -> Generator[Prediction | PlainlearnError]:
        """The same, with the error of an item that cannot be read in its place; the others are answered."""
        if bs < 1:
            raise ArgumentError(f"bs is {bs}; expected 1 or more")
        rest = iter(items)
        workers = min(8, os.cpu_count() or 1) if threads is None else max(threads, 1)
        waiting: deque[list[Future[S]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            try:
                while True:
                    while len(waiting) < 3 and (batch := list(islice(rest, bs))):
                        waiting.append([pool.submit(self.read, item) for item in batch])
                    if not waiting:
                        return
                    read = [_tried(each) for each in waiting.popleft()]
                    samples = [each for each in read if not isinstance(each, PlainlearnError)]
                    answers = iter(self.answer(samples, unknown=unknown) if samples else ())
                    for each in read:
                        yield each if isinstance(each, PlainlearnError) else next(answers)
            finally:
                for batch in waiting:
                    for each in batch:
                        each.cancel()


def _tried(future: Future[S]) -> S | PlainlearnError:
    try:
        return future.result()
    except PlainlearnError as error:
        return error


def ood_flags(scores: Any, output_spec: OutputSpec, count: int, *, unknown: bool) -> list[bool]:
    """Which of so many inputs to answer by `UNKNOWN`. Raises `ArgumentError` where that is asked and cannot be told."""
    if not unknown:
        return [False] * count
    if output_spec.ood_above is None or scores is None:
        raise ArgumentError(
            "this model does not know what inputs are unlike its own, so it cannot answer `unknown`",
            try_="exporting it again, with a class for each item",
        )
    return cast("list[bool]", (scores > output_spec.ood_above).tolist())
