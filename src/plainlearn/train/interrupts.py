"""Ctrl-C that waits for a moment at which nothing is half done."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Interrupts:
    """Whether somebody has pressed Ctrl-C."""

    asked: bool = False

    def give_way(self) -> None:
        """Raise the `KeyboardInterrupt` that has waited, if one has."""
        if self.asked:
            self.asked = False
            raise KeyboardInterrupt


@contextmanager
def deferred_interrupts(worth_it: Callable[[], bool]) -> Generator[Interrupts]:
    """Inside, Ctrl-C waits for `give_way` while it is `worth_it`; a second one does not wait.

    Only in the main thread, and only where Ctrl-C does what Python does with it: who has a handler of
    his own keeps it. Afterwards all is as before.
    """
    interrupts = Interrupts()

    def wait(number: int, frame: object) -> None:
        if interrupts.asked or not worth_it():
            raise KeyboardInterrupt
        interrupts.asked = True
        print("Stopping after this batch, to save; Ctrl-C again stops at once.", file=sys.stderr, flush=True)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupts
        return
    signal.signal(signal.SIGINT, wait)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
