"""The training loop with the callbacks that act in it, from those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plainlearn.train.callback import overriding

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner

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


def show_training_loop(learner: Learner) -> None:
    """Print the loop of `fit`, and at each of its hooks the callbacks that act there, in their order.

    Hooks that nobody uses are left out: they are not called.
    """
    print("\n".join(training_loop(learner)))


def training_loop(learner: Learner) -> list[str]:
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
