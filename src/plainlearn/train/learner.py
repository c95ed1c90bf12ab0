"""The `Learner`: the training loop with every way of training, measuring and keeping a model as a method."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import NoReturn, Self

from plainlearn.core.errors import ArgumentError
from plainlearn.train import calibration, freezing, predictions, recipes, saving, tuning
from plainlearn.train import lr_find as rates
from plainlearn.train import probe as probes
from plainlearn.train import summary as summaries
from plainlearn.train.distributed import ranks
from plainlearn.train.loop import TrainingLoop
from plainlearn.train.predictions import Scores
from plainlearn.train.step import Batch, Precision, place


class Learner(TrainingLoop):
    """Data, a model, a loss and an optimizer, and all that one does with them. What it takes, `TrainingLoop` says.

    A recipe is a function that takes a `TrainingLoop`, and a method here: `fine_tune(learn, 3)` is `learn.fine_tune(3)`.
    So is a recipe of your own: write the function, and hand it the learner.

    >>> import torch
    >>> from torch import nn
    >>> from plainlearn.data import DataLoaders
    >>> data = [(torch.ones(4, 1), torch.ones(4, 1))]
    >>> learn = Learner(DataLoaders(data, data), nn.Linear(1, 1), loss_func=nn.functional.mse_loss)
    >>> with learn.no_logging():
    ...     learn.fit(1, lr=0.1)
    >>> len(learn.recorder.values)
    1
    """

    __slots__ = ()

    # ---- training

    fit_one_cycle = recipes.fit_one_cycle
    fit_flat_cos = recipes.fit_flat_cos
    fit_sgdr = recipes.fit_sgdr
    fine_tune = recipes.fine_tune
    freeze = freezing.freeze
    freeze_to = freezing.freeze_to
    unfreeze = freezing.unfreeze

    # ---- before training: what it would cost, and bring

    lr_find = rates.lr_find
    probe = probes.probe
    summary = summaries.summary
    show_training_loop = summaries.show_training_loop
    speed_up = tuning.speed_up
    find_batch_size = tuning.find_batch_size

    def to_bf16(self) -> Self:
        """Compute in bfloat16 where torch thinks it safe (autocast); the weights stay in fp32. Returns the learner."""
        self.precision = Precision("bf16", self.device)
        return self

    def to_fp16(self) -> Self:
        """Compute in float16 on a GPU, with the loss scaled; elsewhere it changes nothing. Returns the learner."""
        self.precision = Precision("fp16", self.device)
        return self

    def to_fp32(self) -> Self:
        """Compute in float32 throughout. Returns the learner."""
        self.precision = Precision("fp32", self.device)
        return self

    # ---- what was learned

    get_preds = predictions.get_preds
    predict = predictions.predict
    tta = predictions.tta
    calibrate = calibration.calibrate
    save = saving.save
    load = saving.load

    def validate(self, ds_idx: int = 1, dl: Iterable[Batch] | None = None) -> Scores:
        """`[loss, metric, …]` on the validation set, or on `dl`, any iterable of batches.

        `ds_idx=0` means the training data. Raises `DataError` when there is no batch.
        """
        batches = predictions.batches_of(self, ds_idx, dl)
        place(self.model, self.device)
        values = self._evaluate(batches, ranks(self.device))
        return Scores(["loss", *(meter.name for meter in self.meters)], values)

    def eject(self, path: object = "train.py", *args: object, **settings: object) -> NoReturn:
        """Not here: training does not know pictures, which a script has to read. Raises `ArgumentError` that says where."""
        given = [repr(path), *map(repr, args), *(f"{name}={value!r}" for name, value in settings.items())]
        raise ArgumentError(
            "a learner does not write scripts itself; plainlearn.eject takes it",
            try_=f"import plainlearn, and plainlearn.eject(learn, {', '.join(given)})",
        )

    # ---- what is printed

    @contextmanager
    def no_bar(self) -> Generator[Self]:
        """No progress bar inside; rows are printed as plain lists."""
        with self.progress.style("lists"):
            yield self

    @contextmanager
    def no_logging(self) -> Generator[Self]:
        """Nothing is printed inside."""
        with self.progress.style("silent"):
            yield self
