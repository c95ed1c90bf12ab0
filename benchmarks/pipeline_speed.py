"""What the way from photo files to finished batches costs: ours against the peers', in turns in one run.

The lesson's recipe on the pets: decode, a square of 460, flip, turn, zoom, tilt, crop to 224, brightness and contrast,
normalisation, batches of 64. First the CPU seconds an image, without worker threads or processes: in a first
epoch, and in a later one out of the cache. The same of photos of 12 megapixels, in batches of 8. Then what a second
loader thread gains, in wall time over the pets four times over, and how much CPU it costs.

    python benchmarks/pipeline_speed.py [--rounds 7] [--no-peers] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from harness import HERE, Report, Worker, add_data_option, interleaved, median, pets_in, positive
from peers import peers_python, versions_in
from pipeline_worker import photos_of_12_megapixels, unpacked

# Who does it, and with which arguments of ImageBlock. The asked share of fastai's CPU seconds.
RECIPES: dict[str, tuple[str, dict[str, str], float | None]] = {
    "plainlearn": ("plainlearn", {"cache": "none"}, 0.22),
    "plainlearn, later epoch, cache in memory": ("plainlearn", {"cache": "memory"}, 0.08),
    "plainlearn, later epoch, cache on disk": ("plainlearn", {"cache": "disk"}, 0.08),
    "fastai": ("fastai", {}, None),
    "torchvision v2": ("torchvision", {}, None),
}
# The same of large photos, of which plainlearn decodes no more than can be seen.
LARGE: dict[str, tuple[str, dict[str, bool]]] = {
    "12 megapixels, plainlearn": ("plainlearn", {}),
    "12 megapixels, plainlearn, all pixels decoded": ("plainlearn", {"full_decode": True}),
    "12 megapixels, fastai": ("fastai", {}),
}
TIMES_OVER = 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    options = parser.parse_args()
    archive = pets_in(options.data)

    cpu: dict[str, list[float]] = {}
    wall: dict[str, list[float]] = {}
    versions: dict[str, object] = {
        name: version(name) for name in ("plainlearn", "torch", "numpy", "numba", "simplejpeg")
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["PLAINLEARN_HOME"] = str(folder / "home")  # the cache of this run alone
        files = [str(file) for file in unpacked(archive, folder)]
        systems = ["plainlearn"]
        interpreters = {"plainlearn": Path(sys.executable)}
        if options.peers:
            python = peers_python()
            versions["peers"] = versions_in(python)
            systems += ["fastai", "torchvision"]
            interpreters |= dict.fromkeys(systems[1:], python)
        workers = {
            system: stack.enter_context(
                Worker(interpreters[system], HERE / "pipeline_worker.py", system, threads=1)
            )
            for system in systems
        }
        who = {name: system for name, (system, _, _) in RECIPES.items() if system in systems}
        for name, system in who.items():
            workers[system].ask("make", name=name, files=files, **RECIPES[name][1])
        large = [str(file) for file in photos_of_12_megapixels([Path(file) for file in files], folder, 9)]
        for name, (system, block) in LARGE.items():
            if system in systems:
                who[name] = system
                workers[system].ask("make", name=name, files=large, batch=8, **block)
        for threads in (1, 2):
            name = f"{threads} threads"
            who[name] = "plainlearn"
            workers["plainlearn"].ask("make", name=name, files=files * TIMES_OVER, workers=threads)
        for name, system in who.items():
            workers[system].ask("epoch", name=name)  # what first use loads does not count; caches fill
        for number, name in interleaved(tuple(who), options.rounds):
            spent = workers[who[name]].ask("epoch", name=name)
            cpu.setdefault(name, []).append(spent["cpu"] / spent["images"] * 1000)
            wall.setdefault(name, []).append(spent["wall"] / spent["images"] * 1000)
            print(
                f"round {number + 1:2} {name:<42} {cpu[name][-1]:8.2f} ms of CPU, {wall[name][-1]:8.2f} ms",
                flush=True,
            )

    report = Report(
        "pipeline_speed", "From photo files to finished batches", peer="fastai", versions=versions, threads=1,
        rounds={"rounds": options.rounds, "photos": len(files)},
    )  # fmt: skip
    theirs = cpu.get("fastai")
    for name, (_, _, asked) in RECIPES.items():
        if name == "fastai" or name not in cpu:
            continue
        what = f"decode to augmented tensor, CPU an image: {name}"
        if theirs is None:
            report.figure(what, cpu[name], unit="ms")
        else:
            report.compare(what, cpu[name], theirs, at_most=asked, unit="ms")
    for name in (name for name, (system, _) in LARGE.items() if system == "plainlearn"):
        what = f"file to tensor, CPU an image: {name}"
        if theirs is None:
            report.figure(what, cpu[name], unit="ms")
        else:
            report.compare(what, cpu[name], cpu["12 megapixels, fastai"], unit="ms")
    faster = [one / two for one, two in zip(wall["1 threads"], wall["2 threads"], strict=True)]
    dearer = [two / one for one, two in zip(cpu["1 threads"], cpu["2 threads"], strict=True)]
    busy = [spent / passed for spent, passed in zip(cpu["2 threads"], wall["2 threads"], strict=True)]
    report.figure("2 loader threads against 1, times faster", faster, at_least=1.7)
    report.figure("2 loader threads against 1, times the CPU", dearer)
    report.figure("2 loader threads: cores kept busy", busy)
    report.figures = {
        "cpu_ms_per_image": {name: median(spent) for name, spent in cpu.items()},
        "wall_ms_per_image": {name: median(passed) for name, passed in wall.items()},
        "cpu_ms_per_image_rounds": cpu,
        "wall_ms_per_image_rounds": wall,
        "over_fastai": {name: median(spent) / median(theirs) for name, spent in cpu.items()} if theirs else {},
        "two_threads_times_faster": median(faster),
    }  # fmt: skip
    report.notes += [
        "plainlearn and fastai run the same lines of pipeline_worker.py, without workers; torchvision's chain reads"
        " the decoded original, crop first, which is its cheapest order.",
        "Other work on the machine takes from the second thread's gain; the CPU that it costs is beside it.",
    ]
    report.close()


if __name__ == "__main__":
    main()
