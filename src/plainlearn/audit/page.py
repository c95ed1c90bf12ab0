"""The report of an audit as one HTML page with its pictures in it: no scripts, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import TYPE_CHECKING, Final

from plainlearn.audit.html import document, picture, text

if TYPE_CHECKING:
    from plainlearn.audit.findings import Audit, Finding

_GROUPS, _MEMBERS, _CLASSES = 48, 8, 200  # shown of a finding, of a group, of all classes
_WORDS: Final = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "note": ("note", "notes")}


def page(report: Audit) -> str:
    """The whole page. Names of files and classes are escaped: they may hold anything."""
    nothing = "<p>Nothing was found that speaks against training.</p>"
    return document(
        f"Audit: {report.headline}",
        f"""<h1>What a model would learn from</h1>
<p>{escape(report.headline)}</p>
<p class="soft">{text(report.root)}</p>
<div class="chips">{_chips(report)}</div>
{findings(report) or nothing}
{_classes(report)}""",
    )


def findings(report: Audit) -> str:
    """What was found, as sections of a page with the pictures in them."""
    paths = {
        path: None
        for found in report.findings
        for group in found.paths[:_GROUPS]
        for path in group[:_MEMBERS]
    }
    with ThreadPoolExecutor() as pool:
        pictures = dict(zip(paths, pool.map(picture, paths), strict=True))
    return "\n".join(_finding(found, pictures) for found in report.findings)


def _chips(report: Audit) -> str:
    counts = dict.fromkeys(_WORDS, 0)
    for found in report.findings:
        counts[found.severity] += 1
    return "".join(
        f'<span class="chip {severity}">{count} {_WORDS[severity][count != 1]}</span>'
        for severity, count in counts.items()
        if count
    )


def _finding(found: Finding, pictures: Mapping[str, str]) -> str:
    groups = found.groups[:_GROUPS]
    if found.paths:
        many = any(len(group) > 1 for group in groups)
        inner = "".join(
            f'<div class="group{" pair" if many else ""}">{_figures(group, paths, pictures)}</div>'
            for group, paths in zip(groups, found.paths, strict=False)
        )
    else:
        inner = "".join(
            f'<span class="group">{"".join(f"<span class=name>{text(name)}</span>" for name in group)}</span>'
            for group in groups
        )
    more = len(found.groups) - len(groups)
    rest = f'<p class="soft">… and {more} more</p>' if more else ""
    return (
        f'<section class="{found.severity}"><h2>{text(found.text)}</h2><p class="soft">{text(found.advice)}</p>'
        f'<div class="groups">{inner}</div>{rest}</section>'
    )


def _figures(group: list[str], paths: list[str], pictures: Mapping[str, str]) -> str:
    made = [
        f'<figure><div class="frame">{pictures[path]}</div><figcaption>{text(name)}</figcaption></figure>'
        for name, path in zip(group[:_MEMBERS], paths, strict=False)
    ]
    more = len(group) - len(made)
    return "".join(made) + (f'<p class="soft">… and {more} more</p>' if more else "")


def _classes(report: Audit) -> str:
    if not report.classes:
        return ""
    ordered = sorted(report.classes.items(), key=lambda pair: -pair[1])
    most = max(ordered[0][1], 1)
    rows = "".join(
        f'<tr><td class="class">{text(name)}</td><td class="count">{count}</td>'
        f'<td class="bar"><i style="width:{100 * count / most:.1f}%"></i></td></tr>'
        for name, count in ordered[:_CLASSES]
    )
    more = len(ordered) - _CLASSES
    rest = f'<p class="soft">… and {more} more</p>' if more > 0 else ""
    return f'<section class="soft"><h2>Images in each class</h2><table>{rows}</table>{rest}</section>'
