"""The audit: what is wrong, or looks wrong, with a set of labelled images, before a model learns it.

Unreadable and suspicious files, the same image twice, the same image in training and in
validation, one image under two labels, class names that are almost the same, classes with too
little. Nothing is changed or deleted; each finding names its files and says what to do.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.audit.findings import Audit, Finding, Severity
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.paths import Path, shown
from plainlearn.data.items import find_files, image_extensions
from plainlearn.data.label import parent_label
from plainlearn.data.validate_items import alike_names
from plainlearn.images.file_facts import Facts, gather

_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png", ".apng"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "BMP": {".bmp", ".dib"},
    "WEBP": {".webp"},
}
_SMALLEST_FOR_NEAR = 64  # pixels: below, different digits look as alike as copies of one photo
_NEAR = 0.99  # correlation of two pictures of 16 × 16 from which they count as near duplicates
_MOST_FOR_NEAR = 20_000  # the search compares all with all
_TINY, _HUGE = 32, 50_000_000  # shorter side in pixels; pixels in all
_IMBALANCE = 10  # times as many images in the largest class as in the smallest


def audit_folder(folder: str | os.PathLike[str]) -> Audit:
    """The audit of images in folders named after their class, with or without `train` and `valid` above."""
    root = Path(folder)
    found = find_files(root, image_extensions)
    files, passed_over = found.files, found.left_out
    if not files:
        raise DataError(
            f"{root} holds no image files, in itself or below", try_="path.ls() to see what is there"
        )
    known = {"train", "valid", "val", "validation", "test"}
    sides = [
        next((part for part in file.relative_to(root).parts[:-1] if part.lower() in known), "all")
        for file in files
    ]
    classes = [folder.name for folder in _class_folders(root, files)]
    report = audit(files, [parent_label(file) for file in files], sides, classes=classes, root=root)
    if passed_over:
        text = "Named like images, and passed over"
        told = [[f"{shown(_relative(file, root))}: {reason}"] for file, reason in passed_over]
        advice = "Training does not see them. Remove them, or put files in their place."
        report.findings.append(Finding("passed-over", "note", text, advice, told))
    return report


def audit(
    files: Sequence[str | os.PathLike[str]],
    labels: Sequence[object] | None = None,
    sides: Sequence[str] | None = None,
    *,
    classes: Sequence[object] = (),
    problems: Mapping[int, str] | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Audit:
    """The audit of image files, with a label and a side ("train", "valid") each where they are known.

    A label may be a tuple of several, or of none. `classes` are those that there should be; `problems` says of
    files, by their place, why they cannot be used though they may be readable; names are told from `root` on.
    Raises `ArgumentError` unless there are as many labels and sides as files.
    """
    began = time.perf_counter()
    for name, given in (("labels", labels), ("sides", sides)):
        if given is not None and len(given) != len(files):
            raise ArgumentError(f"there are {len(files)} files and {len(given)} {name}; expected one each")
    facts = [
        replace(fact, problem=(problems or {}).get(place, "") or fact.problem)
        for place, fact in enumerate(gather(files))
    ]
    known = [()] * len(facts) if labels is None else [_label_texts(label) for label in labels]
    search = _Search(
        [os.path.abspath(file) for file in files],  # noqa: PTH100 (of strings, ten times as fast)
        [shown(_relative(file, root)) for file in files],
        known,
        ["all"] * len(facts) if sides is None else list(sides),
        facts,
    )
    found = [
        *search.unreadable(),
        *search.duplicates(),
        *search.near_duplicates(),
        *search.misnamed(),
        *search.sizes(),
        *search.class_names({str(label) for label in classes}),
        *search.class_counts(),
    ]
    order: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
    found.sort(key=lambda each: order[each.severity])
    counts = Counter(label for texts in known for label in texts)
    return Audit(
        len(facts), dict(sorted(counts.items())), dict(Counter(search.sides)), found,
        time.perf_counter() - began, "" if root is None else os.path.abspath(root),  # noqa: PTH100
    )  # fmt: skip


class _Search:
    def __init__(
        self,
        paths: list[str],
        names: list[str],
        labels: list[tuple[str, ...]],
        sides: list[str],
        facts: list[Facts],
    ) -> None:
        self.paths, self.names, self.labels, self.sides, self.facts = paths, names, labels, sides, facts
        self.readable = [place for place, fact in enumerate(facts) if not fact.problem]

    def unreadable(self) -> list[Finding]:
        bad = [place for place, fact in enumerate(self.facts) if fact.problem]
        (found,) = self._about(
            "unreadable", "error", bad, "{} cannot be used",
            "They are left out of training. Replace or remove them.",
        ) or (None,)  # fmt: skip
        if found is None:
            return []
        # A reason begins with the whole path of its file; the report says it from the root on.
        reasons = [self.facts[place].problem for place in bad]
        told = [
            self.names[place] + reason.removeprefix(shown(self.paths[place]))
            if reason.startswith(shown(self.paths[place]))
            else f"{self.names[place]}: {reason}"
            for place, reason in zip(bad, reasons, strict=True)
        ]
        return [replace(found, groups=[[each] for each in told])]

    def duplicates(self) -> list[Finding]:
        """Files with the same bytes."""
        same: defaultdict[str, list[int]] = defaultdict(list)
        for place in self.readable:
            same[self.facts[place].digest].append(place)
        return self._duplicates(
            [group for group in same.values() if len(group) > 1], "The same image", exact=True
        )

    def near_duplicates(self) -> list[Finding]:
        """Files whose pictures can hardly be told apart."""
        large = [
            p for p in self.readable if min(self.facts[p].width, self.facts[p].height) >= _SMALLEST_FOR_NEAR
        ]
        if not 2 <= len(large) <= _MOST_FOR_NEAR:
            return []
        pairs = _near_pairs(np.stack([self.facts[place].picture() for place in large]))
        groups = _connected([(large[a], large[b]) for a, b in pairs
                             if self.facts[large[a]].digest != self.facts[large[b]].digest])  # fmt: skip
        return self._duplicates(groups, "Almost the same image", exact=False)

    def _duplicates(self, groups: list[list[int]], what: str, *, exact: bool) -> list[Finding]:
        kind = "" if exact else "near-"
        leaks: list[list[int]] = []
        conflicts: list[list[int]] = []
        copies: list[list[int]] = []
        for group in groups:
            crosses = len({self.sides[place] for place in group}) > 1
            differs = len({frozenset(self.labels[place]) for place in group}) > 1
            if differs:
                conflicts.append(group)
            if crosses:
                leaks.append(group)
            if not crosses and not differs:
                copies.append(group)
        found: list[Finding] = []
        worst: Severity = "error" if exact else "warning"
        kinds: list[tuple[str, Severity, list[list[int]], str, str]] = [
            (
                "leak", worst, leaks, f"{what} is in training and in validation",
                "The score would flatter the model. Keep copies on one side: GroupSplitter, or remove one.",
            ),
            (
                "label-conflict", worst, conflicts, f"{what} has different labels",
                "At most one label can be right. Look at them and correct the others.",
            ),
            (
                "duplicate", "warning" if exact else "note", copies, f"{what} is there more than once",
                "It counts more than others. Remove the copies if that is not meant.",
            ),
        ]  # fmt: skip
        for name, severity, members, text, advice in kinds:
            if members:
                text += ": once" if len(members) == 1 else f": {len(members)} times"
                found.append(
                    Finding(
                        kind + name, severity, text, advice, self._named(members), self._paths(members)
                    )
                )  # fmt: skip
        return found

    def misnamed(self) -> list[Finding]:
        def ending(place: int) -> str:
            return os.path.splitext(self.paths[place])[1].lower()  # noqa: PTH122

        wrong = [p for p in self.readable if ending(p) not in _SUFFIXES.get(self.facts[p].kind, {ending(p)})]
        return self._about(
            "wrong-extension", "note", wrong, "{} not of the kind that the name says",
            "They are read by their contents; other programs may not.",
        )  # fmt: skip

    def sizes(self) -> list[Finding]:
        shorter = [min(self.facts[p].width, self.facts[p].height) for p in self.readable]
        # A set of small images, such as digits, is what it is; single small ones among large ones are a mistake.
        usual = float(np.median(shorter)) if shorter else 0.0
        tiny = [
            p for p, side in zip(self.readable, shorter, strict=True) if side < _TINY and usual >= 2 * _TINY
        ]
        huge = [p for p in self.readable if self.facts[p].width * self.facts[p].height > _HUGE]
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
        names, paths = [[self.names[place]] for place in places], self._paths([[place] for place in places])
        return [Finding(kind, severity, text.format(count), advice, names, paths)]

    def class_names(self, expected: set[str]) -> list[Finding]:
        present: defaultdict[str, set[str]] = defaultdict(set)
        for place in self.readable:
            present[self.sides[place]].update(self.labels[place])
        found_somewhere = {label for labels in present.values() for label in labels}
        every = expected | {label for texts in self.labels for label in texts}
        found: list[Finding] = []
        if twins := alike_names(every):
            text = "Class names that differ only in case, spaces or Unicode form"
            advice = "They are different classes to the model. Rename them if they are one."
            found.append(Finding("class-names", "warning", text, advice, twins))
        if empty := sorted(every - found_somewhere):
            text, advice = "Classes without an image", "The model cannot know these classes."
            found.append(Finding("empty-class", "warning", text, advice, [[name] for name in empty]))
        for side, labels in present.items():
            missing = sorted(found_somewhere - labels)
            if missing and side.lower() != "test":
                trained = side.lower() == "train"
                advice = (
                    "The model cannot know these classes."
                    if trained
                    else "The score says nothing about them."
                )
                text = f"Classes without an image in {side}"
                severity: Severity = "warning" if trained else "note"
                found.append(Finding("missing-class", severity, text, advice, [[name] for name in missing]))
        return found

    def class_counts(self) -> list[Finding]:
        counts = Counter(label for place in self.readable for label in self.labels[place])
        found: list[Finding] = []
        if len(counts) < 2:
            return found
        single = sorted(label for label, count in counts.items() if count == 1)
        if single:
            text = "Classes of one image"
            advice = "One image cannot be learned from and tested on. Add more."
            found.append(Finding("one-image-class", "warning", text, advice, [[label] for label in single]))
        (most, largest), (least, smallest) = counts.most_common(1)[0], counts.most_common()[-1]
        if largest >= _IMBALANCE * smallest:
            text = f"{most!r} has {largest} images and {least!r} {smallest}"
            advice = "Accuracy will speak of the large class. Look at each class's own."
            found.append(Finding("imbalance", "note", text, advice, [[most], [least]]))
        return found

    def _named(self, groups: list[list[int]]) -> list[list[str]]:
        def told(place: int) -> str:
            side = self.sides[place]
            about = [*([] if side == "all" else [side]), *self.labels[place]]
            return f"{self.names[place]} ({', '.join(map(shown, about))})" if about else self.names[place]

        return [[told(place) for place in group] for group in groups]

    def _paths(self, groups: list[list[int]]) -> list[list[str]]:
        return [[self.paths[place] for place in group] for group in groups]


def _label_texts(label: object) -> tuple[str, ...]:
    if isinstance(label, tuple):
        return tuple(map(str, cast("tuple[object, ...]", label)))
    return (str(label),)


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


# ---- pictures that can hardly be told apart: which pairs there are, and which groups they make


def _near_pairs(pictures: NDArray[np.uint8], block: int = 2048) -> list[tuple[int, int]]:
    """Pairs (a, b), a < b, of pictures (N, 16, 16) whose grey levels correlate by `_NEAR` or more."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    plain = norms[:, 0] < 1e-3 * flat.shape[1]  # one even grey resembles every other
    flat /= np.maximum(norms, 1e-6)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(flat), block):
        rows, columns = np.nonzero(flat[start : start + block] @ flat[start:].T >= _NEAR)
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
