"""Pictures that can hardly be told apart: which pairs there are, and which groups they make."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

_ALIKE = 0.99  # correlation of two pictures of 16 × 16 from which they count as near duplicates


def near_pairs(pictures: NDArray[np.uint8], block: int = 2048) -> list[tuple[int, int]]:
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


def connected(pairs: list[tuple[int, int]]) -> list[list[int]]:
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
