"""The audit: what is wrong, or looks wrong, with a set of labelled images, before a model learns it.

Unreadable and suspicious files, the same image twice, the same image in training and in
validation, one image under two labels, class names that are almost the same, classes with too
little. Nothing is changed or deleted; each finding names its files and says what to do.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plainlearn.core.errors import DataError
from plainlearn.core.paths import Path
from plainlearn.data.items import get_image_files
from plainlearn.data.label import parent_label
from plainlearn.vision.filefacts import Facts, gather

Severity = Literal["error", "warning", "note"]

_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png", ".apng"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "BMP": {".bmp", ".dib"},
    "WEBP": {".webp"},
}
_ALIKE = 0.99  # correlation of two pictures of 16 × 16 from which they count as near duplicates
_SMALLEST_FOR_ALIKE = 64  # pixels: below, different digits look as alike as copies of one photo
_MOST_FOR_ALIKE = 20_000  # the search compares all with all
_TINY, _HUGE = 32, 50_000_000  # shorter side in pixels; pixels in all
_IMBALANCE = 10  # times as many images in the largest class as in the smallest
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was found: its kind, how bad it is, a sentence, what to do, and the groups of files."""

    kind: str
    severity: Severity
    text: str
    advice: str
    groups: list[list[str]]


@dataclass
class Audit:
    """The report. Print it, or take `as_dict()` for machines."""

    images: int
    classes: dict[str, int]
    sides: dict[str, int]
    findings: list[Finding] = field(default_factory=list[Finding])
    seconds: float = 0.0

    @property
    def unreadable(self) -> list[str]:
        """The files that cannot be read."""
        return [
            file
            for found in self.findings
            if found.kind == "unreadable"
            for group in found.groups
            for file in group
        ]

    def of(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [found for found in self.findings if found.kind == kind]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        sides = ", ".join(f"{count} {side}" for side, count in self.sides.items())
        lines = [
            f"{self.images} images in {len(self.classes)} classes ({sides}), looked at in {self.seconds:.1f} s"
        ]
        marks = {"error": "✗", "warning": "!", "note": "·"}
        for found in self.findings:
            lines.append(f" {marks[found.severity]} {found.text}")
            for group in found.groups[:_SHOWN]:
                lines.append(f"     {'  =  '.join(group[:4])}{'  = …' if len(group) > 4 else ''}")
            if len(found.groups) > _SHOWN:
                lines.append(f"     … and {len(found.groups) - _SHOWN} more")
            lines.append(f"   {found.advice}")
        if not self.findings:
            lines.append(" Nothing was found that speaks against training.")
        return "\n".join(lines)


def audit_folder(folder: str | os.PathLike[str]) -> Audit:
    """The audit of images in folders named after their class, with or without `train` and `valid` above."""
    root = Path(folder)
    files = get_image_files(root)
    if not files:
        raise DataError(
            f"{root} holds no image files, in itself or below", try_="path.ls() to see what is there"
        )
    known = {"train", "valid", "val", "validation", "test"}
    sides = [
        next((part for part in file.relative_to(root).parts[:-1] if part.lower() in known), "all")
        for file in files
    ]
    empty = [
        entry.name
        for entry in _class_folders(root, files)
        if not any(entry in file.parents for file in files)
    ]
    return audit(files, [parent_label(file) for file in files], sides, root=root, empty_classes=empty)


def audit(
    files: Sequence[str | os.PathLike[str]],
    labels: Sequence[Hashable] | None = None,
    sides: Sequence[str] | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    empty_classes: Sequence[str] = (),
) -> Audit:
    """The audit of image files, with a label and a side ("train", "valid") each where they are known."""
    began = time.perf_counter()
    facts = gather(files)
    names = [_relative(file, root) for file in files]
    labels = [""] * len(names) if labels is None else list(labels)
    sides = ["all"] * len(names) if sides is None else list(sides)
    search = _Search(names, [str(label) for label in labels], list(sides), facts)
    found = [
        *search.unreadable(),
        *search.copies(),
        *search.alike(),
        *search.misnamed(),
        *search.sizes(),
        *search.class_names(empty_classes),
        *search.class_counts(),
    ]
    order: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
    found.sort(key=lambda each: order[each.severity])
    return Audit(
        len(names), dict(sorted(Counter(search.labels).items())), dict(Counter(search.sides)), found,
        time.perf_counter() - began,
    )  # fmt: skip


class _Search:
    def __init__(self, names: list[str], labels: list[str], sides: list[str], facts: list[Facts]) -> None:
        self.names, self.labels, self.sides, self.facts = names, labels, sides, facts
        self.sound = [place for place, fact in enumerate(facts) if not fact.problem]

    def unreadable(self) -> list[Finding]:
        bad = [place for place, fact in enumerate(self.facts) if fact.problem]
        reasons = "; ".join(self.facts[place].problem for place in bad[:3]) + (" …" if len(bad) > 3 else "")
        return self._about(
            "unreadable", "error", bad, "{} cannot be read: " + reasons.replace("{", "{{").replace("}", "}}"),
            "Training would stop at each of them. Replace or remove them.",
        )  # fmt: skip

    def copies(self) -> list[Finding]:
        """Files with the same bytes."""
        same: defaultdict[str, list[int]] = defaultdict(list)
        for place in self.sound:
            same[self.facts[place].digest].append(place)
        return self._doubles(
            [group for group in same.values() if len(group) > 1], "the same image", exact=True
        )

    def alike(self) -> list[Finding]:
        """Files whose pictures can hardly be told apart."""
        large = [
            p for p in self.sound if min(self.facts[p].width, self.facts[p].height) >= _SMALLEST_FOR_ALIKE
        ]
        if not 2 <= len(large) <= _MOST_FOR_ALIKE:
            return []
        pairs = _near_pairs(np.stack([self.facts[place].picture() for place in large]))
        groups = _connected([(large[a], large[b]) for a, b in pairs
                             if self.facts[large[a]].digest != self.facts[large[b]].digest])  # fmt: skip
        return self._doubles(groups, "almost the same image", exact=False)

    def _doubles(self, groups: list[list[int]], what: str, *, exact: bool) -> list[Finding]:
        kind = "" if exact else "near-"
        leaks: list[list[int]] = []
        quarrels: list[list[int]] = []
        plain: list[list[int]] = []
        for group in groups:
            crosses = len({self.sides[place] for place in group}) > 1
            differs = len({self.labels[place] for place in group}) > 1
            if differs:
                quarrels.append(group)
            if crosses:
                leaks.append(group)
            if not crosses and not differs:
                plain.append(group)
        found: list[Finding] = []
        worst: Severity = "error" if exact else "warning"
        told: list[tuple[str, Severity, list[list[int]], str, str]] = [
            (
                "leak", worst, leaks, f"{what} is in training and in validation",
                "The score would flatter the model. Keep copies on one side: GroupSplitter, or remove one.",
            ),
            (
                "label-conflict", worst, quarrels, f"{what} has different labels",
                "At most one label can be right. Look at them and correct the others.",
            ),
            (
                "duplicate", "warning" if exact else "note", plain, f"{what} is there more than once",
                "It counts more than others. Remove the copies if that is not meant.",
            ),
        ]  # fmt: skip
        for name, severity, members, text, advice in told:
            if members:
                times = "once" if len(members) == 1 else f"{len(members)} times"
                found.append(Finding(kind + name, severity, f"{times} {text}", advice, self._named(members)))
        return found

    def misnamed(self) -> list[Finding]:
        def ending(place: int) -> str:
            return os.path.splitext(self.names[place])[1].lower()  # noqa: PTH122

        wrong = [p for p in self.sound if ending(p) not in _SUFFIXES.get(self.facts[p].kind, {ending(p)})]
        return self._about(
            "wrong-extension", "note", wrong, "{} not of the kind that the name says",
            "They are read by their contents; other programs may not.",
        )  # fmt: skip

    def sizes(self) -> list[Finding]:
        shorter = [min(self.facts[p].width, self.facts[p].height) for p in self.sound]
        # A set of small images, such as digits, is what it is; single small ones among large ones are a mistake.
        usual = float(np.median(shorter)) if shorter else 0.0
        tiny = [p for p, side in zip(self.sound, shorter, strict=True) if side < _TINY and usual >= 2 * _TINY]
        huge = [p for p in self.sound if self.facts[p].width * self.facts[p].height > _HUGE]
        return [
            *self._about(
                "tiny", "warning", tiny, f"{{}} smaller than {_TINY} pixels on a side",
                "They may be icons or thumbnails. Look at them.",
            ),
            *self._about(
                "huge", "note", huge, f"{{}} of more than {_HUGE // 1_000_000} million pixels",
                "Each costs a second to open. Smaller copies would train faster.",
            ),
        ]  # fmt: skip

    def _about(
        self, kind: str, severity: Severity, places: list[int], text: str, advice: str
    ) -> list[Finding]:
        """One finding about these files, or none if there are none; `{}` in `text` is how many."""
        if not places:
            return []
        count = "1 file" if len(places) == 1 else f"{len(places)} files"
        return [
            Finding(kind, severity, text.format(count), advice, [[self.names[place]] for place in places])
        ]

    def class_names(self, empty: Sequence[str]) -> list[Finding]:
        by_sense: defaultdict[str, set[str]] = defaultdict(set)
        for label in {*self.labels, *empty}:
            by_sense[unicodedata.normalize("NFKC", label).casefold().strip()].add(label)
        twins = [sorted(group) for group in by_sense.values() if len(group) > 1]
        found: list[Finding] = []
        if twins:
            text = "class names that differ only in case, spaces or Unicode form"
            advice = "They are different classes to the model. Rename them if they are one."
            found.append(Finding("class-names", "warning", text, advice, twins))
        if empty:
            text, advice = "class folders without an image", "The model cannot know these classes."
            found.append(Finding("empty-class", "warning", text, advice, [[name] for name in empty]))
        return found

    def class_counts(self) -> list[Finding]:
        counts = Counter(self.labels[place] for place in self.sound)
        found: list[Finding] = []
        if len(counts) < 2:
            return found
        single = sorted(label for label, count in counts.items() if count == 1)
        if single:
            text = "classes of one image"
            advice = "One image cannot be learned from and tested on. Add more."
            found.append(Finding("one-image-class", "warning", text, advice, [[label] for label in single]))
        (most, largest), (least, smallest) = counts.most_common(1)[0], counts.most_common()[-1]
        if largest >= _IMBALANCE * smallest:
            text = f"{most!r} has {largest} images and {least!r} {smallest}"
            advice = "Accuracy will speak of the large class. Look at each class's own."
            found.append(Finding("imbalance", "note", text, advice, [[most], [least]]))
        return found

    def _named(self, groups: list[list[int]]) -> list[list[str]]:
        def shown(place: int) -> str:
            about = [part for part in (self.sides[place], self.labels[place]) if part not in ("", "all")]
            return f"{self.names[place]} ({', '.join(about)})" if about else self.names[place]

        return [[shown(place) for place in group] for group in groups]


def _near_pairs(pictures: NDArray[np.uint8], block: int = 2048) -> list[tuple[int, int]]:
    """Pairs (a, b), a < b, of pictures (N, 16, 16) whose grey levels correlate by `_ALIKE` or more."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    plain = norms[:, 0] < 1e-3 * flat.shape[1]  # one even grey resembles every other
    flat /= np.maximum(norms, 1e-6)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(flat), block):
        rows, columns = np.nonzero(flat[start : start + block] @ flat[start:].T >= _ALIKE)
        for a, b in zip((rows + start).tolist(), (columns + start).tolist(), strict=True):
            if a < b and not plain[a] and not plain[b]:
                pairs.append((a, b))
    return pairs


def _connected(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Groups of places that pairs join."""
    leader: dict[int, int] = {}

    def find(place: int) -> int:
        while leader.setdefault(place, place) != place:
            place = leader[place]
        return place

    for a, b in pairs:
        leader[find(b)] = find(a)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for place in leader:
        groups[find(place)].append(place)
    return [sorted(group) for group in groups.values()]


def _class_folders(root: Path, files: Sequence[Path]) -> list[Path]:
    """Folders that stand beside folders of classes."""
    above = {file.parent.parent for file in files if file.parent != root}
    return [entry for folder in sorted(above) for entry in sorted(folder.iterdir())
            if entry.is_dir() and not entry.name.startswith(".")]  # fmt: skip


def _relative(file: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> str:
    name = os.fspath(file)
    if root is None:
        return name
    base = os.fspath(root)
    return os.path.relpath(name, base) if os.path.abspath(name).startswith(os.path.abspath(base)) else name  # noqa: PTH100
