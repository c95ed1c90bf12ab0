"""What the batch stage of presizing costs: CPU seconds an image, ours against the peers', in turns in one run.

The batch stage is the lesson's: uint8 squares of 460 in, draws, flip, turn, zoom, tilt, crop, brightness and contrast,
normalisation, float pictures of 224 out. All get the same photos; each draws by itself, every round anew. Beside it
stand the sampling alone, two threads against one, and what the first use costs a fresh process.

    python benchmarks/presizing_speed.py [--rounds 7] [--batch 64] [--no-peers]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from harness import (
    HERE,
    Report,
    Worker,
    add_data_option,
    child_environment,
    interleaved,
    median,
    pets_in,
    positive,
    timed,
)
from peers import peers_python, versions_in
from presizing_scenes import LARGE, SIZE, draws, photos

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.geometry import compose, fit
from plainlearn.augment.lighting import Normalize
from plainlearn.augment.sampling.sample import level_curves, sample_images
from plainlearn.course.tensor_image import Pipeline

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
THEIRS = ("fastai", "torchvision", "kornia")

FIRST_USE = """
import time, torch
import plainlearn.augment.sampling.sample as sampling
from plainlearn.augment.geometry import identity
picture = torch.zeros(1, 460, 460, 3, dtype=torch.uint8)
start = time.process_time()
sampling.sample_images(picture, identity(), (224, 224), threads=1)
print(time.process_time() - start)
"""


def squares_of(archive: Path, count: int) -> torch.Tensor:
    """Photos as the item stage leaves them, uint8 (N, 3, 460, 460)."""
    pictures = [scene.picture for scene in photos(archive, count)]
    maps = np.concatenate([fit(picture.shape[:2], (LARGE, LARGE)) for picture in pictures])
    return (sample_images(pictures, maps, (LARGE, LARGE)) * 255).round().to(torch.uint8)


def our_jobs(squares: torch.Tensor) -> dict[str, Callable[[], object]]:
    """By name; the first two are the stage that is compared, the rest is its parts."""
    cubic = Pipeline([*aug_transforms(size=SIZE, min_scale=0.75), Normalize(MEAN, STD)])
    bilinear = Pipeline([*aug_transforms(size=SIZE, min_scale=0.75, mode="bilinear"), Normalize(MEAN, STD)])
    lying = squares.permute(0, 2, 3, 1).contiguous()
    maps = np.concatenate([compose(*draw.stages()) for draw in draws(len(squares), 0)])
    mean, std = (torch.tensor(each)[:, None] for each in (MEAN, STD))
    curves = ((level_curves() - mean) / std).expand(len(squares), -1, -1)
    return {
        "plainlearn": lambda: cubic(squares),
        "plainlearn, bilinear": lambda: bilinear(squares),
        "sampling alone": lambda: sample_images(lying, maps, (SIZE, SIZE), curves=curves),
        "sampling alone, bilinear": lambda: sample_images(lying, maps, (SIZE, SIZE), curves=curves, mode="bilinear"),
    }  # fmt: skip


def threads_gain(squares: torch.Tensor, rounds: int) -> list[float]:
    """Wall seconds with one thread over those with two, round by round."""
    lying = squares.permute(0, 2, 3, 1).contiguous()
    maps = np.concatenate([compose(*draw.stages()) for draw in draws(len(squares), 0)])
    wall: dict[str, list[float]] = {"1": [], "2": []}
    for _, threads in interleaved(("1", "2"), rounds):
        start = time.perf_counter()
        sample_images(lying, maps, (SIZE, SIZE), threads=int(threads))
        wall[threads].append(time.perf_counter() - start)
    return [one / two for one, two in zip(wall["1"], wall["2"], strict=True)]


def first_use() -> tuple[float, float]:
    """CPU seconds of the first picture: in the first process ever, which compiles, and in a later one."""
    with tempfile.TemporaryDirectory() as folder:
        environment = child_environment(threads=1) | {"NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", FIRST_USE]
        both = [
            float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
            for _ in range(2)
        ]
    return both[0], both[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--batch", type=positive, default=64)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    options = parser.parse_args()
    torch.set_num_threads(1)
    archive = pets_in(options.data)

    squares = squares_of(archive, options.batch)
    jobs = our_jobs(squares)
    seconds: dict[str, list[float]] = {}
    versions: dict[str, object] = {name: version(name) for name in ("plainlearn", "torch", "numpy", "numba")}
    with ExitStack() as stack:
        able: list[str] = []
        if options.peers:
            python = peers_python()
            versions["peers"] = versions_in(python)
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            worker = stack.enter_context(Worker(python, HERE / "presizing_peers.py", threads=1))
            held = Path(folder, "pictures.npz")
            np.savez(held, *(square.permute(1, 2, 0).numpy() for square in squares))
            able = [name for name in worker.ask("load", file=str(held))["batches"] if name in THEIRS]

        def cpu(system: str) -> float:
            spent = (
                timed(jobs[system])
                if system in jobs
                else worker.ask("time", recipe=system, count=options.batch)
            )
            return spent["cpu"] / options.batch * 1000

        systems = (*jobs, *able)
        for system in systems:
            cpu(system)  # what first use loads does not count
        for number, system in interleaved(systems, options.rounds):
            seconds.setdefault(system, []).append(cpu(system))
            print(f"round {number + 1:2} {system:<26} {seconds[system][-1]:8.2f} ms an image", flush=True)

    report = Report(
        "presizing_speed", "The batch stage, 460 to 224, CPU per image", peer="fastai", versions=versions, threads=1,
        rounds={"rounds": options.rounds, "images": options.batch},
    )  # fmt: skip
    asked = {"plainlearn": 0.16, "plainlearn, bilinear": 0.07}
    theirs = seconds.get("fastai")
    for system, spent in seconds.items():
        what = f"batch stage, {system}" if system in (*asked, *able) else system
        if theirs is None:
            report.figure(what, spent, unit="ms")
        elif system != "fastai":
            report.compare(what, spent, theirs, at_most=asked.get(system), unit="ms")
    gain = threads_gain(squares, options.rounds)
    report.figure("two threads against one, wall time, times faster", gain)
    ever, later = first_use()
    report.figure("first picture ever on a machine (compiles)", [ever], unit="s")
    report.figure("first picture of a later process", [later], unit="s")
    report.figures = {
        "cpu_ms_per_image": {system: median(spent) for system, spent in seconds.items()},
        "cpu_ms_per_image_rounds": seconds,
        "over_fastai": {system: median(spent) / median(theirs) for system, spent in seconds.items()} if theirs else {},
        "two_threads_times_faster": median(gain),
        "first_picture_ever_cpu_seconds": ever,
        "first_picture_of_a_later_process_cpu_seconds": later,
    }  # fmt: skip
    report.notes.append(
        "plainlearn's stage is its own aug_transforms and Normalize on the very batch that the peers get."
    )
    report.close()


if __name__ == "__main__":
    main()
