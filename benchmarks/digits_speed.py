"""CPU seconds of `fit` on the digits: plainlearn against fastai, the same data, batch size and threads.

One long-lived worker per library; the rounds alternate between them, so that whatever else the
machine does hits both. A first, unmeasured round pays for what is loaded on first use; that cost is
measured apart, in fresh processes ("cold"). Bars and logs are off in both.

    python benchmarks/digits_speed.py                     everything, some ten minutes on two idle cores
    python benchmarks/digits_speed.py --jobs linear       one job
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from digits_data import digits_folder
from harness import HERE, Report, Worker, interleaved, median, positive, usable_cores
from peers import peers_python

WORKER = HERE / "digits_worker.py"
ASKED = {"linear": 0.25, "simple": 0.40, "resnet": 0.75}
NAMES = {
    "linear": "linear, 10 epochs, lr 1, batch 256",
    "simple": "784-30-1, 40 epochs, lr 0.1, batch 256",
    "resnet": "ResNet-18 from files, 1 epoch, batch 64",
}
SYSTEMS = ("plainlearn", "fastai")


def main() -> None:
    options = _options()
    pythons = {"plainlearn": Path(sys.executable), "fastai": peers_python()}
    folder = digits_folder(options.data).resolve()
    report = Report(
        "digits_speed",
        "CPU seconds of fit on the digits, plainlearn against fastai in one run",
        peer="fastai",
        threads=options.threads,
    )
    report.rounds = {"linear": options.rounds, "simple": options.rounds, "resnet": options.resnet_rounds}
    report.rounds["cold"] = options.cold_rounds

    def worker(system: str) -> Worker:
        return Worker(pythons[system], WORKER, system, str(options.threads), threads=options.threads)

    print(f"digits of {folder}; {options.threads} threads; median of the rounds", flush=True)
    with worker("plainlearn") as ours, worker("fastai") as theirs:
        workers = {"plainlearn": ours, "fastai": theirs}
        for system in SYSTEMS:
            hello = workers[system].ask("hello")
            report.versions[system] = hello
            sizes = workers[system].ask("load", folder=str(folder))
            print(f"{system}: {_facts(hello)}; {sizes['train']} + {sizes['valid']} images", flush=True)
        for job in options.jobs:
            _compare(report, workers, job, report.rounds[job], options.fastai_workers)
    if options.cold_rounds:
        _cold(report, worker, folder, options.cold_rounds)
    report.notes.append(
        "fit: the call alone. build: loaders, model and learner. spread: of the rounds' own ratios."
    )
    report.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--rounds", type=positive, default=7, help="of linear and simple (default 7)")
    parser.add_argument("--resnet-rounds", type=positive, default=3, help="(default 3)")
    parser.add_argument("--cold-rounds", type=int, default=5, help="fresh processes; 0 for none (default 5)")
    parser.add_argument(
        "--threads", type=positive, default=usable_cores(), help="torch's, in both (default: cores)"
    )
    parser.add_argument(
        "--fastai-workers", type=int, help="its loader processes for the ResNet (default: its own choice)"
    )
    parser.add_argument("--data", help="the folder MNIST_SAMPLE (default: from untar_data)")
    return parser.parse_args()


def _facts(hello: dict[str, Any]) -> str:
    return f"{hello['version']}, torch {hello['torch']}, Python {hello['python']}, {hello['threads']} threads"


def _compare(
    report: Report, workers: dict[str, Worker], job: str, rounds: int, fastai_workers: int | None
) -> None:
    """One job in alternating rounds, after a round of each that does not count."""
    print(f"\n{NAMES[job]}", flush=True)
    arguments: dict[str, dict[str, Any]] = {"plainlearn": {}, "fastai": {}}
    if job == "resnet":
        arguments["fastai"]["num_workers"] = fastai_workers
    # A whole ResNet epoch is too dear to throw away: there the median leaves the first round's extra out.
    if job != "resnet":
        for system in SYSTEMS:
            workers[system].ask(job, seed=0)
    taken: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, system in interleaved(SYSTEMS, rounds):
        answer = workers[system].ask(job, seed=number, **arguments[system])
        taken[system].append(answer)
        fit = answer["fit"]
        print(
            f"  round {number + 1} {system:<10} fit {fit['cpu']:8.3f} CPU s {fit['wall']:8.3f} s"
            f"   build {answer['build']['cpu']:6.3f} CPU s   accuracy {answer['accuracy']:.4f}",
            flush=True,
        )
    ours, theirs = taken["plainlearn"], taken["fastai"]

    def of(part: str, clock: str) -> tuple[list[float], list[float]]:
        return [answer[part][clock] for answer in ours], [answer[part][clock] for answer in theirs]

    report.compare(f"{NAMES[job]}: fit, CPU", *of("fit", "cpu"), at_most=ASKED[job])
    report.compare(f"{job}: fit, wall", *of("fit", "wall"))
    report.compare(f"{job}: build, CPU", *of("build", "cpu"))
    both = [[a["fit"]["cpu"] + a["build"]["cpu"] for a in side] for side in (ours, theirs)]
    report.compare(f"{job}: build and fit, CPU", both[0], both[1])
    report.figure(
        f"{job}: accuracy reached", [a["accuracy"] for a in ours], peer=[a["accuracy"] for a in theirs]
    )
    report.figures[job] = taken


def _cold(report: Report, worker: Any, folder: Path, rounds: int) -> None:
    """What somebody meets who runs a script once: the import, and the first fit in a fresh process."""
    print("\ncold: fresh processes, import and first linear fit", flush=True)
    taken: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, system in interleaved(SYSTEMS, rounds):
        with worker(system) as fresh:
            importing = fresh.ask("hello")["importing"]
            fresh.ask("load", folder=str(folder))
            answer = {"importing": importing, **fresh.ask("linear", seed=number)}
        taken[system].append(answer)
        print(
            f"  round {number + 1} {system:<10} import {importing['cpu']:7.3f} CPU s"
            f"   build {answer['build']['cpu']:6.3f}   first fit {answer['fit']['cpu']:7.3f} CPU s {answer['fit']['wall']:7.3f} s",
            flush=True,
        )
    for part, name in (("importing", "import"), ("build", "first build"), ("fit", "first linear fit")):
        for clock in ("cpu", "wall"):
            sides = [[answer[part][clock] for answer in taken[system]] for system in SYSTEMS]
            report.compare(f"cold: {name}, {'CPU' if clock == 'cpu' else 'wall'}", sides[0], sides[1])
    report.figures["cold"] = taken
    report.figures["cold_total_cpu"] = {
        system: median([sum(a[p]["cpu"] for p in ("importing", "build", "fit")) for a in taken[system]])
        for system in SYSTEMS
    }


if __name__ == "__main__":
    main()
