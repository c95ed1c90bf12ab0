"""The table of a run: a row an epoch."""

from __future__ import annotations

from plainlearn.eject.parts.given import NAMES


def print_row(epoch: int, values: list[float], seconds: float) -> None:
    """A row of the table, with the first its head."""
    if epoch == 0:
        print("  ".join(["epoch", *(f"{name:>10}" for name in NAMES), " time"]))
    cells = [f"{shown(value):>{max(10, len(name))}}" for name, value in zip(NAMES, values, strict=True)]
    print("  ".join([f"{epoch:>5}", *cells, f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"]), flush=True)


def shown(value: float) -> str:
    """Six decimals, where they say something and fit the column."""
    forms = [".3e"] if 0 < abs(value) < 1e-5 else [".6f", ".2f", ".3e"]
    return next((text for form in forms if len(text := f"{value:{form}}") <= 10), f"{value:.2e}")
