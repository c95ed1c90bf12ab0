"""What a learner tells of itself: the layers of its model, and its loop with the callbacks that act in it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import torch
from torch import Tensor, nn

from plainlearn.core.tensors import to_device
from plainlearn.train.callback import overriding
from plainlearn.train.loop import TrainingLoop
from plainlearn.train.step import apply_model, described, place, split_batch


class Layer(NamedTuple):
    """One layer: its place in the model, its kind, the shape it gave, how many parameters it has, how many learn."""

    name: str
    kind: str
    shape: str
    parameters: int
    learning: int


@dataclass(frozen=True)
class ModelSummary:
    """The layers in the order in which they ran. It prints as a table."""

    title: str
    layers: tuple[Layer, ...]
    #: Of the whole model, with what layers that never ran hold.
    parameters: int
    learning: int

    def __str__(self) -> str:
        rows = [("layer", "kind", "gives", "parameters", "learns")]
        for layer in self.layers:
            learns = (
                {0: "no", layer.parameters: "yes"}.get(layer.learning, "in part") if layer.parameters else ""
            )
            rows.append(
                (
                    layer.name,
                    layer.kind,
                    layer.shape,
                    f"{layer.parameters:,}" if layer.parameters else "",
                    learns,
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        last = f"{self.parameters:,} parameters, of which {self.learning:,} learn"
        return "\n".join([self.title, *lines, last])

    __repr__ = __str__


def summary(learner: TrainingLoop) -> ModelSummary:
    """The layers of the model as a training batch passes through, without training on it.

    Layers are those without parts, and those with parameters of their own beside their parts, such as a transformer
    with its class token. One that runs several times is listed once. Raises what the model raises.
    """
    ran: dict[nn.Module, Any] = {}
    names: dict[Any, str] = {module: name for name, module in cast("Any", learner.model.named_modules())}
    loader = learner.dls.train
    batch = loader.one_batch() if hasattr(loader, "one_batch") else next(iter(loader))
    given, _ = split_batch(to_device(batch, learner.device), getattr(learner.dls, "n_inp", None))
    place(learner.model, learner.device)

    def enter(module: nn.Module, _: Any) -> None:
        ran.setdefault(module, None)  # its place is before its parts

    def note(module: nn.Module, _: Any, output: Any) -> None:
        ran[module] = ran[module] or (output.shape if isinstance(output, Tensor) else described(output))

    was_training = {module: module.training for module in learner.model.modules()}
    with ExitStack() as hooks, torch.no_grad():
        for module in learner.model.modules():
            if _is_layer(module):
                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(note).remove)
        learner.model.eval()
        try:
            apply_model(learner.model, given)
        finally:
            for module, training in was_training.items():
                module.training = training
    layers = tuple(_layer(names[module], module, shape) for module, shape in ran.items())
    title = f"{type(learner.model).__name__}, given {' and '.join(map(described, given))}"
    if (expects := getattr(learner.model, "expects", None)) is not None:
        title += f"\n{expects}"
    return ModelSummary(title, layers, *_counts(learner.model.parameters()))


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, nn.Identity):
        return False  # it is there for others to take its place
    return not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))


def _layer(name: str, module: nn.Module, shape: Any) -> Layer:
    shown = " × ".join(map(str, shape)) if isinstance(shape, torch.Size) else str(shape)
    return Layer(name, type(module).__name__, shown, *_counts(module.parameters(recurse=False)))


def _counts(of: Iterable[nn.Parameter]) -> tuple[int, int]:
    """How many parameters, and how many of them learn."""
    parameters = list(of)
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


# ---- the loop

# A line of the loop, or the name of a hook, and how deep it stands.
_LOOP: Final = (
    (0, "fit_scope"),
    (0, "for each epoch:"),
    (1, "for each batch of dls.train:"),
    (2, "on_batch"),
    (2, "model, loss, backward"),
    (2, "on_gradients"),
    (2, "optimizer.step, optimizer.zero_grad"),
    (2, "on_step"),
    (1, "validation_scope"),
    (1, "loss and metrics on dls.valid"),
    (1, "on_epoch"),
)


def show_training_loop(learner: TrainingLoop) -> None:
    """Print the loop of `fit`, and at each of its hooks the callbacks that act there, in their order.

    Hooks that nobody uses are left out: they are not called.
    """
    print("\n".join(training_loop(learner)))


def training_loop(learner: TrainingLoop) -> list[str]:
    """The lines that `show_training_loop` prints."""
    lines: list[str] = []
    for depth, text in _LOOP:
        indent = "    " * depth
        if not text.isidentifier():
            lines.append(f"{indent}{text}")
            continue
        acting = [type(callback).__name__ for callback in overriding(learner.callbacks, text)]
        if acting:
            around = text.endswith("_scope")
            lines.append(f"{indent}{'within ' if around else '- '}{text}: {', '.join(acting)}")
    return lines
