"""Drift: it fires when inputs change, keeps still as often as it says when they do not, and names what moved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.inference.drift import ENOUGH, FALSE_ALARMS, Drift, usual_of

LABELS = ("a", "b", "c")


def answers(count: int, rng: Any, *, sure: float = 4.0, strange: float = 0.0, shares: Any = (1, 1, 1)) -> Any:
    """Probabilities (N, 3) and strangeness (N,) of a made-up model."""
    weights = np.asarray(shares) / np.sum(shares)
    logits = rng.normal(0, 1, (count, 3)) + sure * np.eye(3)[rng.choice(3, count, p=weights)]
    powers = np.exp(logits)
    return powers / powers.sum(1, keepdims=True), rng.normal(0.3 + strange, 0.1, count)


def followed(seed: int, count: int = 80, **changed: Any) -> Drift:
    rng = np.random.default_rng(seed)
    values, strange = answers(100, rng)
    drift = Drift({"usual": usual_of(values.max(1), values.argmax(1), 3, strange)}, LABELS)
    for row, score in zip(*answers(count, rng, **changed), strict=True):
        drift.update(SimpleNamespace(probabilities=row), score)
    return drift


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"sure": 1.0}, "confidence"), ({"strange": 0.15}, "strangeness"), ({"shares": (8, 1, 1)}, "answers")],
)
def test_what_moved_is_named(changed: dict[str, Any], name: str) -> None:
    report = followed(0, **changed).report()
    assert name in report.moved and report.enough
    if name != "confidence":  # who is less sure answers otherwise too
        assert report.moved == (name,)
    assert repr(report).startswith(
        f"Drift: {' and '.join(report.moved)} moved; 80 items against 100 of validation"
    )
    told = report.as_dict()
    assert told["moved"] == list(report.moved) and told["false_alarms"] == FALSE_ALARMS


def test_false_alarms_are_as_rare_as_they_are_said_to_be() -> None:
    alarms = sum(bool(followed(seed).report().moved) for seed in range(300))
    assert alarms <= 9, alarms  # of 3 expected; more than 9 would come once in a thousand times


def test_few_items_tell_nothing_and_are_told() -> None:
    report = followed(0, count=ENOUGH - 1, strange=1.0).report()
    assert not report.enough and report.moved == ()
    assert repr(report) == "Drift: too few items to tell, 29 against 100 of validation; 30 of each are needed"
    assert "strangeness" in followed(0, count=ENOUGH, strange=1.0).report().moved


def test_the_last_window_counts_and_threads_may_share_it() -> None:
    drift = Drift(
        {
            "usual": usual_of(
                *(lambda v: (v.max(1), v.argmax(1)))(answers(100, np.random.default_rng(0))[0]), 3
            )
        },
        LABELS,
        window=50,
    )
    values = answers(400, np.random.default_rng(1), shares=(1, 0, 0))[0]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: drift.update(SimpleNamespace(probabilities=row)), values))
    report = drift.report()
    assert (
        report.items == 50
        and "answers" in report.moved
        and [each.name for each in report.watched] == ["confidence", "answers"]
    )
    assert drift.report() == report
    for row in answers(50, np.random.default_rng(2))[0]:
        drift.update(SimpleNamespace(probabilities=row))
    assert drift.report().moved == ()


def test_many_validation_items_take_little_room() -> None:
    values, strange = answers(5000, np.random.default_rng(0))
    usual = usual_of(values.max(1), values.argmax(1), 3, strange)
    assert (
        len(usual["confidence"]) == len(usual["strangeness"]) == 200
        and sum(usual["answers"]) == usual["items"] == 5000
    )
    assert np.median(usual["strangeness"]) == pytest.approx(np.median(strange), abs=0.002)


@pytest.mark.parametrize(
    ("usual", "error", "message"),
    [
        (None, ArgumentError, "does not say what is usual"),
        ({}, ArgumentError, "does not say what is usual"),
        ({"confidence": [0.5]}, DataError, "cannot be"),
        ({"confidence": [0.5], "strangeness": [], "answers": [1], "items": 1}, DataError, "for 3 labels"),
        (
            {"confidence": [0.5], "strangeness": [], "answers": [1, 0, -1], "items": 0},
            DataError,
            "for 3 labels",
        ),
        (
            {"confidence": [float("nan")], "strangeness": [], "answers": [1, 0, 0], "items": 1},
            DataError,
            "odd ones",
        ),
        (
            {"confidence": [0.5] * 9, "strangeness": [], "answers": [1, 0, 0], "items": 1},
            DataError,
            "too many",
        ),
        ({"confidence": [], "strangeness": [], "answers": [0, 0, 0], "items": 0}, DataError, "no values"),
        ({"confidence": "x", "strangeness": [], "answers": [1, 0, 0], "items": 1}, DataError, "cannot be"),
    ],
)
def test_what_a_file_may_not_say_is_refused(usual: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Drift({"usual": usual}, LABELS)


def test_arguments_that_cannot_be_are_refused() -> None:
    with pytest.raises(ArgumentError, match="window is 5; expected 30 or more"):
        Drift({"usual": usual_of([0.5], [0], 3)}, LABELS, window=5)
    with pytest.raises(ArgumentError, match="expected 3 probabilities"):
        followed(0).update(SimpleNamespace(probabilities=[0.5, 0.5]))
