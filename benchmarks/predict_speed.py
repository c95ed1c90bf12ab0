"""What one prediction costs: ours and its parts against fastai's `load_learner(...).predict`, in turns in one run.

EfficientNet-Lite0 at 224, on photos of pets, one at a time, from the path to the label. The parts are timed inside of
our predictions: decode (reading the file too), resize (and normalisation), the network alone; the rest is overhead.

    python benchmarks/predict_speed.py [--rounds 9] [--photos 30] [--threads 1] [--no-peers] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from harness import HERE, Report, Worker, add_data_option, interleaved, pets_in, positive
from peers import peers_python, versions_in
from pipeline_worker import unpacked


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--rounds", type=positive, default=9)
    parser.add_argument("--photos", type=positive, default=30)
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    options = parser.parse_args()

    versions: dict[str, object] = {name: version(name) for name in ("plainlearn", "torch", "onnxruntime")}
    interpreters = {"plainlearn": Path(sys.executable), "onnxruntime": Path(sys.executable)}
    if options.peers:
        interpreters["fastai"] = peers_python()
        versions["peers"] = versions_in(interpreters["fastai"])
    found: dict[str, list[dict[str, float]]] = {system: [] for system in interpreters}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = [str(file) for file in unpacked(pets_in(options.data), folder)]
        some = files[:: len(files) // options.photos][: options.photos]
        workers: dict[str, Worker] = {}
        for system, python in interpreters.items():
            own = folder / system
            own.mkdir()
            worker = Worker(
                python, HERE / "predict_worker.py", system, str(options.threads), threads=options.threads
            )
            workers[system] = stack.enter_context(worker)
            workers[system].ask("make", files=files, folder=str(own))
            workers[system].ask("run", files=some)  # to warm up
        for _, system in interleaved(list(workers), options.rounds):
            found[system].append(workers[system].ask("run", files=some))

    report = Report(
        "predict_speed",
        f"One prediction, EfficientNet-Lite0 at 224, {options.threads} thread(s)",
        peer="fastai" if options.peers else "",
        versions=versions, threads=options.threads,
        rounds={"rounds": options.rounds, "photos": len(some)},
    )  # fmt: skip
    for clock in ("wall", "cpu"):
        of = {system: [each[clock] for each in rounds] for system, rounds in found.items()}
        for system in ("plainlearn", "onnxruntime"):
            what = f"predict, {clock}" + ("" if system == "plainlearn" else ", by the file's graph")
            if options.peers:
                report.compare(what, of[system], of["fastai"], at_most=0.45, unit="ms")
            else:
                report.figure(what, of[system], unit="ms")
    for part in ("decode", "resize", "network"):
        report.figure(f"  {part}", [each[part] for each in found["plainlearn"]], unit="ms")
    beyond = [each["overhead"] for each in found["plainlearn"]]
    report.figure("  overhead beyond these", beyond, at_most=1.0, unit="ms")
    report.notes.append(f"load while it ran: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    report.close()


if __name__ == "__main__":
    main()
