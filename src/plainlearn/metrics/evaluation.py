"""How well answers fit the truth, with how sure that is: numbers from probabilities and targets, for people and programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, cast

import torch
from torch import Tensor

from plainlearn.core.describe import on_one_line
from plainlearn.core.errors import ArgumentError
from plainlearn.metrics.calibration import SURE, calibration_error, sure_answers, yes_no_calibration_error
from plainlearn.metrics.functions import accuracy, error_rate
from plainlearn.metrics.meter import Average, Meter

__all__ = [
    "Confused",
    "Evaluation",
    "LabelRow",
    "Measured",
    "bootstrapped",
    "confusion_table",
    "measured",
    "of_classes",
    "of_labels",
    "of_numbers",
    "sure_text",
    "wilson",
    "worst_errors",
]

_MOST_ROWS: Final = 40
_MOST_PAIRS: Final = 10
_FEW_NUMBERS: Final = 2_000_000
_Z: Final = 1.959964  # 95% of a normal distribution lie within so many standard deviations
_DRAWS: Final = 200


class Measured(NamedTuple):
    """A metric, and between which values it lies with 95% confidence, where that can be told."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


class LabelRow(NamedTuple):
    """One label: how many items have it, how many of them were given it, and how many were given it in all."""

    label: str
    items: int
    right: int
    said: int


class Confused(NamedTuple):
    """How many items with the label `true` were given the label `said`."""

    true: str
    said: str
    items: int


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on some labelled items.

    `usual` is what the simplest answer would reach. `calibration_error` is the expected one, 0..1; of the answers that
    are `SURE`, `sure` in number, `sure_right` are right. `ood` items are unlike what the model learned from.
    """

    kind: Literal["classes", "labels", "numbers"]
    items: int
    metrics: tuple[Measured, ...]
    usual: Measured
    rows: tuple[LabelRow, ...] = ()
    confused: tuple[Confused, ...] = ()
    calibration_error: float | None = None
    sure: int = 0
    sure_right: int = 0
    ood: int | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    model: str = ""
    source: str = ""
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """The same as data for other programs; shares are 0..1."""
        return {
            "model": self.model,
            "source": self.source,
            "items": self.items,
            "metrics": [each._asdict() for each in self.metrics],
            "simplest_answer": self.usual._asdict(),
            "labels": [row._asdict() for row in self.rows],
            "confused": [pair._asdict() for pair in self.confused],
            "calibration_error": self.calibration_error,
            "sure": {"above": SURE, "items": self.sure, "right": self.sure_right},
            "unlike": self.ood,
            "left_out": [{"item": item, "reason": reason} for item, reason in self.left_out],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return "\n".join(_text(self))


def of_classes(probabilities: Tensor, targets: Tensor, vocab: Sequence[Any], **about: Any) -> Evaluation:
    """Of one class among several: `probabilities` (N, K), `targets` (N,) class numbers; `about` goes to `Evaluation`."""
    count, names = len(targets), [str(label) for label in vocab]
    said = probabilities.argmax(dim=1)
    sure, right = sure_answers(probabilities, targets)

    def balanced(rows: Tensor) -> float:
        there, hits = (
            torch.bincount(targets[rows], given, len(names)) for given in (None, right[rows].double())
        )
        return float((hits[there > 0] / there[there > 0]).mean())

    share = float(right.double().mean())
    metrics = [Measured("accuracy", share, *wilson(share, count))]
    metrics.append(Measured("balanced accuracy", balanced(torch.arange(count)), *_limits(balanced, count)))
    if len(names) > 5:
        among = (probabilities.topk(5, dim=1).indices == targets[:, None]).any(dim=1)
        near = float(among.double().mean())
        metrics.append(Measured("among the first five", near, *wilson(near, count)))
    table = confusion_table(said, targets, len(names))
    there = table.sum(dim=1)
    commonest = int(there.argmax())
    return Evaluation(
        "classes", count, tuple(metrics),
        Measured(f"always {names[commonest]}", float(there[commonest]) / count),
        _rows(names, there, table.diagonal(), table.sum(dim=0)), _pairs(names, table),
        calibration_error(probabilities, targets), int(sure.sum()), int((right & sure).sum()), **about,
    )  # fmt: skip


def of_labels(
    probabilities: Tensor, targets: Tensor, vocab: Sequence[Any], threshold: float = 0.5, **about: Any
) -> Evaluation:
    """Of any number of labels: `probabilities` and `targets`, zeros and ones, are (N, K)."""
    count, names = len(targets), [str(label) for label in vocab]
    truth, said = targets.bool(), probabilities > threshold

    def f1(rows: Tensor) -> float:
        hits = float((truth[rows] & said[rows]).sum())
        return 2 * hits / max(1.0, float(truth[rows].sum() + said[rows].sum()))

    whole = float((truth == said).all(dim=1).double().mean())
    each = (truth == said).double().mean(dim=1)

    def single(rows: Tensor) -> float:
        return float(each[rows].mean())

    metrics = (
        Measured("F1", f1(torch.arange(count)), *_limits(f1, count)),
        Measured("all labels right", whole, *wilson(whole, count)),
        Measured("single answers right", single(torch.arange(count)), *_limits(single, count)),
    )  # fmt: skip
    sure, right = sure_answers(probabilities, targets)
    there = truth.sum(dim=0)
    always = (there > count / 2).expand_as(truth)
    return Evaluation(
        "labels", count, metrics,
        Measured("always the labels of most, single answers right", float((always == truth).double().mean())),
        _rows(names, there, (truth & said).sum(dim=0), said.sum(dim=0)), (),
        yes_no_calibration_error(probabilities, targets),
        int(sure.sum()), int((sure & right).sum()), **about,
    )  # fmt: skip


def of_numbers(values: Tensor, targets: Tensor, **about: Any) -> Evaluation:
    """Of numbers: both are (N,) or (N, D); errors are in units of the target."""
    gaps = (values - targets).double().flatten(1) if values.ndim > 1 else (values - targets).double()[:, None]
    spread = (targets - targets.mean(dim=0)).double().reshape(len(targets), -1)

    def rmse(rows: Tensor) -> float:
        return float(gaps[rows].square().mean().sqrt())

    def mae(rows: Tensor) -> float:
        return float(gaps[rows].abs().mean())

    count, every = len(targets), torch.arange(len(targets))
    metrics = tuple(
        Measured(name, of(every), *_limits(of, count))
        for name, of in {"root of the mean squared error": rmse, "mean absolute error": mae}.items()
    )
    return Evaluation("numbers", count, metrics, Measured("always the mean, root of the mean squared error",
                      float(spread.square().mean().sqrt())), **about)  # fmt: skip


def confusion_table(answers: Tensor, targets: Tensor, classes: int) -> Tensor:
    """How many items of each class, a row, were given each, a column: (K, K) of class numbers (N,)."""
    table = torch.zeros(classes, classes, dtype=torch.long)
    ones = torch.ones(len(targets), dtype=torch.long)
    return table.index_put_((targets, answers), ones, accumulate=True)


def worst_errors(probabilities: Tensor, targets: Tensor) -> list[int]:
    """The places of the items that were given a wrong class, those first whose true one was thought the least likely."""
    of_truth = probabilities.gather(1, targets[:, None]).squeeze(1)
    wrong = probabilities.argmax(dim=1) != targets
    return [place for place in map(int, of_truth.argsort()) if wrong[place]]


def measured(meter: Meter, outputs: Any, targets: Any) -> Measured:
    """A metric on a whole set, and between which values it lies with 95% confidence, where that can be told."""
    fields = cast("tuple[Any, ...]", targets if isinstance(targets, tuple) else (targets,))
    value, limits = _value(meter, outputs, fields), None
    if getattr(meter, "function", None) in (accuracy, error_rate) and fields[0].ndim == 1:
        limits = wilson(value, len(fields[0]))
    elif isinstance(outputs, Tensor) and all(isinstance(field, Tensor) for field in fields):

        def value_of(rows: Tensor) -> float:
            return _value(meter, outputs[rows], tuple(field[rows] for field in fields))

        count = len(outputs)
        if outputs.numel() <= _FEW_NUMBERS:
            limits = bootstrapped(value_of, count)
        elif isinstance(
            meter, Average
        ):  # of maps, say: one by one, as drawing them again and again takes minutes
            single = torch.tensor([value_of(torch.tensor([row])) for row in range(count)])
            limits = bootstrapped(lambda rows: float(single[rows].mean()), count)
    return Measured(meter.name, value, *(limits or (None, None)))


def _value(meter: Meter, outputs: Any, targets: tuple[Any, ...]) -> float:
    meter.reset(torch.device("cpu"))
    meter.add(outputs, targets, len(targets[0]))
    return meter.value()


def _limits(value_of: Any, count: int) -> tuple[float, float] | tuple[None, None]:
    return bootstrapped(value_of, count) or (None, None)


def _rows(names: Sequence[str], there: Tensor, right: Tensor, said: Tensor) -> tuple[LabelRow, ...]:
    """A row for each label that is there or was said, the worst first."""
    columns = zip(names, *(map(int, column) for column in (there, right, said)), strict=True)
    rows = [LabelRow(*row) for row in columns if row[1] or row[3]]
    return tuple(sorted(rows, key=lambda row: (row.right / row.items if row.items else 0.0, -row.items)))


def _pairs(names: Sequence[str], table: Tensor) -> tuple[Confused, ...]:
    wrong = table.clone().fill_diagonal_(0).flatten()
    order = map(int, wrong.argsort(descending=True, stable=True)[:_MOST_PAIRS])
    pairs = [(names[place // len(names)], names[place % len(names)], int(wrong[place])) for place in order]
    return tuple(Confused(*pair) for pair in pairs if pair[2])


# ---- intervals


def wilson(share: float, count: int) -> tuple[float, float]:
    """Between which shares the true one lies, 95 times in 100, when `share` of `count` was seen.

    Raises `ArgumentError` for a count of zero, which says nothing.
    Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.

    >>> low, high = wilson(1.0, 10)
    >>> round(low, 2), round(high, 2)
    (0.72, 1.0)
    """
    if count < 1:
        raise ArgumentError("the share of no item is not known; expected 1 item or more")
    spread = _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def bootstrapped(value_of: Callable[[Tensor], float], count: int) -> tuple[float, float] | None:
    """The middle 95% of `value_of(rows)` over sets of `count` rows drawn with replacement; None if one is not finite.

    The draws are the same each time.
    Source: Efron 1979, Bootstrap Methods: Another Look at the Jackknife.
    """
    draws = torch.Generator().manual_seed(0)
    values = sorted(value_of(torch.randint(count, (count,), generator=draws)) for _ in range(_DRAWS))
    if not all(map(math.isfinite, values)):
        return None
    return values[round(0.025 * (_DRAWS - 1))], values[round(0.975 * (_DRAWS - 1))]


# ---- as text


def _text(of: Evaluation) -> list[str]:
    width = max(len(each.name) for each in (*of.metrics, of.usual))
    lines = [on_one_line(f"{of.model}: {of.items} items, {of.source}")]
    for each in (*of.metrics, of.usual):
        between = "" if each.low is None else f"  95% between {each.low:.3f} and {each.high:.3f}"
        lines.append(f"  {on_one_line(each.name):<{width}}  {each.value:.3f}{between}")
    if of.calibration_error is not None:
        lines += ["", "How sure it is", f"  calibration error {of.calibration_error:.3f}"]
        what = "answers" if of.kind == "classes" else "single answers, yes or no,"
        lines.append(f"  {sure_text(of.sure, of.sure_right, what)}")
    if of.ood is not None:
        lines.append(
            f"  {of.ood} of {of.items} are unlike what it learned from (of its own kind, about 1 in 50 is)"
        )
    lines += _table(of.rows, of.kind)
    if of.confused:
        lines += ["", "Most often confused"]
        lines += [on_one_line(f"  {each.items} × {each.true} taken for {each.said}") for each in of.confused]
    if of.left_out:
        lines += ["", f"Left out, as they cannot be read: {len(of.left_out)}"]
        lines += [
            on_one_line(f"  {reason if item in reason else f'{item}: {reason}'}")
            for item, reason in of.left_out
        ]
    return [*lines, *(["", *map(on_one_line, of.notes)] if of.notes else [])]


def sure_text(sure: int, right: int, what: str = "answers") -> str:
    """How far sure answers can be trusted, in a sentence."""
    if not sure:
        return f"No answer is more than {SURE:.0%} sure."
    low, high = wilson(right / sure, sure)
    return (
        f"{sure} {what} are more than {SURE:.0%} sure, and {right} of these are right "
        f"({right / sure:.1%}; 95% between {low:.1%} and {high:.1%})."
    )


def _table(rows: Sequence[LabelRow], kind: str) -> list[str]:
    if not rows:
        return []
    shown = rows[:_MOST_ROWS]
    width = max(5, *(len(on_one_line(row.label)) for row in shown))
    lines = [
        "",
        "By label, the worst first",
        f"  {'label':<{width}}  items  found  95% between   right when said",
    ]
    for row in shown:
        share = row.right / row.items if row.items else None
        found = "    –  " if share is None else f"{share:7.3f}"
        low, high = wilson(share, row.items) if share is not None else (None, None)
        between = "–            " if low is None or high is None else f"{low:.3f} – {high:.3f}"
        when_said = f"{row.right / row.said:.3f} of {row.said}" if row.said else "never said"
        lines.append(f"  {on_one_line(row.label):<{width}}  {row.items:5}{found}  {between} {when_said}")
    return [
        *lines,
        *([f"  … and {len(rows) - len(shown)} more; --json has all"] if len(rows) > len(shown) else []),
    ]
