"""The report of an audit: what was found, as text, as plain data, as pictures, as a page."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Final, Literal

from plainlearn.core.errors import ArgumentError
from plainlearn.core.paths import Path, shown
from plainlearn.core.wholefile import check_replaceable, write_whole
from plainlearn.images.html import PAGE, document, picture, text, thumbnail

Severity = Literal["error", "warning", "note"]
MARKS: dict[Severity, str] = {"error": "✗", "warning": "!", "note": "·"}
_SHOWN = 5
_GROUPS, _MEMBERS, _CLASSES = 48, 8, 200  # shown of a finding, of a group, of all classes
_WORDS: Final = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "note": ("note", "notes")}
_COLUMNS = 4  # of a drawing


@dataclass(frozen=True)
class Finding:
    """One thing that was found: its kind, how bad it is, a sentence, what to do, and the groups of files.

    `groups` says each file as people read it, `paths` where it is; of classes there are no paths.
    """

    kind: str
    severity: Severity
    text: str
    advice: str
    groups: list[list[str]]
    paths: list[list[str]] = field(default_factory=list[list[str]])


@dataclass
class Audit:
    """The report. Print it, `show()` its pictures, `write_page(file)`, or take `as_dict()` for machines.

    `classes` and `sides` count the images of each; `root` is the folder that names are told from.
    """

    images: int
    classes: dict[str, int]
    sides: dict[str, int]
    findings: list[Finding] = field(default_factory=list[Finding])
    seconds: float = 0.0
    root: str = ""

    @property
    def unreadable(self) -> dict[str, str]:
        """The files that cannot be read, by path, each with the reason."""
        return {
            path: told
            for found in self.of("unreadable")
            for paths, group in zip(found.paths, found.groups, strict=True)
            for path, told in zip(paths, group, strict=True)
        }

    @property
    def errors(self) -> int:
        """How many kinds of error were found."""
        return sum(found.severity == "error" for found in self.findings)

    def of(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [found for found in self.findings if found.kind == kind]

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON: the fields of `Audit` and `Finding`."""
        return asdict(self)

    def show(self, max_groups: int = 6) -> None:
        """Draw what was found, with the names of the files: up to `max_groups` groups, or single files, of each kind."""
        _draw(self, max_groups)

    def write_page(self, file: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the report with its pictures as one HTML file that needs nothing else; it replaces a page of ours.

        Raises `StorageError` naming the file if it cannot be written, or is no page of ours, unless `force`.
        """
        check_replaceable(file, PAGE, force=force)
        write_whole(file, page_html(self).encode(), mark=PAGE, force=force)
        return Path(file)

    @property
    def headline(self) -> str:
        """How many images there are, in which classes and on which sides."""
        sides = ", ".join(f"{count} {side}" for side, count in self.sides.items() if side != "all")
        images = "1 image" if self.images == 1 else f"{self.images} images"
        classes = "1 class" if len(self.classes) == 1 else f"{len(self.classes)} classes"
        within = f" in {classes}" if self.classes else ""
        return f"{images}{within}{f' ({sides})' if sides else ''}"

    def __str__(self) -> str:
        lines = [f"{self.headline}, looked at in {self.seconds:.1f} s"]
        for found in self.findings:
            lines.append(f" {MARKS[found.severity]} {found.text}")
            for group in found.groups[:_SHOWN]:
                lines.append(f"     {'  =  '.join(map(shown, group[:4]))}{'  = …' if len(group) > 4 else ''}")
            if len(found.groups) > _SHOWN:
                lines.append(f"     … and {len(found.groups) - _SHOWN} more")
            lines.append(f"   {found.advice}")
        if not self.findings:
            lines.append(" Nothing was found that speaks against training.")
        return "\n".join(lines)


# ---- as a page


def page_html(report: Audit) -> str:
    """The whole page. Names of files and classes are escaped: they may hold anything."""
    nothing = "<p>Nothing was found that speaks against training.</p>"
    return document(
        f"Audit: {report.headline}",
        f"""<h1>What a model would learn from</h1>
<p>{escape(report.headline)}</p>
<p class="soft">{text(report.root)}</p>
<div class="chips">{_chips(report)}</div>
{findings_html(report) or nothing}
{_classes(report)}""",
    )


def findings_html(report: Audit) -> str:
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


# ---- as a drawing


def _draw(report: Audit, max_groups: int) -> None:
    """Rows of images for the groups of files, up to `max_groups` a finding. Prints a line if there are none."""
    from plainlearn.core.figures import show_image, subplots

    if max_groups < 1:
        raise ArgumentError(f"max_groups is {max_groups}; expected 1 or more")
    rows = [row for found in report.findings for row in _rows(found, max_groups)]
    if not rows:
        print("Nothing was found that a picture could show.")
        return
    columns = max(len(paths) for _, paths, _ in rows)
    figure, axes = subplots(len(rows), columns, imsize=2.6, squeeze=False)
    for (kind, paths, captions), line in zip(rows, axes, strict=True):
        line[0].text(-0.06, 0.5, kind, transform=line[0].transAxes, rotation=90, ha="right", va="center")
        for ax in line:
            ax.axis("off")
        for path, caption, ax in zip(paths, captions, line, strict=False):
            pixels = thumbnail(path, 200)
            if pixels is None:
                ax.text(
                    0.5, 0.5, "no picture", transform=ax.transAxes, ha="center", va="center", color="gray"
                )
            else:
                show_image(pixels, ax=ax)
            ax.set_title(_drawable(caption), fontsize=7, parse_math=False)
    figure.tight_layout()


def _rows(found: Finding, max_groups: int) -> list[tuple[str, list[str], list[str]]]:
    """The finding's kind, paths and captions, row by row: a group in each, or single files side by side."""
    groups = list(zip(found.paths, found.groups, strict=False))[:max_groups]
    if any(len(paths) > 1 for paths, _ in groups):
        return [(found.kind, paths[:_COLUMNS], captions[:_COLUMNS]) for paths, captions in groups]
    paths, captions = [path for (path,), _ in groups], [caption for _, (caption,) in groups]
    starts = range(0, len(groups), _COLUMNS)
    return [(found.kind, paths[at : at + _COLUMNS], captions[at : at + _COLUMNS]) for at in starts]


def _drawable(caption: str) -> str:
    """A caption in lines that fit, with a box for what matplotlib's own font has no sign for."""
    letters = [letter if ord(letter) < 0x2E80 else "□" for letter in shown(caption)]
    lines = textwrap.wrap("".join(letters), 34)
    return "\n".join([*lines[:3], *(["…"] if len(lines) > 3 else [])])
