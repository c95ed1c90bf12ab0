"""One library, training digits on command: started by digits_speed.py, once for plainlearn and once for fastai.

Both offer the course's names, so both run this very code; only the import line differs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from digits_data import digits_tensors
from harness import serve, timed

MODULES = {"plainlearn": "plainlearn.vision.all", "fastai": "fastai.vision.all"}


class Digits:
    """The jobs. `lib` is the library's course face, `tensors` the lesson's four."""

    def __init__(self, system: str, threads: int) -> None:
        self.system, self.threads = system, threads
        self.importing = timed(self._import)
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.tensors: tuple[Any, Any, Any, Any] | None = None
        self.folder = Path()

    def _import(self) -> None:
        self.lib: Any = importlib.import_module(MODULES[self.system])

    def hello(self) -> dict[str, Any]:
        library = importlib.import_module(self.system)
        return {
            "version": library.__version__,
            "torch": self.torch.__version__,
            "torchvision": metadata.version("torchvision"),  # unimported: loading it may be part of a job
            "python": sys.version.split()[0],
            "threads": self.torch.get_num_threads(),
            "importing": self.importing,
        }

    def load(self, folder: str) -> dict[str, Any]:
        """Read the images into the lesson's tensors. Not timed: both do the same."""
        self.folder = Path(folder)
        self.tensors = digits_tensors(self.folder)
        return {"train": len(self.tensors[0]), "valid": len(self.tensors[2])}

    def linear(self, seed: int) -> dict[str, Any]:
        nn = self.torch.nn
        return self._from_tensors(lambda: nn.Linear(28 * 28, 1), epochs=10, lr=1.0, seed=seed)

    def simple(self, seed: int) -> dict[str, Any]:
        nn = self.torch.nn
        net = lambda: nn.Sequential(nn.Linear(28 * 28, 30), nn.ReLU(), nn.Linear(30, 1))  # noqa: E731
        return self._from_tensors(net, epochs=40, lr=0.1, seed=seed)

    def _from_tensors(self, make: Callable[[], Any], *, epochs: int, lr: float, seed: int) -> dict[str, Any]:
        lib, torch = self.lib, self.torch
        assert self.tensors is not None
        train_x, train_y, valid_x, valid_y = self.tensors

        def mnist_loss(predictions: Any, targets: Any) -> Any:
            predictions = predictions.sigmoid()
            return torch.where(targets == 1, 1 - predictions, predictions).mean()

        def batch_accuracy(xb: Any, yb: Any) -> Any:
            return ((xb.sigmoid() > 0.5) == yb).float().mean()

        torch.manual_seed(seed)
        model = make()
        made: list[Any] = []

        def build() -> None:
            dl = lib.DataLoader(list(zip(train_x, train_y, strict=True)), batch_size=256)
            valid_dl = lib.DataLoader(list(zip(valid_x, valid_y, strict=True)), batch_size=256)
            made.append(
                lib.Learner(
                    lib.DataLoaders(dl, valid_dl), model, opt_func=lib.SGD,
                    loss_func=mnist_loss, metrics=batch_accuracy,
                )
            )  # fmt: skip

        building = timed(build)
        learn = made[0]
        return {"build": building, **self._fitted(learn, lambda: learn.fit(epochs, lr=lr))}

    def resnet(self, seed: int, num_workers: int | None = None) -> dict[str, Any]:
        """One epoch of ResNet-18 from the image files. `num_workers` None is the library's own default."""
        lib = self.lib
        self.torch.manual_seed(seed)
        made: list[Any] = []
        workers = {} if num_workers is None else {"num_workers": num_workers}

        def build() -> None:
            dls = lib.ImageDataLoaders.from_folder(self.folder, bs=64, **workers)
            made.append(
                lib.vision_learner(
                    dls, lib.resnet18, pretrained=False, loss_func=lib.F.cross_entropy, metrics=lib.accuracy
                )
            )

        building = timed(build)
        learn = made[0]
        return {"build": building, **self._fitted(learn, lambda: learn.fit_one_cycle(1, 0.1))}

    def frames(self) -> dict[str, Any]:
        """How many frames the stack holds from `learn.fit` on when the optimizer's `step` is called."""
        lib, torch = self.lib, self.torch
        seen: list[list[str]] = []

        def spied(*args: Any, **kwargs: Any) -> Any:
            optimizer = lib.SGD(*args, **kwargs)
            step = optimizer.step

            def noted(*a: Any, **k: Any) -> Any:
                if not seen:
                    seen.append(_frames_since_fit())
                return step(*a, **k)

            optimizer.step = noted
            return optimizer

        rows = [(torch.ones(1), torch.ones(1))] * 2
        dls = lib.DataLoaders(lib.DataLoader(rows, batch_size=2), lib.DataLoader(rows, batch_size=2))
        model = torch.nn.Linear(1, 1)
        learn = lib.Learner(dls, model, opt_func=spied, loss_func=torch.nn.functional.mse_loss)
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, lr=0.1)
        return {"frames": seen[0]}

    def _fitted(self, learn: Any, fit: Callable[[], None]) -> dict[str, Any]:
        with learn.no_bar(), learn.no_logging():
            took = timed(fit)
        train_loss, valid_loss, accuracy = (float(value) for value in learn.recorder.values[-1])
        return {"fit": took, "train_loss": train_loss, "valid_loss": valid_loss, "accuracy": accuracy}


def _frames_since_fit() -> list[str]:
    """The functions on the stack from the outermost `fit` to the caller of the optimizer's step, in order."""
    names: list[str] = []
    frame = sys._getframe(2)  # past this function and the spy
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    names.reverse()
    return names[names.index("fit") :]


def _commands() -> dict[str, Callable[..., dict[str, Any]]]:
    digits = Digits(sys.argv[1], int(sys.argv[2]))
    jobs = (digits.hello, digits.load, digits.linear, digits.simple, digits.resnet, digits.frames)
    return {job.__name__: job for job in jobs}


if __name__ == "__main__":
    serve(_commands)
