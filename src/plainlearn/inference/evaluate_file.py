"""Evaluate a model file on labelled pictures: by its predictor alone, without the code that trained it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor

from plainlearn.core.errors import DataError, PlainlearnError
from plainlearn.data.labelled_items import LabelledItems
from plainlearn.data.target_specs import CategorySpec, MultiCategorySpec, RegressionSpec, TargetSpec
from plainlearn.inference.prediction import Prediction
from plainlearn.inference.predictor import Predictor
from plainlearn.metrics.evaluation import Evaluation, of_classes, of_labels, of_numbers

__all__ = ["evaluated", "judged_items"]

_BATCH = 16


def evaluated(predictor: Predictor, found: LabelledItems, *, model: str = "the model") -> Evaluation:
    """What the predictor is worth on these items. Files that cannot be read are left out, and named in `left_out`.

    Of items with sides, those of "test" count, or else those of "valid": a model has seen the others.
    Raises `DataError` for a label that the model does not know, naming it and the nearest known, for a target that
    is neither classes, labels nor numbers, and where no item can be read.
    """
    held_out, note = _held_out(found)
    target = predictor.target
    targets = _encoded(target, held_out.labels)
    places: list[int] = []
    rows: list[Tensor] = []
    scores: list[Tensor] = []
    left_out: list[tuple[str, str]] = []
    for place, answer, score in judged_items(predictor, held_out.items):
        if isinstance(answer, PlainlearnError):
            left_out.append((str(held_out.items[place]), answer.what))
            continue
        places.append(place)
        rows.append(answer.probabilities.float())
        if score is not None:
            scores.append(score)
    if not places:
        raise DataError(
            f"none of the {len(held_out)} images can be read; the first is {left_out[0][0]}: {left_out[0][1]}"
        )
    values, aimed, limit = (
        torch.stack(rows),
        torch.stack([targets[place] for place in places]),
        predictor.output_spec.ood_above,
    )
    out_of_distribution = int((torch.stack(scores) > limit).sum()) if scores and limit is not None else None
    about: dict[str, Any] = {
        "left_out": tuple(left_out),
        "model": model,
        "source": held_out.source,
        "notes": note,
    }
    if isinstance(target, CategorySpec):
        missing = [label for number, label in enumerate(target.labels) if not bool((aimed == number).any())]
        if missing:
            about["notes"] = (
                *note,
                f"of {len(missing)} labels there is no image here: {', '.join(map(str, missing[:8]))}",
            )
        return of_classes(values, aimed, target.labels, ood=out_of_distribution, **about)
    if isinstance(target, MultiCategorySpec):
        return of_labels(values, aimed, target.labels, predictor.output_spec.threshold, **about)
    return of_numbers(values.reshape(aimed.shape), aimed, **about)


def judged_items(
    predictor: Predictor, items: Sequence[Any], *, threads: int | None = None
) -> Generator[tuple[int, Prediction | PlainlearnError, Tensor | None]]:
    """`(place, prediction, how unlike)` for each item, in no fixed order; the error in place of what cannot be read.

    At most two batches wait, read by threads.
    """
    workers = min(8, os.cpu_count() or 1) if threads is None else max(threads, 1)
    rest = enumerate(items)
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[list[tuple[int, Future[Any]]]] = []
        while True:
            while len(waiting) < 2 and (batch := list(islice(rest, _BATCH))):
                waiting.append([(place, pool.submit(predictor.read, item)) for place, item in batch])
            if not waiting:
                return
            good: list[tuple[int, Any]] = []
            for place, future in waiting.pop(0):
                error = future.exception()
                if isinstance(error, PlainlearnError):
                    yield place, error, None
                else:
                    good.append((place, future.result()))
            if good:
                answers, scores = predictor.judged([sample for _, sample in good])
                for row, (place, _) in enumerate(good):
                    yield place, answers[row], None if scores is None else scores[row]


def _held_out(found: LabelledItems) -> tuple[LabelledItems, tuple[str, ...]]:
    for side in ("test", "valid"):
        some = found.on(side)
        if some and len(some) < len(found):
            others = len(found) - len(some)
            return some, (
                f"these are the {side} images; {others} others were left alone, name their folder to evaluate on them",
            )
    return found, ()


def _encoded(target: TargetSpec, labels: Sequence[Any]) -> list[Tensor]:
    """The labels as the model's target has them; those of folders and tables are text, its own may be numbers."""
    if isinstance(target, RegressionSpec):
        return [torch.as_tensor(target.encode(_numbers(label))) for label in labels]
    if not isinstance(target, (CategorySpec, MultiCategorySpec)):
        name = type(target).__name__.removesuffix("Spec")
        raise DataError(f"the model's target is {name}; evaluate takes classes, several labels, or numbers")
    by_text = {str(label): label for label in cast("Sequence[Any]", target.labels)}
    several = isinstance(target, MultiCategorySpec)
    lists = [_listed(label) if several else [label] for label in labels]
    unknown = [label for listed in lists for label in listed if str(label) not in by_text]
    if unknown:
        _refuse(unknown, list(by_text), len(labels), several=several)
    known = [[by_text[str(label)] for label in listed] for listed in lists]
    return [torch.as_tensor(target.encode(listed if several else listed[0])) for listed in known]


def _refuse(unknown: Sequence[Any], known: Sequence[str], count: int, *, several: bool) -> None:
    kinds = list(dict.fromkeys(map(str, unknown)))
    folded = {label.casefold(): label for label in known}
    nearest = difflib.get_close_matches(kinds[0].casefold(), folded, n=1)
    told = ", ".join(map(repr, kinds[:5])) + (", …" if len(kinds) > 5 else "")
    raise DataError(
        f"the model does not know the label{'s' if len(kinds) > 1 else ''} {told}, of {len(unknown)} in {count} images; it knows "
        f"{len(known)}: {', '.join(map(repr, known[:10]))}{', …' if len(known) > 10 else ''}"
        + (f"; the nearest to {kinds[0]!r} is {folded[nearest[0]]!r}" if nearest else ""),
        try_="--label-delim for cells of several labels, or --labels" if several
        else "--labels with a table, or a pattern of the names, if these are no labels; or renaming them",
    )  # fmt: skip


def _listed(label: Any) -> list[Any]:
    return cast("list[Any]", label) if isinstance(label, list) else [label]


def _numbers(label: Any) -> Any:
    try:
        return [float(each) for each in label] if isinstance(label, list) else float(label)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    except ValueError as error:
        raise DataError(f"the label {label!r} is no number, and the model's answers are numbers") from error
