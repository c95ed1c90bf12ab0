"""Transfer learning on the pet photos: 37 breeds, 8 photos to train and 2 to validate each, EfficientNet-Lite0, offline.

For each seed a stratified split; on it `fine_tune` by plainlearn and by fastai, with the same weights and as many epochs,
`learn.probe()`, and cat or dog. The split's seed is the run's. CPU and wall seconds are of everything from the files on.
fastai has an equal-time run too: as many epochs as fit into what plainlearn took, at least one.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from harness import HERE, ROOT, Report, Worker, positive
from peers import peers_python

PHOTOS = Path(os.environ.get("PLAINLEARN_TEST_DATA", ROOT.parent / "shared" / "data")) / "oxford-iiit-pet.tgz"


def split(labels: list[str], seed: int) -> list[int]:
    """Two photos of each breed."""
    by_breed: dict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(labels):
        by_breed[label].append(number)
    drawn = random.Random(seed)
    return sorted(number for breed in sorted(by_breed) for number in drawn.sample(by_breed[breed], 2))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=positive, default=5)
    parser.add_argument("--epochs", type=positive, default=1)
    parser.add_argument("--bs", type=positive, default=64)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--without-peer", action="store_true")
    parser.add_argument(
        "--peer-seeds", type=positive, default=5, help="of the first seeds alone, for it takes long"
    )
    asked = parser.parse_args()
    report = Report(
        "transfer_pets",
        f"pets, EfficientNet-Lite0, fine_tune({asked.epochs})",
        "fastai",
        threads=asked.threads,
    )
    results: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(PHOTOS) as archive:
            archive.extractall(folder, filter="data")
        files = sorted(map(str, Path(folder).rglob("images/*.jpg")))
        breeds = [re.sub(r"_\d+$", "", Path(file).stem) for file in files]
        species = ["cat" if breed[0].isupper() else "dog" for breed in breeds]
        weights = str(Path(folder) / "lite0.safetensors")
        script = HERE / "transfer_worker.py"
        threads = str(asked.threads)
        with Worker(sys.executable, script, "plainlearn", threads, threads=asked.threads) as ours:
            report.versions["plainlearn"] = ours.ask("hello")
            ours.ask("weights", file=weights)
            common = {"files": files, "bs": asked.bs, "weights": weights}
            # A short run first: what is loaded and compiled at first use is no part of a figure.
            ours.ask("run", **{**common, "files": files[::10]}, labels=species[::10], valid=list(range(0, 37, 5)),
                     seed=0, epochs=1, job="probe")  # fmt: skip
            peer = (
                None
                if asked.without_peer
                else Worker(peers_python(), script, "fastai", threads, threads=asked.threads)
            )
            try:
                if peer is not None:
                    report.versions["fastai"] = peer.ask("hello")
                for seed in range(asked.seeds):
                    on = {**common, "labels": breeds, "valid": split(breeds, seed), "seed": seed}
                    results["probe"].append(ours.ask("run", **on, epochs=0, job="probe"))
                    results["ours"].append(ours.ask("run", **on, epochs=asked.epochs, job="fine_tune"))
                    animals = {**on, "labels": species}
                    results["animals"].append(ours.ask("run", **animals, epochs=0, job="probe"))
                    if peer is not None and seed < asked.peer_seeds:
                        theirs = peer.ask("run", **on, epochs=asked.epochs, job="fine_tune")
                        results["peer"].append(theirs)
                        share = results["ours"][-1]["training"] / theirs["training"]
                        fits = max(1, round(share * (asked.epochs + 1)) - 1)
                        same = fits == asked.epochs
                        again = theirs if same else peer.ask("run", **on, epochs=fits, job="fine_tune")
                        results["peer, equal time"].append({**again, "epochs": fits})
                    print(f"seed {seed}: " + ", ".join(
                        f"{name} {rows[seed]['accuracy']:.3f} in {rows[seed]['wall']:.0f} s"
                        for name, rows in results.items() if seed < len(rows)
                    ), flush=True)  # fmt: skip
            finally:
                if peer is not None:
                    peer.close()

    def of(name: str, field: str) -> list[float]:
        return [row[field] for row in results[name]]

    report.figure("fine_tune, mean accuracy", [mean(of("ours", "accuracy"))], at_least=0.87,
                  peer=[mean(of("peer", "accuracy"))] if results["peer"] else ())  # fmt: skip
    report.figure("probe, mean accuracy", [mean(of("probe", "accuracy"))], at_least=0.86)
    passes = [row["training"] / row["one_pass"] for row in results["probe"]]
    report.figure("probe, times one pass through the body", passes, at_most=1.2)
    report.figure("cat or dog, mean accuracy", [mean(of("animals", "accuracy"))], at_least=0.99)
    if results["peer"]:
        paired = len(results["peer"])
        report.compare(
            "fine_tune, wall seconds", of("ours", "wall")[:paired], of("peer", "wall"), at_most=1.0
        )
        report.compare("fine_tune, CPU seconds", of("ours", "cpu")[:paired], of("peer", "cpu"))
        ahead = mean(of("ours", "accuracy")[:paired]) - mean(of("peer, equal time", "accuracy"))
        report.figure("accuracy minus the peer's at equal time", [ahead], at_least=0.0)
    report.figures = dict(results)
    report.rounds = {"seeds": asked.seeds}
    report.close()


if __name__ == "__main__":
    main()
