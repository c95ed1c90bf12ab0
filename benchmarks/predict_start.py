"""How long `plainlearn predict` takes from its start to the first answer, against Python with onnxruntime alone.

The yardstick is examples/classify_with_onnx.py: forty lines that import numpy, Pillow and onnxruntime, load the same
network as ONNX, and classify the same photo. Whole processes in turns, CPU and wall time; EfficientNet-Lite0 at 224.

    python benchmarks/predict_start.py [--rounds 15] [--threads 0] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from harness import (
    HERE,
    ROOT,
    Report,
    add_data_option,
    child_environment,
    interleaved,
    pets_in,
    positive,
    timed,
)
from pipeline_worker import unpacked
from predict_worker import ARCH, exported

OURS, ALONE, TORCH = (
    "plainlearn predict",
    "Python and onnxruntime alone",
    "plainlearn predict, file without a graph",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--rounds", type=positive, default=15)
    parser.add_argument("--threads", type=positive, help="of all libraries; by default as they like")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {OURS: [], ALONE: [], TORCH: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = unpacked(pets_in(options.data), folder)
        import plainlearn.vision.all as lib
        from plainlearn.vision.export import export_onnx

        file = exported(lib, files, folder, graph=True)
        plain = exported(lib, files, folder)
        export_onnx(file, folder / "whole.onnx", images=files[:2])
        command = Path(sys.executable).with_name("plainlearn")
        photo = str(files[0])
        runs = {
            OURS: [str(command), "predict", str(file), photo],
            ALONE: [sys.executable, str(HERE.parent / "examples/classify_with_onnx.py"), str(folder / "whole.onnx"), photo],
            TORCH: [str(command), "predict", str(plain), photo],
        }  # fmt: skip

        def run(system: str) -> None:
            subprocess.run(
                runs[system],
                check=True,
                env=child_environment(options.threads),
                capture_output=True,
                cwd=ROOT,
            )

        for system in runs:
            run(system)  # bytecode is written, files are in memory
        for _, system in interleaved(list(runs), options.rounds):
            found[system].append(timed(lambda system=system: run(system)))

    report = Report(
        "predict_start",
        f"From the start of the process to the first answer, {ARCH}",
        peer=ALONE,
        versions={name: version(name) for name in ("plainlearn", "onnxruntime", "numpy", "pillow", "torch")},
        threads=options.threads,
        rounds={"rounds": options.rounds},
    )
    for clock in ("wall", "cpu"):
        of = {system: [each[clock] for each in rounds] for system, rounds in found.items()}
        report.compare(f"{OURS}, {clock}", of[OURS], of[ALONE], at_most=1.5)
        report.compare(f"{TORCH}, {clock}", of[TORCH], of[ALONE])
    report.notes.append(f"load while it ran: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    report.close()


if __name__ == "__main__":
    main()
