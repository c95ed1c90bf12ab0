"""The peers' environment: found by PLAINLEARN_PEERS_PYTHON, else made once in `.venv-peers`. Standard library only.

python benchmarks/peers.py prints which interpreter it is and what is in it. The environment gets
the same torch and torchvision as ours, so that a comparison compares libraries and not torches.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PINS = HERE / "peers.txt"
VENV = ROOT / ".venv-peers"
SAME_AS_OURS = ("torch", "torchvision", "numpy", "pillow")


def peers_python() -> Path:
    """The interpreter that holds the peers. Ends the program with one sentence when there is none to be had."""
    named = os.environ.get("PLAINLEARN_PEERS_PYTHON")
    if named:
        python = Path(named)
        if not versions_in(python):
            raise SystemExit(
                f"PLAINLEARN_PEERS_PYTHON={named} does not work or has no fastai: "
                "unset it to have .venv-peers made, or install benchmarks/peers.txt there."
            )
        return python
    python = VENV / "bin" / "python"
    stamp = VENV / "made-from.txt"
    if not (stamp.is_file() and stamp.read_text() == wanted_stamp() and versions_in(python)):
        make()
        stamp.write_text(wanted_stamp())
    return python


def versions_in(python: Path) -> dict[str, str]:
    """The versions of what matters in that interpreter; empty when it cannot run or lacks fastai."""
    script = (
        "import json; from importlib.metadata import version, PackageNotFoundError\n"
        "found = {}\n"
        "for name in ('fastai', 'fastcore', 'kornia', 'torch', 'torchvision', 'numpy', 'pillow'):\n"
        "    try: found[name] = version(name)\n"
        "    except PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    try:
        answer = subprocess.run([python, "-c", script], capture_output=True, text=True)
    except OSError:
        return {}
    found: dict[str, str] = json.loads(answer.stdout) if answer.returncode == 0 else {}
    return found if "fastai" in found else {}


def wanted() -> list[str]:
    """The pins, with our own versions of what both sides must share."""
    pins = [line.strip() for line in PINS.read_text().splitlines() if line.strip() and line[0] != "#"]
    named = {pin.partition("==")[0] for pin in pins}
    shared = [f"{name}=={_public_version(name)}" for name in SAME_AS_OURS if name not in named]
    return [*pins, *shared]


def wanted_stamp() -> str:
    return hashlib.sha256("\n".join([sys.version, str(VENV), *wanted()]).encode()).hexdigest()


def _public_version(name: str) -> str:
    # A local part such as +cu132 names a build; the index that we install from knows which one it has.
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        raise SystemExit(
            f"{sys.executable} has no {name}: run this with the interpreter that has plainlearn."
        ) from None


def make() -> None:
    """Make `.venv-peers` anew from the pins: by uv where it is at hand, else by pip."""
    print(
        f"peers: making {VENV} from {PINS.name} (once; some 5 GB where torch comes with CUDA)",
        file=sys.stderr,
    )
    shutil.rmtree(VENV, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(VENV)])
    python = str(VENV / "bin" / "python")
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is not None:
        _run([uv, "pip", "install", "--quiet", "--python", python, *wanted()])
    else:
        _run([python, "-m", "pip", "install", "--quiet", *wanted()])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=sys.stderr)
    if done.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SystemExit(
            f"peers: `{' '.join(command[:4])} …` failed, see above. "
            "Set PLAINLEARN_PEERS_PYTHON to an interpreter that has fastai, or try again with a network."
        )


if __name__ == "__main__":
    found = peers_python()
    print(found, json.dumps(versions_in(found)))
