"""The report of an audit: what was found, as text, as plain data, as pictures, as a page."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from plainlearn.audit.html import PAGE
from plainlearn.core.paths import Path, shown
from plainlearn.core.wholefile import check_replaceable, write_whole

Severity = Literal["error", "warning", "note"]
MARKS: dict[Severity, str] = {"error": "✗", "warning": "!", "note": "·"}
_SHOWN = 5


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
        from plainlearn.audit.thumbnails import draw

        draw(self, max_groups)

    def write_page(self, file: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the report with its pictures as one HTML file that needs nothing else; it replaces a page of ours.

        Raises `StorageError` naming the file if it cannot be written, or is no page of ours, unless `force`.
        """
        from plainlearn.audit.page import page

        check_replaceable(file, PAGE, force=force)
        write_whole(file, page(self).encode(), mark=PAGE, force=force)
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
