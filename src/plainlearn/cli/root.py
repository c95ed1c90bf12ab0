"""The root of the `plainlearn` command: its options, its help, its exit codes. It knows nothing of torch.

Exit codes: 0 done; 1 a failure that we did not foresee, with its traceback, or errors that `check` found; 2 something
that the user can put right, in one message; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated

import typer

from plainlearn._version import __version__
from plainlearn.cli.check import check
from plainlearn.cli.demo import demo
from plainlearn.cli.eject import eject
from plainlearn.cli.model_file import card, drift, evaluate, export, info
from plainlearn.cli.predict import predict
from plainlearn.cli.serve import serve
from plainlearn.cli.train import train

_GUIDE = """
From a folder of images to a model that you understand, trust and can ship.

\b
Begin here; it needs no network and no data of yours:
  plainlearn demo              watch handwritten digits being learned, rung by rung

\b
Then, with your own photos in a folder for each class:
  plainlearn check FOLDER      what is wrong with them, before a model learns it
  plainlearn train FOLDER --minutes 10    a model file, and an honest report

\b
With a model file, as learn.export writes it:
  plainlearn info FILE             what it is, how well it does, what it learned from
  plainlearn card FILE             the same as a page to publish with it
  plainlearn predict FILE IMAGES   the label of each image, and how sure that is
  plainlearn serve FILE            the same over HTTP, with a page to drop an image on
  plainlearn evaluate FILE FOLDER  how good it is on labelled images, label by label
  plainlearn drift FILE FOLDER     whether new images are still like those it knows
  plainlearn export FILE --onnx OUT --check IMAGE   for machines without PyTorch
  plainlearn eject NAME.run        the run as one plain PyTorch script

\b
The lesson in Python:
  from plainlearn.vision.all import *
  path = untar_data(URLs.MNIST_SAMPLE)
  dls = ImageDataLoaders.from_folder(path)
  learn = vision_learner(dls, resnet18, pretrained=False, metrics=accuracy)
  learn.fit_one_cycle(1, 0.1)

\b
Help for one command:           plainlearn demo --help
Tab completes what you type:    plainlearn --install-completion
See where an error comes from:  plainlearn --debug demo
"""


@dataclass
class _Settings:
    """What the options before the command say."""

    debug: bool = False


def _show_version(wanted: bool) -> None:
    """Print what a bug report needs; torch's version comes from its files, as importing it takes seconds."""
    if not wanted:
        return
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "missing"
    typer.echo(f"plainlearn {__version__} (Python {platform.python_version()}, torch {torch})")
    raise typer.Exit


# The markup of typer's default would load rich, draw boxes, and wrap the lines above.
_app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@_app.callback(invoke_without_command=True, help=_GUIDE)
def _root(  # pyright: ignore[reportUnusedFunction] - typer calls it
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="On an error, show the whole traceback.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the versions, for bug reports."
        ),
    ] = False,
) -> None:
    context.ensure_object(_Settings).debug = debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _command in (demo, card, check, train, drift, evaluate, eject, export, info, predict, serve):
    _app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave by `SystemExit`; `arguments` are those of the process if not given."""
    settings = _Settings()
    try:
        _app(args=None if arguments is None else list(arguments), prog_name="plainlearn", obj=settings)
    except Exception as error:
        from plainlearn.core.errors import PlainlearnError

        if settings.debug or not isinstance(error, PlainlearnError):
            raise
        # Notes say where we were: see STYLE.md.
        message = "\n".join([str(error), *getattr(error, "__notes__", [])])
        print(f"plainlearn: {message}", file=sys.stderr)
        sys.exit(2)
