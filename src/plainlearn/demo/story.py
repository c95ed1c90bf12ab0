"""The story that ties the rungs together: words, tables, pictures, and a summary."""

from __future__ import annotations

import json as json_format
import os
import platform
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

import torch
from rich.console import Console
from rich.table import Table

from plainlearn._version import __version__
from plainlearn.core.errors import ArgumentError
from plainlearn.core.own_folder import claim
from plainlearn.core.paths import Path
from plainlearn.core.seed import set_seed
from plainlearn.core.wholefile import Mark, check_replaceable, write_whole
from plainlearn.datasets.download import untar_data
from plainlearn.datasets.urls import URLs
from plainlearn.demo import rungs
from plainlearn.demo.album import ALBUM, Album, in_characters
from plainlearn.demo.rungs import Rung

_FIGURES: Final = Mark(b'{\n  "rungs": [', within=32)


def run(out: str = "plainlearn-demo", json: str | None = None, seed: int = 0) -> None:
    """Tell the whole story. Pictures go to the folder `out`, figures to the file `json`.

    Raises `ArgumentError` when a place cannot be written to, and `StorageError` for a folder or a file there that is the
    user's own: before the story begins, not after it.
    """
    report = None if json is None else _writable_file(json)
    _Story(_own_folder(out), seed).tell(report)


class _Story:
    def __init__(self, folder: Path, seed: int) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.album, self.seed = Album(folder), seed
        self.rungs: list[Rung] = []

    def tell(self, report: Path | None) -> None:
        began = time.perf_counter()
        set_seed(self.seed)
        self.say("[bold]plainlearn: handwritten digits, from pixels to a ResNet[/bold]")
        path = untar_data(URLs.MNIST_SAMPLE)
        digits = rungs.load_digits(path)
        self.the_data(path, digits)
        self.the_baseline(digits)
        dls = rungs.as_loaders(digits)
        self.by_hand(dls)
        self.with_a_learner(dls)
        self.the_simple_net(dls)
        self.the_resnet(path)
        self.the_summary(time.perf_counter() - began)
        if report is not None:
            self.write(report, time.perf_counter() - began)

    def the_data(self, path: Path, digits: rungs.Digits) -> None:
        self.chapter("An image is numbers")
        self.say(f"{len(digits.threes):,} threes and {len(digits.sevens):,} sevens to learn from, "
                 f"{len(digits.valid_threes):,} and {len(digits.valid_sevens):,} to be tested on, in {path}.")  # fmt: skip
        self.say("One of them, its ink from 0 to 1 as shades:\n")
        self.console.print(in_characters(digits.threes[1][3:25]), markup=False)
        self.album.digit_as_numbers(digits.threes[1])

    def the_baseline(self, digits: rungs.Digits) -> None:
        self.chapter("Rung 1: pixel similarity")
        self.say("Average all 3s, average all 7s. A new digit is what it is nearer to. Nothing is learned;")
        self.say("but whatever we build must beat it.\n")
        with self.timed("pixel similarity", 0) as rung:
            threes, sevens = rungs.baseline(digits)
            rung.accuracy = (threes + sevens) / 2
        self.say(f"3s right: {threes:.4f}    7s right: {sevens:.4f}    mean: {rung.accuracy:.4f}")
        self.album.averages(digits.threes, digits.sevens)

    def by_hand(self, dls: Any) -> None:
        self.chapter("Rung 2: a weight for every pixel, learned by hand")
        self.say("784 weights and a bias, random at first. Predict, measure the loss, ask PyTorch for the")
        self.say("gradient, take a step against it; a few hundred digits at a time, again and again.\n")
        with self.timed("linear, by hand", 785) as rung:
            rung.accuracy = rungs.linear_by_hand(
                dls, epochs=20, lr=1.0, tell=lambda epoch, value: self.console.print(
                    f"{value:.4f}", end="\n" if epoch % 10 == 9 else "  ")
            )  # fmt: skip

    def with_a_learner(self, dls: Any) -> None:
        self.chapter("Rung 3: the same with nn.Linear, SGD and a Learner")
        self.say("Nothing new, only less to write: learn.fit(10, lr=1.0)\n")
        learn = rungs.linear_learner(dls)
        with self.timed("linear, Learner", rungs.parameters_of(learn)) as rung:
            learn.fit(10, lr=1.0)
            rung.accuracy = learn.recorder.values[-1][2]

    def the_simple_net(self, dls: Any) -> None:
        self.chapter("Rung 4: a neural net")
        self.say("Two linear layers, and between them max(x, 0), without which two would be no more than")
        self.say("one. Forty epochs at 0.1; every eighth is shown: learn.fit(40, lr=0.1)\n")
        learn = rungs.simple_net_learner(dls)
        with self.timed("simple net", rungs.parameters_of(learn)) as rung:
            with learn.no_logging():
                learn.fit(40, lr=0.1)
            rung.accuracy = learn.recorder.values[-1][2]
        self.rows(learn, every=8)
        self.album.curve(learn, "simple_net", "accuracy of the simple net")
        self.album.first_layer(learn.model)

    def the_resnet(self, path: Path) -> None:
        self.chapter("Rung 5: the top of the library")
        self.say("From the image files, through eighteen layers, one epoch whose learning rate climbs to")
        self.say("0.1 and comes down again: learn.fit_one_cycle(1, 0.1). This takes a minute or so.\n")
        learn = rungs.resnet_learner(path)
        with self.timed("ResNet-18", rungs.parameters_of(learn)) as rung:
            learn.fit_one_cycle(1, 0.1)
            rung.accuracy = learn.recorder.values[-1][2]
        self.album.schedule(learn)
        dls: Any = learn.dls
        self.album.mistakes(learn, dls, opened=lambda index: dls.valid_ds.opened(index)[0])

    def the_summary(self, seconds: float) -> None:
        self.chapter("Summary")
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("rung")
        for name in ("parameters", "seconds", "accuracy", "errors in 2,038"):
            table.add_column(name, justify="right")
        for rung in self.rungs:
            errors = round((1 - rung.accuracy) * 2038)
            table.add_row(
                rung.name, f"{rung.parameters:,}", f"{rung.seconds:.1f}", f"{rung.accuracy:.4f}", str(errors)
            )
        self.console.print(table)
        self.say(f"\n{seconds:.0f} seconds in all. The pictures:")
        for picture in self.album.taken:
            self.say(f"  {picture}")
        self.say("\nHow it works, step by step: tutorials/01_from_scratch.ipynb")

    def write(self, report: Path, seconds: float) -> None:
        figures = {
            "rungs": [asdict(rung) for rung in self.rungs],
            "seconds": round(seconds, 2),
            "seed": self.seed,
            "pictures": [str(picture) for picture in self.album.taken],
            "versions": {
                "plainlearn": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "threads": torch.get_num_threads(),
        }
        write_whole(report, (json_format.dumps(figures, indent=2) + "\n").encode(), mark=_FIGURES, force=None)
        self.say(f"The figures: {report}")

    # ---- how it is told

    def say(self, text: str) -> None:
        self.console.print(text)

    def chapter(self, title: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{title}[/bold]", align="left", style="dim")

    def rows(self, learn: Any, every: int) -> None:
        names = learn.recorder.metric_names
        self.say("epoch  " + "  ".join(f"{name:>14}" for name in names))
        for number, row in enumerate(learn.recorder.values, start=1):
            if number % every == 0:
                self.say(f"{number:>5}  " + "  ".join(f"{value:>14.6f}" for value in row))

    @contextmanager
    def timed(self, name: str, parameters: int) -> Generator[Rung]:
        """A rung whose seconds are those spent inside."""
        rung = Rung(name, parameters, 0.0, 0.0)
        began = time.perf_counter()
        yield rung
        rung.seconds = time.perf_counter() - began
        self.rungs.append(rung)


def _own_folder(name: str) -> Path:
    folder, other = Path(name), "--out with another folder"
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise ArgumentError(f"the folder {folder} cannot be written to", try_=other)
    claim(folder, ALBUM, other=other, older=dict.fromkeys(ALBUM, Mark(b"Matplotlib")))
    return folder


def _writable_file(name: str) -> Path:
    file = Path(name)
    check_replaceable(file, _FIGURES, force=None, other="--json with another file")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ArgumentError(
            f"the file {file} cannot be written", try_="--json with a file in a folder that exists"
        )
    return file
