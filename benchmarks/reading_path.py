"""How much code a reader passes on three walks: a picture to its batch, `fit` to a row, an upload to its answer.

A profiler notes each call into a file of the library, ours and fastai's (with fastcore, which it is made of). Of each walk
it prints the calls, the different functions and files that were entered, and the returns: how often the way comes
back to a file that it had left. Each walk is gone once before it is followed, so that no import and nothing compiled at
first use is counted. Counts, no times: a busy machine changes nothing.

python benchmarks/reading_path.py --files prints the names of the files, too.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from harness import ROOT, Report, child_environment

WALKS = {
    "picture": ("a picture, from its file to a normalised batch", 18),
    "loaders": ("the same from get_image_files on, every file looked at first", None),
    "fit": ("fit to the row of the table", 13),
    "upload": ("an upload to its JSON answer", 18),
}
OF_OURS, OF_FASTAI = ("plainlearn",), ("fastai", "fastcore")


class Follower:
    """Notes the calls into some packages while `following`, in this thread and in those that begin later."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self._roots = tuple(_folder_of(package) + os.sep for package in packages)
        self._begun = {root: Path(root).name for root in self._roots}
        self._mine: dict[str, str] = {}
        self.following = False
        self.calls: list[CodeType] = []
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if self.following and event == "call":
            code = frame.f_code
            # What runs when a module is imported is no part of a walk.
            if code.co_filename.startswith(self._roots) and code.co_name != "<module>":
                self.calls.append(code)

    def follow(self, walk: Callable[[], object]) -> dict[str, Any]:
        walk()
        self.start()
        walk()
        return self.stop()

    def start(self) -> None:
        self.calls, self.following = [], True

    def stop(self) -> dict[str, Any]:
        """What was entered since `start`."""
        self.following = False
        way = [code.co_filename for code in self.calls]
        left, returns, at = set[str](), 0, ""
        for file in way:
            if file != at:
                returns += file in left
                left.add(at)
                at = file
        return {
            "calls": len(way),
            "functions": len(set(self.calls)),
            "files": len(set(way)),
            "returns": returns,
            "names": sorted(self._short(file) for file in set(way)),
        }

    def _short(self, file: str) -> str:
        root = next(root for root in self._roots if file.startswith(root))
        return f"{self._begun[root]}/{Path(file).relative_to(root).as_posix()}"


def _folder_of(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{sys.executable} has no {package}")
    return str(Path(spec.origin).resolve().parent)


# ---------------------------------------------------------------- the walks, in words that both libraries know


def draw_photos(folder: Path, count: int = 8) -> None:
    """JPEGs of noise in the folders of two classes."""
    import numpy as np
    from PIL import Image

    drawn = np.random.default_rng(0)
    for number in range(count):
        file = folder / ("cat" if number % 2 else "dog") / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.integers(0, 255, (500, 600, 3), dtype=np.uint8)).save(file, quality=90)


def loaders_of(library: Any, folder: Path) -> Any:
    """The lesson's presizing, read by this thread alone."""
    block = library.DataBlock(
        blocks=(library.ImageBlock, library.CategoryBlock),
        get_items=library.get_image_files,
        get_y=library.parent_label,
        splitter=library.IndexSplitter([0, 1]),
        item_tfms=library.Resize(460),
        batch_tfms=[
            *library.aug_transforms(size=224, min_scale=0.75),
            library.Normalize.from_stats([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ],
    )
    return block.dataloaders(folder, bs=4, num_workers=0)


def fit_walk(library: Any) -> Callable[[], object]:
    """One epoch of a linear model, with its table; the batches are a list, as any iterable may be."""
    import torch

    x = torch.arange(64.0).reshape(32, 2) / 64
    batches = [(x, x.sum(1, keepdim=True))]
    if library.__name__.startswith("fastai"):  # which takes loaders alone
        pairs = list(zip(*batches[0], strict=True))
        batches = library.DataLoader(pairs, bs=32)
    learn = library.Learner(
        library.DataLoaders(batches, batches), torch.nn.Linear(2, 1),
        loss_func=torch.nn.functional.mse_loss, opt_func=library.SGD, lr=0.1,
    )  # fmt: skip
    return lambda: learn.fit(1)


def walks_of(side: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The walks that both libraries can go, in this process."""
    if side == "plainlearn":
        follower = Follower(OF_OURS)
        import plainlearn.vision.all as library
    else:
        follower = Follower(OF_FASTAI)
        import fastai.vision.all as library  # pyright: ignore[reportMissingImports]
    loaders = loaders_of(library, folder)
    return {
        "picture": follower.follow(lambda: loaders.one_batch()),
        "loaders": follower.follow(lambda: loaders_of(library, folder).one_batch()),
        "fit": follower.follow(fit_walk(library)),
    }


# ---------------------------------------------------------------- the server's walk, ours alone


def export_model(folder: Path, file: Path) -> None:
    """A small model of the photos, with its graph."""
    import plainlearn.vision.all as library

    learn = library.vision_learner(loaders_of(library, folder), library.resnet18, pretrained=False)
    with learn.no_logging():
        learn.fit(1, 1e-3)
    learn.export(file, graph=True)


def serve_and_follow(file: str) -> None:
    """A server as the command line starts it; a thread takes `start` and `stop` from standard input."""
    follower = Follower(OF_OURS)

    def obey() -> None:
        for line in sys.stdin:
            if line.strip() == "start":
                follower.start()
            else:
                print("WALK", json.dumps(follower.stop()), flush=True)

    threading.Thread(target=obey, daemon=True).start()
    from plainlearn.cli import main

    main(["serve", file, "--port", "0"])


def upload_walk(folder: Path) -> dict[str, Any]:
    """A photo sent to `plainlearn serve`, to the last byte of its answer."""
    model = folder / "model.plain"
    export_model(folder / "photos", model)
    photo = next((folder / "photos").rglob("*.jpg")).read_bytes()
    log = folder / "server.log"
    with log.open("w") as errors:
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, text=True, env=child_environment() | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    try:
        port = _port_in(server, log)
        _send(port, photo)
        print("start", file=server.stdin, flush=True)
        time.sleep(0.2)
        _send(port, photo)
        print("stop", file=server.stdin, flush=True)
        for line in server.stdout:
            if line.startswith("WALK"):
                return json.loads(line.removeprefix("WALK"))
        raise SystemExit(f"the server ended:\n{log.read_text()[-2000:]}")
    finally:
        server.terminate()
        server.wait(20)


def _port_in(server: subprocess.Popen[str], log: Path) -> int:
    """The port that the server says it listens on."""
    import re

    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise SystemExit(f"the server did not start:\n{log.read_text()[-2000:]}")


def _send(port: int, photo: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    mark = "mark"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = head.encode() + photo + f"\r\n--{mark}--\r\n".encode()
    connection.request("POST", "/predict", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"the server answered {answer.status}: {said[:500]!r}")


# ---------------------------------------------------------------- side by side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--files", action="store_true", help="print the names of the files of each walk")
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    parser.add_argument("--side", choices=["plainlearn", "fastai"], help=argparse.SUPPRESS)
    parser.add_argument("--photos", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_and_follow(options.serve)
        return
    if options.side:
        print("WALKS", json.dumps(walks_of(options.side, options.photos)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        draw_photos(folder / "photos")
        ours = _ask(sys.executable, "plainlearn", folder / "photos") | {"upload": upload_walk(folder)}
        theirs: dict[str, Any] = {}
        if not options.no_peer:
            from peers import peers_python

            theirs = _ask(str(peers_python()), "fastai", folder / "photos")
    report = Report("reading_path", "The code that a reader passes, ours and fastai's", peer="fastai")
    for name, (what, most) in WALKS.items():
        mine, peer = ours[name], theirs.get(name)
        for count in ("files", "functions", "calls", "returns"):
            report.figure(
                f"{what}: {count}", [mine[count]], at_most=most if count == "files" else None,
                peer=[peer[count]] if peer else (),
            )  # fmt: skip
        if options.files:
            print(f"{what}:", *mine["names"], sep="\n  ")
    report.figures = {"plainlearn": ours, "fastai": theirs}
    report.close()


def _ask(python: str, side: str, photos: Path) -> dict[str, Any]:
    """The walks of one library, in an interpreter that has it and no other."""
    told = subprocess.run(
        [python, __file__, "--side", side, "--photos", str(photos)],
        capture_output=True, text=True, env=child_environment(), cwd=ROOT,
    )  # fmt: skip
    for line in told.stdout.splitlines():
        if line.startswith("WALKS"):
            return json.loads(line.removeprefix("WALKS"))
    raise SystemExit(f"the walks of {side} ended early:\n{told.stderr[-3000:]}")


if __name__ == "__main__":
    main()
