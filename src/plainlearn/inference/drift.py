"""Drift: whether a stream of inputs is still like the items that a model was validated on, by what the model makes of them.

Three things are watched: how unlike the inputs are (see `inference.ood`), how sure the answers, and which. The
first two are compared by the two-sample Kolmogorov-Smirnov test, the third by a chi-squared test whose chances are
drawn, as classes are often rare. It needs no labels and no torch; what to compare with lies in a model file's card.

Source: Rabanser et al. 2019, Failing Loudly, arXiv:1810.11953, which compares such tests, this one among the best.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.core.describe import describe, on_one_line
from plainlearn.core.errors import ArgumentError, DataError

__all__ = ["Drift", "DriftReport", "Watched", "usual_of"]

#: How often a report says that something moved though nothing did, at most, for each time it is asked.
FALSE_ALARMS: Final = 0.01
#: Items from which on a report says anything, of the stream and of validation.
ENOUGH: Final = 30
#: How far apart shares must be to matter, however certain: 10 of 100 items.
_MATTERS: Final = 0.1
_KEPT: Final = 200  # values of validation in the file: their quantiles, if there were more
_DRAWS: Final = 2000

Values = NDArray[np.float64]


def usual_of(confidences: Any, answers: Any, labels: int, ood_scores: Any = None) -> dict[str, Any]:
    """What `Drift` compares with, as plain data: of validation items the confidence, the number of the answer among
    so many `labels`, and how unlike each is, if that is known."""
    numbers = np.bincount(np.asarray(answers, np.int64), minlength=labels)
    return {
        "confidence": _quantiles(np.asarray(confidences, np.float64)),
        "strangeness": [] if ood_scores is None else _quantiles(np.asarray(ood_scores, np.float64)),
        "answers": [int(each) for each in numbers],
        "items": len(answers),
    }


@dataclass(frozen=True)
class Watched:
    """One statistic: its usual median and that of the stream, or for answers the label whose share changed most.

    `gap` is how far apart the two distributions are, 0..1; `chance` how often that much is seen where nothing moved.
    """

    name: str
    usual: str
    now: str
    gap: float
    chance: float
    moved: bool


@dataclass(frozen=True)
class DriftReport:
    """What moved, of so many `items` of the stream against so many of validation.

    `enough` says whether there are items enough to tell; if not, nothing `moved`.
    """

    items: int
    validated: int
    watched: tuple[Watched, ...]

    @property
    def enough(self) -> bool:
        return min(self.items, self.validated) >= ENOUGH

    @property
    def moved(self) -> tuple[str, ...]:
        """The names of what moved."""
        return tuple(each.name for each in self.watched if each.moved)

    def as_dict(self) -> dict[str, Any]:
        """The same as data for other programs."""
        return {
            "items": self.items, "validated": self.validated, "enough": self.enough, "moved": list(self.moved),
            "false_alarms": FALSE_ALARMS, "watched": [asdict(each) for each in self.watched],
        }  # fmt: skip

    def __repr__(self) -> str:
        if not self.enough:
            return (
                f"Drift: too few items to tell, {self.items} against {self.validated} of validation; "
                f"{ENOUGH} of each are needed"
            )
        verdict = f"{' and '.join(self.moved)} moved" if self.moved else "nothing moved"
        lines = [f"Drift: {verdict}; {self.items} items against {self.validated} of validation"]
        width = max(len(each.name) for each in self.watched)
        for each in self.watched:
            what = f"  {each.name:<{width}}  usually {each.usual}, now {each.now}"
            lines.append(on_one_line(f"{what}  (apart by {each.gap:.2f}, chance {each.chance:.4f})"))
        lines.append(f"  Where nothing changed, at most {FALSE_ALARMS:.0%} of such reports say otherwise.")
        return "\n".join(lines)


class Drift:
    """Follows the answers of a predictor, of any thread; `report` compares the last `window` of them with validation.

    `card` is that of a model file, `labels` its vocabulary. Raises `ArgumentError` where the file does not say what is
    usual, as of models that do not tell classes, `DataError` where what it says cannot be.
    """

    def __init__(self, card: Mapping[str, Any], labels: Sequence[Any], *, window: int = 1000) -> None:
        if window < ENOUGH:
            raise ArgumentError(
                f"window is {window}; expected {ENOUGH} or more, or no report could tell anything"
            )
        self.labels = [str(label) for label in labels]
        self._usual = _checked(card.get("usual"), len(self.labels))
        self._seen: deque[tuple[float, int, float | None]] = deque(maxlen=window)
        self._lock = Lock()

    def update(self, prediction: Any, ood_score: Any = None) -> None:
        """See one answer of the predictor's, and how unlike its input was, if that is known."""
        values = np.asarray(prediction.probabilities, np.float64)
        if values.shape != (len(self.labels),):
            raise ArgumentError(
                f"the prediction has {describe(values)}; expected {len(self.labels)} probabilities"
            )
        entry = (
            float(values.max()),
            int(values.argmax()),
            None if ood_score is None else float(ood_score),
        )
        with self._lock:
            self._seen.append(entry)

    def report(self) -> DriftReport:
        """What moved, as far as can be told; see `FALSE_ALARMS` and `ENOUGH`. Reports on the same items say the same."""
        with self._lock:
            seen = list(self._seen)
        items, validated = len(seen), self._usual.items
        if min(items, validated) < ENOUGH:
            return DriftReport(items, validated, ())
        scores = [each[2] for each in seen if each[2] is not None]
        pairs = {"confidence": (self._usual.confidence, np.array([each[0] for each in seen]))}
        if len(self._usual.ood_scores) and len(scores) == items:
            pairs = {"strangeness": (self._usual.ood_scores, np.array(scores)), **pairs}
        share = FALSE_ALARMS / (len(pairs) + 1)
        watched = [_values_moved(name, *pair, validated, share) for name, pair in pairs.items()]
        now = np.bincount([each[1] for each in seen], minlength=len(self.labels))
        watched.append(_answers_moved(self._usual.answers, now, self.labels, share))
        return DriftReport(items, validated, tuple(watched))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._seen)} answers seen, {self._usual.items} of validation)"


# ---- the tests


def _values_moved(name: str, usual: Values, now: Values, validated: int, share: float) -> Watched:
    """Kolmogorov and Smirnov's largest gap between the two distributions; its chance by Stephens 1970."""
    edges = np.concatenate([usual, now])
    below = [np.searchsorted(np.sort(each), edges, side="right") / len(each) for each in (usual, now)]
    gap = float(np.abs(below[0] - below[1]).max())
    root = math.sqrt(validated * len(now) / (validated + len(now)))
    chance = _kolmogorov((root + 0.12 + 0.11 / root) * gap)
    before, after = (f"{float(np.median(each)):.3f}" for each in (usual, now))
    return Watched(name, before, after, gap, chance, chance < share and gap >= _MATTERS)


def _kolmogorov(distance: float) -> float:
    """How often chance alone goes as far."""
    if distance < 0.2:
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * distance) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, sum(terms)))


def _answers_moved(
    usual: NDArray[np.int64], now: NDArray[np.int64], labels: Sequence[str], share: float
) -> Watched:
    """Pearson's chi-squared for two samples; the chance by dealing all answers to the two sides again and again."""
    both = usual + now
    draws = np.random.default_rng(0)
    dealt = draws.multivariate_hypergeometric(both, int(now.sum()), size=_DRAWS, method="marginals")
    found = _chi_squared(now[None], both, int(now.sum()))[0]
    chance = (1 + int((_chi_squared(dealt, both, int(now.sum())) >= found - 1e-9).sum())) / (1 + _DRAWS)
    parts = (usual / usual.sum(), now / now.sum())
    gap = float(np.abs(parts[0] - parts[1]).sum() / 2)
    most = int(np.abs(parts[0] - parts[1]).argmax())
    before, after = (f"{labels[most]} {float(part[most]):.1%}" for part in parts)
    return Watched("answers", before, after, gap, chance, chance < share and gap >= _MATTERS)


def _chi_squared(now: NDArray[np.int64], both: NDArray[np.int64], count: int) -> Values:
    there = both > 0
    expected = both[there] * (count / both.sum())
    of_now = (now[:, there] - expected) ** 2 / expected
    others = both[there] - expected
    return cast(Values, (of_now + (now[:, there] - expected) ** 2 / np.maximum(others, 1e-12)).sum(axis=1))


# ---- what is usual


@dataclass(frozen=True)
class _Usual:
    confidence: Values
    ood_scores: Values
    answers: NDArray[np.int64]
    items: int


def _checked(told: Any, labels: int) -> _Usual:
    if not isinstance(told, Mapping) or not told:
        raise ArgumentError(
            "this model file does not say what is usual, so drift cannot be told",
            try_="learn.export(file) again, of a model that tells classes and has a validation set",
        )
    given = cast("Mapping[str, Any]", told)
    try:
        confidence, ood_scores = (
            np.asarray(given[name], np.float64) for name in ("confidence", "strangeness")
        )
        answers, items = np.asarray(given["answers"], np.int64), int(given["items"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"what the file says is usual cannot be: {error}") from error
    if answers.shape != (labels,) or (answers < 0).any() or answers.sum() != items or items > 1 << 40:
        raise DataError(
            f"what the file says is usual cannot be: answers are {describe(answers)} for {labels} labels"
        )
    values = (confidence, ood_scores)
    odd = any(each.ndim != 1 or len(each) > items or not np.isfinite(each).all() for each in values)
    if odd or not len(confidence):
        raise DataError("what the file says is usual cannot be: it has no values, too many, or odd ones")
    return _Usual(confidence, ood_scores, answers, items)


def _quantiles(values: Values) -> list[float]:
    ordered = np.sort(values)
    if len(ordered) > _KEPT:
        ordered = np.quantile(ordered, (np.arange(_KEPT) + 0.5) / _KEPT)
    return [float(f"{float(each):.5g}") for each in ordered]
