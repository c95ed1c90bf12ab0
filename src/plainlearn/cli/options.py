"""What several commands have in common: an argument, the options for labels, and JSON on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

ModelFile = Annotated[Path, typer.Argument(help="A model file, as learn.export writes it.")]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="CSV|PATTERN",
        help="A table of files and labels; or a pattern of the names, its group the label: '^(.+)_\\d+'.",
    ),
]
FileColumn = Annotated[str | None, typer.Option(metavar="NAME", help="The table's column of file names.")]
LabelColumn = Annotated[str | None, typer.Option(metavar="NAME", help="The table's column of labels.")]
LabelDelimiter = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What parts the labels of an image that has several.")
]


def print_json(value: object, indent: int | None = 2) -> None:
    """Write `value` as JSON; without an `indent` on one line."""
    typer.echo(json.dumps(value, indent=indent))
