"""`plainlearn eject RUN`: a run as a plain PyTorch script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plainlearn.cli.options import print_json


def eject(
    run: Annotated[Path, typer.Argument(help="The folder of a run, NAME.run, or its model file.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The script; NAME.py beside the model file if not given."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace files of these names even if plainlearn did not write them."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Write what was made as JSON.")] = False,
) -> None:
    """Write what a run did as one readable PyTorch script that needs no plainlearn.

    Beside it go the weights that it starts from and a table of the images. Nothing is trained.
    """
    from plainlearn.runs.eject_run import eject_run

    path, note = eject_run(run, out, force=force)
    if json:
        print_json({"script": str(path), "note": note}, indent=None)
    else:
        typer.echo(f"{path}: {note}\nRun it with: python {path}")
