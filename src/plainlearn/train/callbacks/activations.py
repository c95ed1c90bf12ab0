"""What goes through the layers while a model trains: means, deviations, dead activations, and their pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.train.callback import Callback, Loop
from plainlearn.train.step import Result

NEAR_ZERO: Final = 0.05
BINS: Final = 40
LARGEST: Final = 10.0  # histograms reach from minus this to this
_NAMES: Final = ("mean", "std", "near_zero")


class ActivationStats(Callback):
    """Records, at each training step, the mean, the deviation and the share near zero of each layer's output.

    Layers are the `modules` given, or all that have parameters and no layers within, in the order of the model.
    Near zero is an absolute value of 0.05 or less: a layer all near zero is dead. `with_hist=True` also counts the
    activations of −10..10 in 40 bins. `every=10` records each tenth step. Outputs that are no tensors are
    skipped, nan for them. The numbers stay on the device until they are asked for.

    A new run begins a new record. Pictures: `plot_layer_stats`, `color_dim`.
    """

    def __init__(
        self, with_hist: bool = False, modules: Iterable[nn.Module] | None = None, every: int | None = None
    ) -> None:
        if every is not None and every < 1:
            raise ArgumentError(f"every is {every}; expected a number of steps, 1 or more", try_="every=10")
        self.with_hist, self.every = with_hist, every or 1
        self.modules = None if modules is None else list(modules)
        self._clear([])

    def _clear(self, names: Sequence[str]) -> None:
        #: The layers' names, in the order of their numbers.
        self.layers = list(names)
        self._steps = 0
        self._this_step: dict[int, tuple[Tensor, Tensor | None]] = {}
        self._stats: list[Tensor] = []  # (layers, 3) a step
        self._hists: list[Tensor] = []  # (layers, bins) a step

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        chosen = list(_layers(learner.model)) if self.modules is None else self.modules
        if not chosen:
            raise ArgumentError(
                f"the model {type(learner.model).__name__} has no layer with parameters to look at",
                try_="ActivationStats(modules=[learn.model])",
            )
        parts = cast("Iterable[tuple[str, nn.Module]]", learner.model.named_modules())
        names = {id(part): name for name, part in parts}
        self._clear([f"{names.get(id(layer), '')} {type(layer).__name__}".strip() for layer in chosen])
        hooks = [layer.register_forward_hook(partial(self._look, i)) for i, layer in enumerate(chosen)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _look(self, number: int, layer: nn.Module, _: Any, output: Any) -> None:
        # Validation, which runs without gradients, is not looked at.
        if not torch.is_grad_enabled() or self._steps % self.every or not isinstance(output, Tensor):
            return
        values = output.detach().float()
        stats = torch.stack(
            [values.mean(), values.std(correction=0), (values.abs() <= NEAR_ZERO).float().mean()]
        )
        hist = values.histc(BINS, -LARGEST, LARGEST) if self.with_hist else None
        self._this_step[number] = stats, hist

    def on_step(self, learner: Loop, result: Result) -> None:
        self._steps += 1
        seen, self._this_step = self._this_step, {}
        if not seen:
            return
        first, first_hist = next(iter(seen.values()))
        missing = (
            torch.full_like(first, torch.nan),
            None if first_hist is None else torch.zeros_like(first_hist),
        )
        rows = [seen.get(number, missing) for number in range(len(self.layers))]
        self._stats.append(torch.stack([stats for stats, _ in rows]))
        if self.with_hist:
            self._hists.append(torch.stack([cast(Tensor, hist) for _, hist in rows]))

    # ---- what was seen

    @property
    def stats(self) -> Tensor:
        """(steps, layers, 3): mean, deviation and share near zero, on the CPU. Raises `DataError` before a run."""
        return self._recorded(self._stats)

    @property
    def hists(self) -> Tensor:
        """(steps, layers, 40): how many activations fell into each bin. Raises `DataError` without `with_hist`."""
        if not self.with_hist:
            raise DataError(
                "there are no histograms; they are counted only when asked for",
                try_="ActivationStats(with_hist=True)",
            )
        return self._recorded(self._hists)

    def layer_stats(self, idx: int) -> dict[str, list[float]]:
        """`mean`, `std` and `near_zero` of one layer at each recorded step; -1 is the last layer."""
        of_layer = self.stats[:, self._number(idx)]
        return {name: cast("list[float]", of_layer[:, k].tolist()) for k, name in enumerate(_NAMES)}

    def plot_layer_stats(self, idx: int) -> None:
        """Draw mean, deviation and share near zero of one layer over the steps; -1 is the last layer."""
        from plainlearn.core.figures import subplots

        values = self.layer_stats(idx)
        _, axes = subplots(1, 3, figsize=(12, 3), layout="constrained", suptitle=self.layers[idx])
        steps = [step * self.every for step in range(len(values["mean"]))]
        titles = ("mean", "standard deviation", "share near zero")
        for ax, title, series in zip(axes.flat, titles, values.values(), strict=True):
            ax.plot(steps, series)
            ax.set(title=title, xlabel="step")

    def color_dim(self, idx: int, figsize: tuple[float, float] = (10, 5), ax: Any = None) -> Any:
        """Draw one layer's histograms side by side, a column a step, bright where activations are many. Returns the axes."""
        from plainlearn.core.figures import subplots

        hist = self.hists[:, self._number(idx)]
        if ax is None:
            ax = subplots(1, 1, figsize=figsize)[1].flat[0]
        extent = (0, len(hist) * self.every, -LARGEST, LARGEST)
        ax.imshow(hist.T.log1p().numpy(), origin="lower", aspect="auto", extent=extent)
        ax.set(title=self.layers[idx], xlabel="step", ylabel="activation")
        return ax

    def _number(self, idx: int) -> int:
        count = len(self.layers)
        if not -count <= idx < count:
            raise ArgumentError(
                f"there is no layer {describe(idx)}; the {count} that were recorded are {', '.join(self.layers[:8])}",
                try_=f"0 to {count - 1}, or -1, the last",
            )
        return idx % count

    def _recorded(self, values: list[Tensor]) -> Tensor:
        if not values:
            raise DataError(
                "nothing has been recorded yet; activations come with a run", try_="learn.fit(1, cbs=stats)"
            )
        return torch.stack(values).cpu()

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": self._steps,
            "stats": torch.stack(self._stats) if self._stats else None,
            "hists": torch.stack(self._hists) if self._hists else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        stats, hists = state["stats"], state["hists"]
        if stats is not None and stats.shape[1] != len(self.layers):
            raise DataError(f"the state is of {stats.shape[1]} layers, and here are {len(self.layers)}")
        self._steps = state["steps"]
        self._stats = [] if stats is None else list(stats)
        self._hists = [] if hists is None else list(hists)


def _layers(model: nn.Module) -> Iterable[nn.Module]:
    """The layers that have parameters and no layers within."""
    for part in model.modules():
        if next(part.children(), None) is None and next(part.parameters(recurse=False), None) is not None:
            yield part
