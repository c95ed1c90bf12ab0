"""The random generators of Python, numpy and torch: seed them, save them, put them back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from plainlearn.core.errors import ArgumentTypeError, DataError

__all__ = ["preserve_random_state", "random_state", "set_random_state", "set_seed"]


def set_seed(seed: int, reproducible: bool = False) -> None:
    """Seed the generators of Python, numpy and torch, on all devices.

    With `reproducible`, torch also keeps to algorithms that give the same bits each time, where it has
    them, and warns where it has none; that can be slower, and lasts until the process ends.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ArgumentTypeError(f"seed is {seed!r}; expected a whole number", try_="set_seed(42)")
    seed = int(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # numpy takes no more
    torch.manual_seed(seed % 2**63)  # every device's
    if reproducible:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may add in any order
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def random_state() -> dict[str, Any]:
    """The state of all generators, as plain data: a tree of dicts and lists of numbers, strings and None,
    with torch's states as uint8 tensors. No pickle is needed to keep it.
    """
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": {"version": version, "words": list(words), "gauss": gauss},
        "numpy": {
            "kind": str(kind),
            "keys": np.asarray(keys).tolist(),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached_gauss": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put all generators back to a state from `random_state`.

    States of devices that this machine lacks are passed over: nothing here can draw from them.
    Raises `DataError` if a part is missing.
    """
    missing = {"python", "numpy", "torch", "cuda", "mps"} - set(state)
    if missing:
        raise DataError(
            f"the random state lacks {', '.join(sorted(missing))}; it holds {', '.join(state) or 'nothing'}"
        )
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"]), python["gauss"]))
    keys = np.asarray(numpy["keys"], dtype=np.uint32)
    np.random.set_state((numpy["kind"], keys, numpy["position"], numpy["has_gauss"], numpy["cached_gauss"]))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        for index, one in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(one, index)
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """What is drawn inside leaves no trace: the generators go on as if it had not been."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)
