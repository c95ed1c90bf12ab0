"""The random generators of Python, numpy and torch: seed them, save them, put them back."""

from __future__ import annotations

import os
import random
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentTypeError, DataError

__all__ = ["drawn_seed", "preserve_random_state", "random_state", "set_random_state", "set_seed"]


def set_seed(seed: int, reproducible: bool = False) -> None:
    """Seed the generators of Python, numpy and torch, on all devices.

    With `reproducible`, torch also keeps to algorithms that give the same bits each time, where it has
    them, and warns where it has none; that can be slower, and lasts until the process ends.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ArgumentTypeError(f"seed is {describe(seed)}; expected a whole number", try_="set_seed(42)")
    seed = int(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # numpy takes 32 bits, torch 64
    torch.manual_seed(seed % 2**64)
    if reproducible:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS adds in any order
        torch.backends.cudnn.benchmark = False
        # Like `use_deterministic_algorithms(True, warn_only=True)`, which first imports the compiler, for 5 s.
        torch.set_deterministic_debug_mode("warn")


def drawn_seed() -> int:
    """A seed for what has a generator of its own, drawn from torch's, which `set_seed` repeats."""
    return int(torch.empty((), dtype=torch.int64, device="cpu").random_().item())


def random_state() -> dict[str, Any]:
    """The state of all generators as plain data, to be kept without pickle.

    A tree of dicts and lists whose leaves are numbers, strings, None, and, under "torch", "cuda"
    and "mps", uint8 tensors. Of a CUDA that has not been used yet, nothing is kept.
    """
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached_gauss = np.random.get_state(legacy=True)
    return {
        "python": {"version": version, "words": list(words), "gauss": gauss},
        "numpy": {
            "kind": str(kind),
            "keys": np.asarray(keys).tolist(),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached_gauss": float(cached_gauss),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put all generators back to a state from `random_state`.

    The states of devices that this machine lacks are passed over: nothing here draws from them.
    Raises `DataError` if a part is missing.
    """
    missing = {"python", "numpy", "torch", "cuda", "mps"} - set(state)
    if missing:
        found = ", ".join(map(str, state)) or "nothing"
        raise DataError(f"the random state lacks {', '.join(sorted(missing))}; it holds {found}")
    python, legacy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"]), python["gauss"]))
    keys = np.asarray(legacy["keys"], dtype=np.uint32)
    np.random.set_state(
        (legacy["kind"], keys, legacy["position"], legacy["has_gauss"], legacy["cached_gauss"])
    )
    torch.set_rng_state(_as_bytes(state["torch"]))
    if torch.cuda.is_available():
        for index, one in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(_as_bytes(one), index)
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(_as_bytes(state["mps"]))


def _as_bytes(state: Any) -> torch.Tensor:
    """A generator's state as torch wants it, though it went through a file of another kind or device."""
    return torch.as_tensor(state, dtype=torch.uint8, device="cpu")


@contextmanager
def preserve_random_state() -> Generator[None]:
    """What is drawn inside leaves no trace: afterwards the generators go on as if it had not been."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)
