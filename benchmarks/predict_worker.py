"""One library's prediction of single photos, on command: started by predict_speed.py, once for each.

python predict_worker.py plainlearn|fastai
"""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
from harness import median, serve  # noqa: E402

ARCH, SIZE = "tf_efficientnet_lite0", 224


def kind_of(file: Any) -> str:
    return Path(file).name.rpartition("_")[0]


def exported(lib: Any, files: list[Path], folder: Path, **more: Any) -> Path:
    """A model of the lesson's kind, untrained: its numbers do not matter here."""
    dls = lib.DataBlock(
        blocks=(lib.ImageBlock, lib.CategoryBlock), get_items=lambda _: files, get_y=kind_of,
        splitter=lib.RandomSplitter(0.3, seed=0), item_tfms=lib.Resize(SIZE),
    ).dataloaders(folder, bs=8, num_workers=0, device="cpu")  # fmt: skip
    learn = lib.vision_learner(dls, ARCH, pretrained=False)
    file = folder / f"lite0{'_graph' if more else ''}.plain"
    with learn.no_bar(), learn.no_logging():
        learn.export(file, **more)
    return file


def plainlearn(files: list[Path], folder: Path) -> tuple[Callable[[Path], Any], dict[str, list[float]]]:
    """What predicts, and the seconds of the parts of each prediction, written down while it is made."""
    from plainlearn.augment import pending as placed
    from plainlearn.inference.predictor import Predictor

    predictor = Predictor.load(exported(importlib.import_module("plainlearn.vision.all"), files, folder))
    parts: dict[str, list[float]] = {"decode": [], "resize": [], "network": []}

    def clocked(function: Any, part: str) -> Any:
        def run(*given: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            result = function(*given, **named)
            parts[part].append(time.perf_counter() - begun)
            return result

        return run

    block: Any = predictor.pipeline.blocks[0]
    block.draft = clocked(block.draft, "decode")
    placed.sample_images = clocked(placed.sample_images, "resize")
    begun: list[float] = []
    layers = [each for each in predictor.model.modules() if not list(each.children())]
    layers[0].register_forward_pre_hook(lambda *_: begun.append(time.perf_counter()))
    layers[-1].register_forward_hook(
        lambda *_: parts["network"].append(time.perf_counter() - begun.pop())  # pyright: ignore
    )
    return predictor.predict, parts


def onnxruntime(files: list[Path], folder: Path) -> tuple[Callable[[Path], Any], dict[str, list[float]]]:
    """The same by the graph in the file."""
    from plainlearn.inference.onnx_predictor import QuickPredictor

    file = exported(importlib.import_module("plainlearn.vision.all"), files, folder, graph=True)
    return QuickPredictor.load(file, threads=int(sys.argv[2])).predict, {}


def fastai(files: list[Path], folder: Path) -> tuple[Callable[[Path], Any], dict[str, list[float]]]:
    lib: Any = importlib.import_module("fastai.vision.all")
    learn = lib.load_learner(exported(lib, files, folder))

    def predict(file: Path) -> Any:
        with learn.no_bar():
            return learn.predict(file)

    return predict, {}


def make_commands() -> dict[str, Callable[..., dict[str, Any]]]:
    import torch

    torch.set_num_threads(int(sys.argv[2]))
    predict: Any = None
    parts: dict[str, list[float]] = {}

    def make(files: list[str], folder: str) -> dict[str, Any]:
        nonlocal predict, parts
        made = {"plainlearn": plainlearn, "fastai": fastai, "onnxruntime": onnxruntime}[sys.argv[1]]
        predict, parts = made([Path(file) for file in files], Path(folder))
        return {}

    def run(files: list[str]) -> dict[str, Any]:
        """Medians in ms over the files, wall and CPU, and of the parts."""
        wall: list[float] = []
        cpu: list[float] = []
        for part in parts.values():
            part.clear()
        for file in map(Path, files):
            began, spent = time.perf_counter(), time.process_time()
            predict(file)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - spent)
        found = {"wall": 1000 * median(wall), "cpu": 1000 * median(cpu)}
        if parts:
            each = {name: 1000 * median(seconds) for name, seconds in parts.items()}
            beyond = [total - sum(known) for total, *known in zip(wall, *parts.values(), strict=True)]
            found |= each | {"overhead": 1000 * median(beyond)}
        return found

    return {"make": make, "run": run}


if __name__ == "__main__":
    serve(make_commands)
