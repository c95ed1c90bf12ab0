"""One library, tuning EfficientNet-Lite0 on the pet photos on command: started by transfer_pets.py for each system.

Both get the same files, the same split, the same ImageNet weights and the same recipe, `fine_tune`; each has its own
loaders, augmentation, head and optimizer. The weights come as a file of plain tensors, made by plainlearn.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from harness import serve, timed

SIZE, PRESIZE = 224, 256


class Pets:
    """The jobs. `system` is plainlearn or fastai."""

    def __init__(self, system: str, threads: int) -> None:
        import importlib

        import torch

        torch.set_num_threads(threads)
        self.torch, self.system = torch, system
        self.lib: Any = importlib.import_module(f"{system}.vision.all")

    def hello(self) -> dict[str, Any]:
        import importlib

        return {
            "version": importlib.import_module(self.system).__version__,
            "torch": self.torch.__version__,
            "python": sys.version.split()[0],
        }

    def weights(self, file: str) -> dict[str, Any]:
        """Write the body's weights, and two pictures' logits, for the other system."""
        from safetensors.torch import save_file

        from plainlearn.models.archs import build

        network, _ = build("tf_efficientnet_lite0", pretrained=True, weights=None, channels=3)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
        return {}

    def run(self, *, files: list[str], labels: list[str], valid: list[int], seed: int, epochs: int, bs: int,
            job: str, weights: str) -> dict[str, Any]:  # fmt: skip
        """`job` is "fine_tune" or "probe"; the accuracy and the seconds from the files on, model and loaders included."""
        lib = self.lib
        lib.set_seed(seed)
        answer: dict[str, Any] = {}
        of = dict(zip(files, labels, strict=True))

        def work() -> None:
            paths = [Path(file) for file in files]
            block = lib.DataBlock(
                blocks=(lib.ImageBlock, lib.CategoryBlock), get_items=lambda _: paths,
                splitter=lib.IndexSplitter(valid), get_y=lambda path: of[str(path)],
                item_tfms=lib.Resize(PRESIZE), batch_tfms=lib.aug_transforms(size=SIZE),
            )  # fmt: skip
            workers = {} if self.system == "plainlearn" else {"num_workers": 0}
            dls = block.dataloaders(Path(files[0]).parent, bs=bs, **workers)
            learn = self._learner(dls, weights)
            began = time.perf_counter()
            with learn.no_logging(), learn.no_bar():
                if job == "probe":
                    found = learn.probe()
                    answer.update(accuracy=found.accuracy, cv=found.cv_accuracy)
                else:
                    learn.fine_tune(epochs)
                    answer["accuracy"] = float(learn.recorder.values[-1][2])
            answer["training"] = time.perf_counter() - began
            if job == "probe":
                answer["one_pass"] = self._one_pass(learn)

        answer.update(timed(work))
        return answer

    def _one_pass(self, learn: Any) -> float:
        """Seconds of one bare pass of all items through the body, loading included."""
        torch = self.torch
        body = learn.model[0].eval()
        began = time.perf_counter()
        with torch.inference_mode():
            for loader in (learn.dls.unaugmented(), learn.dls.valid):
                for batch in loader:
                    body(batch[0])
        return time.perf_counter() - began

    def _learner(self, dls: Any, weights: str) -> Any:
        lib = self.lib
        if self.system == "plainlearn":
            return lib.vision_learner(dls, "tf_efficientnet_lite0", metrics=lib.accuracy)
        import timm
        from safetensors.torch import load_file

        # As fastai does for timm's names: the network without its classifier, its own head, normalised batches.
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        network.load_state_dict(load_file(weights))
        network.reset_classifier(0, "")
        dls.add_tfms([lib.Normalize.from_stats([0.5] * 3, [0.5] * 3)], "after_batch")
        head = lib.create_head(1280, dls.c)
        model = self.torch.nn.Sequential(network, head)
        lib.apply_init(model[1], self.torch.nn.init.kaiming_normal_)
        learn = lib.Learner(
            dls, model, metrics=lib.accuracy,
            splitter=lambda m: [
                lib.params(m[0].conv_stem) + lib.params(m[0].bn1) + lib.params(m[0].blocks[:4]),
                lib.params(m[0].blocks[4:]) + lib.params(m[0].conv_head) + lib.params(m[0].bn2),
                lib.params(m[1]),
            ],
        )  # fmt: skip
        learn.freeze()
        return learn


if __name__ == "__main__":
    pets = Pets(sys.argv[1], int(sys.argv[2]))
    serve(lambda: {"hello": pets.hello, "weights": pets.weights, "run": pets.run})
