"""Saves that are killed, a full disk, two writers on one path, flipped bits and files cut short: nothing may be lost.

    python tests/faults/killed_saves.py                 # at full size; a JSON line last
    python tests/faults/killed_saves.py --kills 8 --flips 20 --cuts 10 --seconds 1

All through `learn.save` and `learn.load`. The weights and the optimizer of a save are filled with its number, so a file that
holds two numbers is a mixture, and one with a lower number than a save that had returned is a loss.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from plainlearn.core.errors import DataError, PlainlearnError, StorageError
from plainlearn.train import Learner

ROOT = Path(__file__).resolve().parents[2]
LATEST_KILL_SECONDS = 0.06  # a save here takes about 0.02


def make_learner(path: Path, width: int = 600) -> Learner:
    batch = (torch.zeros(2, width), torch.zeros(2, width))
    learner = Learner(
        SimpleNamespace(train=[batch], valid=None), nn.Linear(width, width), nn.functional.mse_loss, path=path,
        device="cpu",
    )  # fmt: skip
    with learner.no_logging():
        learner.fit(1)
    return learner


def fill(learner: Learner, number: int) -> None:
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.fill_(number)
            for key in ("exp_avg", "exp_avg_sq"):
                learner.optimizer.state[parameter][key].fill_(number)


def numbers_in(learner: Learner) -> set[float]:
    """The numbers of the saves that a loaded learner is made of: one, unless it is a mixture."""
    found: set[float] = set()
    for parameter in learner.model.parameters():
        state = learner.optimizer.state[parameter]
        for tensor in (parameter, state["exp_avg"], state["exp_avg_sq"]):
            found |= set(tensor.detach().unique().tolist())
    return found


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 (printed, and the status says it)
        traceback.print_exc()
        os._exit(1)


def left_behind(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.name != "a.safetensors"]


# ---------------------------------------------------------------- what is tried


def kill_saves(folder: Path, kills: int, rng: random.Random) -> dict[str, int]:
    """SIGKILL at a random moment of a loop of saves, `kills` times."""
    writer, reader = make_learner(folder), make_learner(folder)
    fill(writer, 1)
    path = writer.save("a")
    counted = {"kills": 0, "lost": 0, "mixtures": 0, "unreadable": 0, "amid a write": 0}
    number = 1
    while counted["kills"] < kills:
        reading, writing = os.pipe()

        def save_on(first: int = number + 1, told: int = writing) -> None:
            for save in range(first, first + 1000):
                fill(writer, save)
                writer.save("a")
                os.write(told, struct.pack("q", save))

        child = forked(save_on)
        os.close(writing)
        time.sleep(rng.uniform(0, LATEST_KILL_SECONDS))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as stream:
            told = stream.read()
        returned = struct.unpack("q", told[-8:])[0] if told else number
        counted["kills"] += 1
        counted["amid a write"] += bool(left_behind(path.resolve().parent))
        try:
            found = numbers_in(reader.load("a"))
        except PlainlearnError as error:
            print(error)
            counted["unreadable"] += 1
            continue
        counted["mixtures"] += len(found) > 1
        counted["lost"] += min(found) < returned
        number = max(int(max(found)), returned)
    fill(writer, number + 1)
    writer.save("a")
    counted["left behind"] = len(left_behind(path.resolve().parent))
    return counted


def two_writers(folder: Path, seconds: float) -> dict[str, int]:
    """Two processes save to one path as quickly as they can, a third reads."""
    learner = make_learner(folder)
    fill(learner, 0)
    learner.save("a")

    def save_on(number: int) -> None:
        fill(learner, number)
        while True:
            learner.save("a")

    writers = [forked(lambda n=number: save_on(n)) for number in (1, 2)]
    counted = {"reads": 0, "unreadable": 0, "mixtures": 0}
    seen: set[float] = set()
    ends = time.monotonic() + seconds
    try:
        while time.monotonic() < ends:
            counted["reads"] += 1
            try:
                found = numbers_in(learner.load("a"))
            except PlainlearnError as error:
                print(error)
                counted["unreadable"] += 1
                continue
            counted["mixtures"] += len(found) > 1
            seen |= found
    finally:
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
    counted["writers seen"] = len(seen - {0.0})
    return counted


@contextmanager
def small_disk(folder: Path) -> Iterator[str]:
    """A disk of 6 MB at `folder`, if this user may mount one; else a limit on the size of files."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)], capture_output=True
    )
    if mount.returncode == 0:
        try:
            yield "a disk of 6 MB"
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, before[1]))
    try:
        yield "a limit of 6 MB on files"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full_disk(folder: Path) -> dict[str, object]:
    """4.3 MB fit, and once more beside them they do not; nor does a larger model."""
    with small_disk(folder) as kind:
        learner = make_learner(folder)
        fill(learner, 1)
        path = learner.save("a")
        before, said = path.read_bytes(), ""
        larger = make_learner(folder, width=900)
        try:
            larger.save("a")
        except StorageError as error:
            said = str(error)
        intact = path.read_bytes() == before and numbers_in(learner.load("a")) == {1.0}
        return {
            "kind": kind,
            "the old file is intact": intact,
            "the error names path and space": str(path) in said and "it needs 9.7 MB" in said,
            "left behind": len(left_behind(path.resolve().parent)),
            "said": said,
        }


def damage(folder: Path, flips: int, cuts: int, rng: random.Random) -> dict[str, int]:
    """Flip a bit anywhere, cut the file anywhere: each must be refused by name."""
    learner = make_learner(folder, width=60)
    path = learner.save("a")
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    counted = {"flips refused": 0, "cuts refused": 0}
    for number in range(flips + cuts):
        changed = bytearray(content)
        if number < flips:
            # Half of them in the header, which is a small part of a large file.
            place = rng.randrange(header if number % 2 else len(content))
            changed[place] ^= 1 << rng.randrange(8)
        else:
            del changed[rng.randrange(len(content)) :]
        path.write_bytes(changed)
        with contextlib.suppress(DataError):
            try:
                learner.load("a")
            except DataError as error:
                counted["flips refused" if number < flips else "cuts refused"] += str(path) in str(error)
                raise
    return counted


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--flips", type=int, default=200)
    options.add_argument("--cuts", type=int, default=50)
    options.add_argument("--seconds", type=float, default=20.0, help="of two writers")
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    torch.set_num_threads(1)  # who forks must have no threads
    rng = random.Random(asked.seed)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from harness import Report

    report = Report("killed_saves", "Saves that are killed, cut off, crossed and damaged", threads=1)
    report.versions = {"torch": torch.__version__}
    shared = Path("/dev/shm")
    with contextlib.ExitStack() as folders:

        def folder(at: Path | None = None) -> Path:
            return Path(
                folders.enter_context(tempfile.TemporaryDirectory(prefix="plainlearn-faults-", dir=at))
            )

        places = {"on disk": folder()}
        if shared.is_dir():
            places["in memory"] = folder(shared)
            places["by a link from disk into memory"] = linked = folder()
            (linked / "models").mkdir()
            (linked / "models" / "a.safetensors").symlink_to(folder(shared) / "a.safetensors")
        kills = {
            where: kill_saves(place, asked.kills // len(places) + (n < asked.kills % len(places)), rng)
            for n, (where, place) in enumerate(places.items())
        }
        for key in ("lost", "mixtures", "unreadable", "left behind"):
            total = sum(counted[key] for counted in kills.values())
            report.figure(f"killed saves: {key}", [total], at_most=0)
        report.figure(
            "saves killed", [sum(counted["kills"] for counted in kills.values())], at_least=asked.kills
        )
        crossed = two_writers(folder(), asked.seconds)
        report.figure(
            "two writers: unreadable or mixed reads", [crossed["unreadable"] + crossed["mixtures"]], at_most=0
        )
        report.figure("two writers: whole reads", [crossed["reads"]])
        full = full_disk(folder())
        held = bool(
            full["the old file is intact"]
            and full["the error names path and space"]
            and not full["left behind"]
        )
        report.figure("full disk: old file intact, path and space named, nothing left", [held], at_least=1)
        damaged = damage(folder(), asked.flips, asked.cuts, rng)
        report.figure("flipped bits refused by name", [damaged["flips refused"]], at_least=asked.flips)
        report.figure("files cut short refused by name", [damaged["cuts refused"]], at_least=asked.cuts)
    report.figures = {"kills": kills, "two writers": crossed, "full disk": full, "damage": damaged}
    report.close()


if __name__ == "__main__":
    main()
