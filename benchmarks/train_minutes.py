"""`plainlearn train FOLDER --minutes 5` on the pet photos, as its user types it: accuracy and the time that it keeps.

37 breeds, 8 photos to train and 2 to validate each, drawn anew for each seed; EfficientNet-Lite0's weights from their
package, no network. Each seed is a process of its own, from its start to its end.

    python benchmarks/train_minutes.py [--minutes 5] [--seeds 5] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import Report, add_data_option, pets_in, positive, usable_cores

import plainlearn

# What the run calls it.
HEAD = "a linear layer on the network's features"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=positive, default=5)
    asked = parser.parse_args()
    report = Report(
        "train_minutes", f"plainlearn train, pets, --minutes {asked.minutes:g}", threads=usable_cores()
    )
    report.versions["plainlearn"] = {"version": plainlearn.__version__, "torch": metadata.version("torch")}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(pets_in(asked.data)) as archive:
            archive.extractall(folder, filter="data")
        photos = Path(folder) / "oxford-iiit-pet" / "images"
        for seed in range(asked.seeds):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "plainlearn", "train", str(photos), "--labels", r"^(.+)_\d+", "--json",
                 "--minutes", f"{asked.minutes:g}", "--seed", str(seed), "--out", f"seed-{seed}.plain"],
                cwd=folder, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                raise SystemExit(f"seed {seed} ended with {done.returncode}:\n{done.stderr}")
            rows.append({**json.loads(done.stdout), "wall": time.perf_counter() - began, "seed": seed})
            row, head = rows[-1], rows[-1]["baselines"][HEAD]
            print(
                f"seed {seed}: accuracy {row['value']:.3f} in {row['wall']:.0f} s ({row['kept']}, {row['epochs']} epochs; "
                f"head alone {head:.3f})",
                flush=True,
            )
    report.figure("mean accuracy", [sum(row["value"] for row in rows) / len(rows)], at_least=0.87)
    share = [row["wall"] / 60 / asked.minutes for row in rows]
    report.figure("longest time, of the minutes asked for", [max(share)], at_most=1.1)
    report.figure("shortest time, of the minutes asked for", [min(share)], at_least=0.9)
    report.figures = {"runs": rows}
    report.rounds = {"seeds": asked.seeds}
    report.close()


if __name__ == "__main__":
    main()
