"""How many photos a second `plainlearn serve` answers, for 32 callers at once, against its bare network.

The callers post the pets' JPEGs over connections that stay open, from a process of their own, as fast as they are
answered: the server receives, decodes and resizes each, and has the network run over batches. Against it, in
turns: the network of the same file alone in onnxruntime, with photos that were read beforehand, in batches of the size
that proved quickest in this very run; as onnxruntime does it by default, each run on all cores, and, as a harder
measure, with a run on each core side by side. Server, callers and network share the same cores; the callers' CPU is told.

    python benchmarks/serve_throughput.py [--rounds 7] [--images 600] [--callers 32] [--model FILE] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import (
    HERE,
    Report,
    Worker,
    add_data_option,
    child_environment,
    interleaved,
    pets_in,
    positive,
    usable_cores,
)
from pipeline_worker import unpacked

ASKED = 0.85
SIZES = (1, 2, 4, 8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--images", type=positive, default=600, help="in a round, of each")
    parser.add_argument("--callers", type=positive, default=32)
    parser.add_argument("--model", type=Path, help="a model file with a graph; one is made if none is given")
    options = parser.parse_args()
    archive = pets_in(options.data)

    seen: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["PLAINLEARN_HOME"] = str(folder / "home")
        photos = [str(file) for file in unpacked(archive, folder)]
        model = str(options.model or made(folder, photos))
        callers = stack.enter_context(Worker(sys.executable, HERE / "serve_worker.py", "callers"))
        network = stack.enter_context(Worker(sys.executable, HERE / "serve_worker.py", "network"))
        size = callers.ask("load", files=photos)["bytes"]
        cores = usable_cores()
        network.ask("load", model=model, files=photos[: max(SIZES) + 8], threads=[1, cores])
        process, port = stack.enter_context(served(model))

        speeds = {
            size: max(speed(network.ask("run", size=size, threads=cores, images=96)) for _ in range(3))
            for size in SIZES
        }
        best = max(speeds, key=speeds.__getitem__)
        print(
            "images/s by batch size: " + ", ".join(f"{size}: {found:.0f}" for size, found in speeds.items())
        )
        callers.ask("call", port=port, count=options.callers, images=64)  # the first run is slower
        for number, who in interleaved(("server", "network", "side by side", "one caller"), options.rounds):
            before = cpu_of(process)
            if who == "network":
                found = network.ask("run", size=best, threads=cores, images=options.images)
            elif who == "side by side":
                found = network.ask("run", size=1, threads=1, images=options.images, lanes=cores)
            else:
                count, images = (
                    (options.callers, options.images) if who == "server" else (1, options.images // 8)
                )
                found = callers.ask("call", port=port, count=count, images=images)
                found["server_cpu"] = cpu_of(process) - before
                if set(found["statuses"]) != {"200"}:
                    raise SystemExit(f"not every request was answered: {found['statuses']}")
            seen.setdefault(who, []).append(found)
            print(f"round {number + 1:2} {who:<11} {speed(found):7.1f} images/s", flush=True)
        counted = batches_of(port)

    server, bare, alone, harder = (seen[who] for who in ("server", "network", "one caller", "side by side"))
    ratios = [speed(mine) / speed(theirs) for mine, theirs in zip(server, bare, strict=True)]
    report = Report(
        "serve_throughput", "Photos answered over HTTP against the bare network", peer="onnxruntime",
        versions={name: version(name) for name in ("plainlearn", "onnxruntime", "uvicorn", "fastapi", "numpy")},
        threads=cores, rounds={"rounds": options.rounds, "images": options.images, "callers": options.callers},
    )  # fmt: skip
    report.figure(
        f"{options.callers} callers: images/s of the bare network's", ratios, at_least=ASKED, unit="×"
    )
    report.figure(
        "the same, where the bare network has a run on each core side by side",
        [speed(mine) / speed(theirs) for mine, theirs in zip(server, harder, strict=True)], unit="×",
    )  # fmt: skip
    report.figure(f"{options.callers} callers, images/s", [speed(found) for found in server],
                  peer=[speed(found) for found in bare])  # fmt: skip
    for share in (50, 99):
        report.figure(
            f"{options.callers} callers, p{share}", [percentile(found, share) for found in server], unit="ms"
        )
    for share in (50, 99):
        report.figure(f"one caller, p{share}", [percentile(found, share) for found in alone], unit="ms")
    report.figure("CPU an image: server", [1000 * found["server_cpu"] / found["images"] for found in server],
                  peer=[1000 * found["cpu"] / found["images"] for found in bare], unit="ms")  # fmt: skip
    report.figure(
        "CPU an image: callers", [1000 * found["cpu"] / found["images"] for found in server], unit="ms"
    )
    report.figures = {
        "ratio_rounds": ratios,
        "images_per_second_by_batch_size": speeds,
        "best_batch_size": best,
        "images_per_batch_of_the_server": counted,
        "bytes_of_a_request": size,
    }
    report.notes += [
        f"The network alone is quickest in batches of {best}; the server's had {counted:.1f} images, over all rounds.",
        f"The server also receives, decodes and resizes {size / 1000:.0f} kB of JPEG an image, and the callers, who"
        " send them, run on the same cores.",
    ]
    report.close()


def made(folder: Path, photos: list[str]) -> Path:
    """A model file of EfficientNet-Lite0 for the pets' breeds. How well it answers is of no matter here."""
    from plainlearn.vision.all import ImageDataLoaders, Resize, vision_learner

    warnings.filterwarnings("ignore")
    dls = ImageDataLoaders.from_name_re(
        folder, photos, r"(.+)_\d+.jpg$", item_tfms=Resize(224), bs=32, num_workers=0
    )
    return vision_learner(dls, "tf_efficientnet_lite0").export(folder / "pets.plain", graph=True)


@contextmanager
def served(model: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The server as anybody would start it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "plainlearn", "serve", model, "--port", "0", "--json"],
        stdout=subprocess.PIPE, text=True, env=child_environment(),
    )  # fmt: skip
    assert process.stdout
    try:
        yield process, json.loads(process.stdout.readline())["port"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def cpu_of(process: subprocess.Popen[str]) -> float:
    """CPU seconds of a live process, by Linux's /proc."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def batches_of(port: int) -> float:
    """Images in a run of the server's network, on average, as it tells itself."""
    from urllib.request import urlopen

    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return float(found["plainlearn_batch_size_sum"]) / float(found["plainlearn_batch_size_count"])


def speed(found: dict[str, Any]) -> float:
    return found["images"] / found["wall"]


def percentile(found: dict[str, Any], share: int) -> float:
    ordered = sorted(found["latencies"])
    return 1000 * ordered[min(len(ordered) * share // 100, len(ordered) - 1)]


if __name__ == "__main__":
    main()
