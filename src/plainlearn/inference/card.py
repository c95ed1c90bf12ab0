"""A model file's card as text that a person reads; whatever the file says, it is shown and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from plainlearn.core.describe import on_one_line
from plainlearn.inference.modelfile import ModelFile

__all__ = ["count_of", "facts_of", "labels_of", "listed", "number", "part", "steps_of", "text_of"]

_LABELS: Final = 12


def text_of(file: ModelFile) -> str:
    """The card: what the model is, what it answers, how well, what it learned from, and under which licence."""
    card = file.card
    data, calibration = part(card, "data"), part(card, "calibration")
    labels = labels_of(file)
    lines = [
        _row("model", f"{card.get('model')}, {sum(math.prod(t.shape) for t in file.weights.values()):,} numbers"),
        _row("about", card.get("about") or "nothing was said; learn.export(file, about='…')"),
        _row("answers", _some(labels) if labels else file.target.get("kind")),
        _row("input", steps_of(file)),
        *(_row("metric", _metric(cast("Mapping[str, Any]", each))) for each in listed(card, "metrics")),
        _row("learned from", f"{data.get('train')} items, validated on {data.get('valid')}; fingerprint "
                             f"{str(data.get('fingerprint'))[:12]}"),
    ]  # fmt: skip
    if calibration:
        lines.append(_row("calibration", _calibrated(calibration)))
    history = part(card, "history")
    lines += [
        _row("history", f"{history.get('epochs')} epochs in the last run"),
        _row("weights from", f"{card.get('weights_from') or 'nowhere: learned from the start, or not told'}"),
        _row("licence", card.get("licence") or "not told for these weights; ask where they are from"),
        _row("made", f"{card.get('made')} with "
             + ", ".join(f"{name} {version}" for name, version in part(card, "versions").items())),
    ]  # fmt: skip
    if file.output_spec.ood_above is None:
        lines.append(_row("unknown", "it cannot tell inputs unlike its own"))
    return "\n".join(lines)


def facts_of(file: ModelFile) -> dict[str, Any]:
    """The same as data for other programs."""
    return {
        **file.card,
        "labels": list(labels_of(file)),
        "pipeline": file.pipeline,
        "target": file.target,
        "activation": file.output_spec.activation,
        "temperature": file.output_spec.temperature,
        "threshold": file.output_spec.threshold,
        "numbers": sum(math.prod(tensor.shape) for tensor in file.weights.values()),
    }


def _calibrated(told: Mapping[str, Any]) -> str:
    before, after, temperature = (told.get(name) for name in ("before", "after", "temperature"))
    if temperature == 1.0:
        return (
            f"error {number(before)} on {count_of(told.get('items'))} items; no temperature made that better"
        )
    return (
        f"error {number(before)} before, {number(after)} after a temperature of {number(temperature)}, each of "
        f"{count_of(told.get('items'))} items under one that was found without it"
    )


def count_of(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, (int, float)) else str(value)


def labels_of(file: ModelFile) -> Sequence[Any]:
    found: Any = file.target.get("vocab") or file.target.get("codes") or ()
    return cast("Sequence[Any]", found) if isinstance(found, (list, tuple)) else ()


def steps_of(file: ModelFile) -> str:
    names: list[str] = []
    for part in ("blocks", "item_tfms", "batch_tfms"):
        for each in listed(file.pipeline, part):
            given: Mapping[str, Any] = cast("Mapping[str, Any]", each) if isinstance(each, Mapping) else {}
            size: Any = given.get("size")
            names.append(f"{given.get('kind')}{'' if size is None else f'({size})'}")
    return " -> ".join(names)


def _metric(given: Mapping[str, Any]) -> str:
    low, high = given.get("low"), given.get("high")
    between = "" if low is None or high is None else f" (95% between {number(low)} and {number(high)})"
    return f"{given.get('name')} {number(given.get('value'))}{between} on {given.get('items')} items"


def _row(name: str, value: Any) -> str:
    """One line: what a file says must not be able to draw on a terminal, nor begin a line."""
    return f"{name:<13} {on_one_line(value)}"


def _some(labels: Sequence[Any]) -> str:
    shown = ", ".join(map(str, labels[:_LABELS]))
    return f"{len(labels)} labels: {shown}{', …' if len(labels) > _LABELS else ''}"


def number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def part(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = given.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def listed(given: Mapping[str, Any], name: str) -> list[Any]:
    found = given.get(name)
    return cast("list[Any]", found) if isinstance(found, list) else []
