"""The report of a run: one page that a person can open anywhere, with what is good, what is bad, and what to do next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor

from plainlearn._version import __version__
from plainlearn.audit.findings import Audit, findings_html
from plainlearn.core.wholefile import write_whole
from plainlearn.images.html import PAGE, document, picture, text
from plainlearn.inference.model_card import calibration_text
from plainlearn.metrics.calibration import sure_answers
from plainlearn.metrics.evaluation import Evaluation, confusion_table, sure_text, worst_errors
from plainlearn.runs import charts

__all__ = ["ReportData", "write_report"]

#: What was kept, where tuning all depths had not made it better.
HEAD_ALONE: Final = "head alone"

_ERRORS: Final = 24
_MOST_CLASSES: Final = 60  # in a confusion table that can still be read
_ROWS: Final = 200


@dataclass(frozen=True)
class ReportData:
    """All that a report tells. `probabilities` (N, K), `targets` (N,) and `files` are of the validation images."""

    name: str
    model: str
    evaluation: Evaluation
    baselines: dict[str, float]
    own: str
    probabilities: Tensor
    targets: Tensor
    files: Sequence[str]
    vocab: Sequence[str]
    counts: dict[str, dict[Any, int]]  # by side, then label
    left_out: Sequence[tuple[object, str]]
    audit: Audit
    curves: tuple[Sequence[float], Sequence[float]]
    calibration: dict[str, float]
    facts: dict[str, str] = field(default_factory=dict[str, str])
    command: str = ""
    can_say_unknown: bool = False


def write_report(file: str | os.PathLike[str], data: ReportData) -> None:
    """Write the page, whole or not at all."""
    page = document(f"{data.name}: what came of it", _body(data), charts.style)
    write_whole(file, page.encode(), mark=PAGE, force=None)


def _body(data: ReportData) -> str:
    several = data.probabilities.shape != (len(data.targets), len(data.vocab)) or data.targets.ndim > 1
    parts = [_head(data), _baselines(data)]
    parts += [_curves(data)] if data.curves[0] else []
    if not several:
        parts += [_sureness(data), _worst(data), _confusion(data)]
    parts += [_by_label(data), _data(data), _made(data), _next(data)]
    return "\n".join(part for part in parts if part)


def _section(title: str, inner: str, kind: str = "note") -> str:
    return f'<section class="{kind}"><h2>{title}</h2>{inner}</section>'


def _head(data: ReportData) -> str:
    first = data.evaluation.metrics[0]
    between = "" if first.low is None else f" (95% between {first.low:.3f} and {first.high:.3f})"
    best = max(data.baselines.items(), key=lambda pair: pair[1], default=("nothing", 0.0))
    verdict = (
        f"The best of the simpler answers, {text(best[0])}, reaches {best[1]:.3f}." if data.baselines else ""
    )
    few = (
        f"<p>{len(data.targets)} images are few: the true figure may be anywhere between these two.</p>"
        if len(data.targets) < 200
        else ""
    )
    return (
        f"<h1>{text(data.name)}</h1><p>On {len(data.targets)} images that it has not learned from: "
        f"<strong>{text(first.name)} {first.value:.3f}</strong>{between}. {verdict}</p>{few}"
        f'<p class="soft">{text(data.model)}</p>'
    )


def _baselines(data: ReportData) -> str:
    first = data.evaluation.metrics[0]
    rows = [
        (text(name), value, "") for name, value in sorted(data.baselines.items(), key=lambda pair: pair[1])
    ]
    own = f"this model ({text(data.own)})"
    rows.append((own, first.value, "" if first.low is None else f"{first.low:.3f} – {first.high:.3f}"))
    ahead = first.value - max(data.baselines.values(), default=0.0)
    kind = "note" if ahead >= 0 else "warning"
    return _section("Is it better than something simpler?", charts.bars(rows, own), kind)


def _curves(data: ReportData) -> str:
    drawn = charts.curves(*data.curves, "loss")
    train, valid = data.curves
    advice = "Both fall together: nothing speaks of learning by heart."
    if len(valid) > 1 and valid[-1] > min(valid) * 1.05:
        advice = (
            "The validation loss has risen again at the end: it has begun to learn by heart. "
            "More images help most; fewer epochs help too."
        )
    elif train[-1] < valid[-1] / 2:
        advice = (
            "It fits the images that it learns from much better than the others. That is usual where they are few; "
            "more of them, and more varied ones, help most."
        )
    elif len(valid) > 1 and valid[-1] < valid[-2] * 0.97:
        advice = "The validation loss was still falling at the end: more time would help."
    if data.own == HEAD_ALONE:
        advice += (
            " None of this is in the model file: the head alone, as it was before, did as well or better."
        )
    return _section("How it learned", f'<p class="soft">{advice}</p>{drawn}')


def _sureness(data: ReportData) -> str:
    confidence = data.probabilities.amax(dim=1)
    _, right = sure_answers(data.probabilities, data.targets)
    sure = sure_text(data.evaluation.sure, data.evaluation.sure_right)
    scaled = text(calibration_text(data.calibration)) if data.calibration else ""
    return _section(
        "Can its confidence be trusted?",
        f'<p class="soft">{sure} {scaled}</p>{charts.reliability(confidence, right)}',
    )


def _worst(data: ReportData) -> str:
    confidence, said = data.probabilities.max(dim=1)
    of_truth = data.probabilities.gather(1, data.targets[:, None]).squeeze(1)
    wrong = worst_errors(data.probabilities, data.targets)
    if not wrong:
        return _section("Its worst errors", '<p class="soft">It made none on the validation images.</p>')
    shown = wrong[:_ERRORS]
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(picture, [data.files[place] for place in shown]))
    figures = "".join(
        f'<figure><div class="frame">{small}</div><figcaption>says <b>{text(str(data.vocab[int(said[place])]))}</b> '
        f"({confidence[place]:.0%})<br>is <b>{text(str(data.vocab[int(data.targets[place])]))}</b> "
        f"({of_truth[place]:.0%})<br>{text(os.path.basename(data.files[place]))}</figcaption></figure>"  # noqa: PTH119
        for place, small in zip(shown, pictures, strict=True)
    )
    about = (
        f"{len(wrong)} of {len(data.targets)} are wrong; the {len(shown)} farthest from the truth are here. Look at them: "
        "a wrong label in the data is the commonest cause, and the cheapest to mend."
    )
    return _section(
        "Its worst errors", f'<p class="soft">{about}</p><div class="groups">{figures}</div>', "error"
    )


def _confusion(data: ReportData) -> str:
    names = [text(str(label)) for label in data.vocab]
    count = len(names)
    table = confusion_table(data.probabilities.argmax(dim=1), data.targets, count)
    pairs = "".join(
        f"<li>{each.items} × {text(each.true)} taken for {text(each.said)}</li>"
        for each in data.evaluation.confused
    )
    drawn = (
        charts.confusion(names, table)
        if count <= _MOST_CLASSES
        else f'<p class="soft">{count} classes are too many for a table that can be read.</p>'
    )
    listed = f"<ul>{pairs}</ul>" if pairs else '<p class="soft">Nothing was confused.</p>'
    return _section(
        "What it confuses", f'<p class="soft">Rows are true, columns are what it says.</p>{listed}{drawn}'
    )


def _by_label(data: ReportData) -> str:
    rows = "".join(
        f'<tr><td class="class">{text(row.label)}</td><td class="number">{row.right} of {row.items}</td>'
        f'<td class="bar"><i style="width:{100 * row.right / max(row.items, 1):.1f}%"></i></td>'
        f'<td class="number soft">{f"{row.right} of {row.said} right when said" if row.said else "never said"}</td></tr>'
        for row in data.evaluation.rows[:_ROWS]
    )
    return _section("By label, the worst first", f'<table class="scores">{rows}</table>')


def _data(data: ReportData) -> str:
    train, valid = data.counts["train"], data.counts["valid"]
    most = max(train.values(), default=1)
    rows = "".join(
        f'<tr><td class="class">{text(str(label))}</td><td class="count">{count}</td>'
        f'<td class="count soft">+ {valid.get(label, 0)}</td>'
        f'<td class="bar"><i style="width:{100 * count / most:.1f}%"></i></td></tr>'
        for label, count in sorted(train.items(), key=lambda pair: -pair[1])[:_ROWS]
    )
    out = ""
    if data.left_out:
        listed = "".join(f"<li>{text(str(item))}: {text(reason)}</li>" for item, reason in data.left_out[:50])
        more = len(data.left_out) - 50
        out = (
            f"<p>{len(data.left_out)} files could not be used and were left out; nothing was deleted.</p><ul>{listed}"
            f"{f'<li>… and {more} more</li>' if more > 0 else ''}</ul>"
        )
    found = findings_html(data.audit)
    return (
        _section(
            "What it learned from",
            f'<p class="soft">Images to learn from + to validate on.</p>{out}<table>{rows}</table>',
        )
        + found
    )


def _made(data: ReportData) -> str:
    rows = "".join(
        f"<tr><td>{text(name)}</td><td>{text(value)}</td></tr>" for name, value in data.facts.items()
    )
    cite = (
        f"@misc{{{''.join(c for c in data.name if c.isalnum()) or 'model'}, title = {{{data.name}}}, "
        f"note = {{Trained with plainlearn {__version__}; {data.facts.get('weights', 'no pretrained weights')}}}}}"
    )
    return _section(
        "How it was made, and how to cite it",
        f'<table class="scores">{rows}</table><p class="soft">Again, with the same settings:</p><pre>{text(data.command)}</pre>'
        f'<p class="soft">To cite:</p><pre>{text(cite)}</pre>',
    )


def _next(data: ReportData) -> str:
    file = shlex.quote(data.model)
    stem = shlex.quote(os.path.splitext(data.model)[0])  # noqa: PTH122
    lines = [
        ("Name images", f"plainlearn predict {file} IMAGE"),
        ("Serve it over HTTP, with a page to try it on", f"plainlearn serve {file}"),
        ("Judge it on other images", f"plainlearn evaluate {file} FOLDER"),
        ("For machines without PyTorch", f"plainlearn export {file} --onnx {stem}.onnx --check IMAGE"),
        ("The card, to publish with it", f"plainlearn card {file}"),
        ("The plain PyTorch script of this run", f"plainlearn eject {stem}.run"),
    ]
    unknown = (
        "<p>It can say <code>unknown</code> of images unlike its own: <code>plainlearn predict --unknown</code>.</p>"
        if data.can_say_unknown
        else ""
    )
    rows = "".join(f"<tr><td>{says}</td><td><code>{text(line)}</code></td></tr>" for says, line in lines)
    return _section("What to do with it", f'<table class="scores">{rows}</table>{unknown}')
