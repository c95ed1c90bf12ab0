"""A model file's card: a few lines for a terminal, Markdown to be published, and data for other programs.

Whatever the file says is text there, in both: nothing that draws on a terminal, no markup, no link.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from plainlearn.core.describe import on_one_line
from plainlearn.core.wholefile import Mark
from plainlearn.inference.modelfile import ModelFile

__all__ = ["CARD_FILE", "markdown_of", "safe"]

#: In what model hubs read, at the head of the card.
CARD_FILE: Final = Mark(b"library_name: plainlearn")

_MOST_CLASSES: Final = 200
_FEW: Final = 20
_LABELS: Final = 12  # that a line shows
#: Of batch norm: what was counted, not learned.
_STATISTICS: Final = ("running_mean", "running_var", "num_batches_tracked")
_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~#!$])")
_ANSWERS: Final = {
    "CategoryBlock": "one of {count} labels",
    "MultiCategoryBlock": "any of {count} labels, several or none at a time",
    "RegressionBlock": "numbers",
    "PointBlock": "points in the picture",
    "MaskBlock": "one of {count} labels for each pixel",
}
_TASKS: Final = {"CategoryBlock": "image-classification", "MaskBlock": "image-segmentation"}


def text_of(file: ModelFile) -> str:
    """The card: what the model is, what it answers, how well, what it learned from, and under which licence."""
    card = file.card
    data, calibration = _part(card, "data"), _part(card, "calibration")
    labels = _labels_of(file)
    lines = [
        _row("model", f"{card.get('model')}, {parameters_of(file):,} parameters"),
        _row("about", card.get("about") or "nothing was said; learn.export(file, about='…')"),
        _row("answers", _some(labels) if labels else file.target.get("kind")),
        _row("input", _steps_of(file)),
        *(_row("metric", _metric(cast("Mapping[str, Any]", each))) for each in _listed(card, "metrics")),
        _row("learned from", f"{data.get('train')} items, validated on {data.get('valid')}; fingerprint "
                             f"{str(data.get('fingerprint'))[:12]}"),
    ]  # fmt: skip
    if calibration:
        lines.append(_row("calibration", calibration_text(calibration)))
    history = _part(card, "history")
    lines += [
        _row("history", f"{history.get('epochs')} epochs in the last run"),
        _row("weights from", f"{card.get('weights_from') or 'nowhere: learned from the start, or not told'}"),
        _row("licence", card.get("licence") or "not told for these weights; ask where they are from"),
        _row("made", f"{card.get('made')} with "
             + ", ".join(f"{name} {version}" for name, version in _part(card, "versions").items())),
    ]  # fmt: skip
    if file.output_spec.ood_above is None:
        lines.append(_row("unknown", "it cannot tell inputs unlike its own"))
    return "\n".join(lines)


def facts_of(file: ModelFile) -> dict[str, Any]:
    """The same as data for other programs."""
    return {
        **file.card,
        "labels": list(_labels_of(file)),
        "pipeline": file.pipeline,
        "target": file.target,
        "activation": file.output_spec.activation,
        "temperature": file.output_spec.temperature,
        "threshold": file.output_spec.threshold,
        "numbers": parameters_of(file),
    }


def calibration_text(told: Mapping[str, Any]) -> str:
    """How far confidence and accuracy are apart, in a sentence; `told` is what `metrics.calibration` found."""
    before, after, temperature = (_number(told.get(name)) for name in ("before", "after", "temperature"))
    items = _count(told.get("items"))
    if told.get("temperature") == 1.0:
        return f"The expected calibration error is {before} on {items} held-out items; no temperature made it better."
    return (
        f"Outputs are divided by a temperature of {temperature}, found on {items} held-out items; the expected calibration "
        f"error was {before} before and is {after} after, each item under a temperature that was found without it."
    )


def parameters_of(file: ModelFile) -> int:
    """How many parameters the network has: as it was exported, or, of an older file, what is not batch norm's statistics."""
    told = file.card.get("parameters")
    if isinstance(told, int):
        return told
    learned = {name: each for name, each in file.weights.items() if not name.endswith(_STATISTICS)}
    return sum(math.prod(each.shape) for each in learned.values())


def markdown_of(file: ModelFile, name: str) -> str:
    """The card, from the file alone; `name` is the file's name, such as "pets.plain".

    It tells what the model is for, its data, figures with intervals, how far its confidence can be trusted, limits,
    licence and history, and how it is loaded. Blank where the file is silent it is not: it says so.
    """
    sections = {
        "What it is for": _purpose(file),
        "How well it does": _figures(file),
        "How sure it is": _sureness(file),
        "What it learned from": _data(file),
        "Limits": _limits(file),
        "How it was made": _history(file),
        "Licence": _licence(file),
        "How to use it": _usage(file, name),
    }
    body = [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join([*_front(file), f"# {safe(name.removesuffix('.plain'))}", *_about(file), *body]) + "\n"


def safe(text: object) -> str:
    """Text as Markdown shows it and nothing more: on one line, no markup, no HTML, no link, no column of a table.

    >>> safe("cat | <b>dog</b> *1*")
    'cat \\\\| &lt;b&gt;dog&lt;/b&gt; \\\\*1\\\\*'
    """
    plain = html.escape(on_one_line(text), quote=False)
    plain = plain.replace("://", ":&#47;/").replace("www.", "www&#46;").replace("@", "&#64;")
    plain = _SPECIAL.sub(r"\\\1", plain).replace("&\\#", "&#")  # entities stay what they are
    # What would begin a list, or make a heading of the line above.
    return re.sub(r"^(\s*\d+(?=[.)](?:\s|$))|\s*(?=[-+=]))", r"\1\\", plain)


def _front(file: ModelFile) -> list[str]:
    """What model hubs read, where it is in words that they know."""
    licence = str(file.card.get("licence", ""))
    lines = [f"license: {licence}"] if re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,40}", licence) else []
    task = _TASKS.get(str(file.target.get("kind")))
    lines += [CARD_FILE.text.decode(), *([f"pipeline_tag: {task}"] if task else [])]
    return ["\n".join(["---", *lines, "---"])]


def _about(file: ModelFile) -> list[str]:
    return [safe(line) for line in str(file.card.get("about") or "").splitlines() if line.strip()]


def _purpose(file: ModelFile) -> str:
    labels = _labels_of(file)
    answer = _ANSWERS.get(str(file.target.get("kind")), "values").format(count=len(labels))
    lines = [f"- It answers with {answer}."]
    if labels:
        lines.append(f"- Labels: {', '.join(safe(label) or '(empty)' for label in labels[:_MOST_CLASSES])}"
                     + (", …" if len(labels) > _MOST_CLASSES else "") + ".")  # fmt: skip
    lines.append(
        f"- A picture goes this way: {safe(_steps_of(file))}. That is in the file, and done by whoever loads it."
    )
    lines.append(f"- Network: {safe(file.card.get('model'))}, {parameters_of(file):,} parameters.")
    lines.append("- It is meant for pictures like those that it learned from, and for nothing else.")
    return "\n".join(lines)


def _figures(file: ModelFile) -> str:
    rows = [
        (each.get("name"), _number(each.get("value")), _between(each), _count(each.get("items")))
        for each in map(_mapping, _listed(file.card, "metrics"))
    ]
    if not rows:
        return "The file holds no figures: there was nothing to validate it with."
    table = _table(("metric", "value", "95% between", "pictures"), rows)
    return f"Measured on pictures that were held out from training, which also served to choose between epochs.\n\n{table}"


def _between(metric: Mapping[str, Any]) -> str:
    low, high = metric.get("low"), metric.get("high")
    return "not known" if low is None or high is None else f"{_number(low)} and {_number(high)}"


def _sureness(file: ModelFile) -> str:
    told = _part(file.card, "calibration")
    if not told:
        return "Its probabilities were not held against the truth: do not take them at their word."
    text = safe(calibration_text(told))
    if told.get("honest") is not None:
        text += f" On so few a perfectly honest model would show about {_number(told.get('honest'))}."
    from plainlearn.metrics.evaluation import (
        sure_text,
    )  # which needs torch, as `text_of` and `facts_of` do not

    sure, right = told.get("sure"), told.get("sure_right")
    if (
        isinstance(sure, (int, float))
        and isinstance(right, (int, float))
        and 0 <= right <= sure
        and sure >= 1
    ):
        text += f" {sure_text(int(sure), int(right))}"
    return text


def _data(file: ModelFile) -> str:
    data = _part(file.card, "data")
    lines = [
        f"{_count(data.get('train'))} pictures, and {_count(data.get('valid'))} held out to validate it."
    ]
    counts = [(pair[0], _count(pair[1])) for pair in _pairs(file)]
    if counts:
        lines.append(_table(("label", "pictures to learn from"), counts[:_MOST_CLASSES]))
        if len(counts) > _MOST_CLASSES:
            lines.append(f"… and {len(counts) - _MOST_CLASSES} more labels.")
    lines.append(
        f"Fingerprint of the items' names: `{re.sub('[^0-9a-f]', '', str(data.get('fingerprint')))[:64]}`."
    )
    return "\n\n".join(lines)


def _limits(file: ModelFile) -> str:
    lines: list[str] = []
    if _labels_of(file) and file.target.get("kind") == "CategoryBlock":
        lines.append("It gives one of its labels to any picture, whatever it shows.")
    if file.output_spec.ood_above is None:
        lines.append("It cannot tell pictures that are unlike its own.")
    else:
        lines.append(
            "Asked for it (`unknown=True`, `--unknown`), it answers `unknown` for pictures unlike its own; about 1 in 50 of its "
            "own kind then is `unknown` too. Near relatives, such as a breed that it never saw, often pass."
        )
    few = [label for label, count in _pairs(file) if isinstance(count, int) and count < _FEW]
    if few:
        some = ", ".join(map(safe, few[:10])) + (", …" if len(few) > 10 else "")
        lines.append(
            f"{len(few)} labels had fewer than {_FEW} pictures to learn from ({some}): expect less of them."
        )
    lines.append(
        "How it does for other cameras, places, times or people than those in its data was not measured."
    )
    if _part(file.card, "usual"):
        lines.append(
            "The file holds what is usual: `plainlearn drift FILE FOLDER` tells when pictures have changed."
        )
    return "\n".join(f"- {line}" for line in lines)


def _history(file: ModelFile) -> str:
    history, card = _part(file.card, "history"), file.card
    lines = [f"- Loss: {safe(card.get('loss'))}; {_count(history.get('epochs'))} epochs in the last run."]
    versions = ", ".join(f"{safe(name)} {safe(version)}" for name, version in _part(card, "versions").items())
    lines.append(f"- Made {safe(card.get('made'))} with {versions}.")
    rows = [cast("Sequence[Any]", row) for row in _listed(history, "rows") if isinstance(row, (list, tuple))]
    width = max(map(len, rows), default=0)
    names = [str(name) for name in _listed(history, "names")]
    if rows and len(names) == width:
        lines.append("\n" + _table(names, [[_number(value) for value in row] for row in rows]))
    return "\n".join(lines)


def _licence(file: ModelFile) -> str:
    source = file.card.get("weights_from")
    where = (
        f"The weights began as {safe(source)}"
        if source
        else "The weights were learned from the start, or it is not told whence"
    )
    licence = file.card.get("licence")
    return f"{where}. " + (
        f"Their licence: {safe(licence)}." if licence else "Their licence is not told; ask where they are from."
    ) + " The licence of the pictures is not known to the file."  # fmt: skip


def _usage(file: ModelFile, name: str) -> str:
    shown = re.sub(r"[^\w.+-]", "_", name)
    own = "" if set(file.architecture) != {"custom"} else ", model=TheClass"
    lines = [
        "```python",
        "from plainlearn.inference.predictor import Predictor",
        "",
        f'label, index, probabilities = Predictor.load("{shown}"{own}).predict("a picture.jpg")',
        "```",
        "",
        "Or, without Python code:",
        "",
        "```sh",
        f"plainlearn predict {shown} *.jpg",
        f"plainlearn evaluate {shown} a-folder-with-labels",
        f"plainlearn serve {shown}",
        "```",
        "",
        "The file holds numbers and text, and no code; loading it runs nothing that is in it.",
    ]
    return "\n".join(lines)


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [[safe(cell) for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _pairs(file: ModelFile) -> list[tuple[Any, Any]]:
    found = _listed(_part(file.card, "data"), "counts")
    pairs = [cast("Sequence[Any]", each) for each in found if isinstance(each, (list, tuple))]
    return [(each[0], each[1]) for each in pairs if len(each) == 2]


def _mapping(given: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {}


def _count(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, (int, float)) else str(value)


def _labels_of(file: ModelFile) -> Sequence[Any]:
    found: Any = file.target.get("vocab") or file.target.get("codes") or ()
    return cast("Sequence[Any]", found) if isinstance(found, (list, tuple)) else ()


def _steps_of(file: ModelFile) -> str:
    names: list[str] = []
    for part in ("blocks", "item_tfms", "batch_tfms"):
        for each in _listed(file.pipeline, part):
            given: Mapping[str, Any] = cast("Mapping[str, Any]", each) if isinstance(each, Mapping) else {}
            size: Any = given.get("size")
            names.append(f"{given.get('kind')}{'' if size is None else f'({size})'}")
    return " -> ".join(names)


def _metric(given: Mapping[str, Any]) -> str:
    low, high = given.get("low"), given.get("high")
    between = "" if low is None or high is None else f" (95% between {_number(low)} and {_number(high)})"
    return f"{given.get('name')} {_number(given.get('value'))}{between} on {given.get('items')} items"


def _row(name: str, value: Any) -> str:
    """One line: what a file says must not be able to draw on a terminal, nor begin a line."""
    return f"{name:<13} {on_one_line(value)}"


def _some(labels: Sequence[Any]) -> str:
    shown = ", ".join(map(str, labels[:_LABELS]))
    return f"{len(labels)} labels: {shown}{', …' if len(labels) > _LABELS else ''}"


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _part(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = given.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def _listed(given: Mapping[str, Any], name: str) -> list[Any]:
    found = given.get(name)
    return cast("list[Any]", found) if isinstance(found, list) else []
