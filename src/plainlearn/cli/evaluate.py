"""`plainlearn evaluate FILE FOLDER`: how good a model file is on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    file: Annotated[Path, typer.Argument(help="A model file, as learn.export writes it.")],
    folder: Annotated[
        Path, typer.Argument(help="Images in folders named after their class, or see --labels.")
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="CSV|PATTERN",
            help="A table of files and labels; or a pattern of the names, its group the label.",
        ),
    ] = None,
    file_col: Annotated[
        str | None, typer.Option(metavar="NAME", help="The table's column of file names.")
    ] = None,
    label_col: Annotated[
        str | None, typer.Option(metavar="NAME", help="The table's column of labels.")
    ] = None,
    label_delim: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What parts the labels of an image that has several.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write all figures as JSON.")] = False,
) -> None:
    """Measure a model on images that it has not learned from.

    \b
      plainlearn evaluate pets.plain new-pets
      plainlearn evaluate pets.plain photos --labels labels.csv
      plainlearn evaluate pets.plain photos --labels '(.+)_\\d+'

    Each metric comes with the values between which it lies with 95% confidence. Of a folder with train, valid or test, the
    test images count, or else the valid ones. The exit code is 1 when images were left out, as they cannot be read.
    """
    from plainlearn.data.labelled_items import labelled_items
    from plainlearn.inference.evaluate_file import evaluated
    from plainlearn.inference.predictor import Predictor

    found = labelled_items(folder, labels, file_col=file_col, label_col=label_col, label_delim=label_delim)
    report = evaluated(Predictor.load(file), found, model=file.name)
    if json:
        import json as json_format

        typer.echo(json_format.dumps(report.as_dict(), indent=2))
    else:
        typer.echo(str(report))
    if report.left_out:
        raise typer.Exit(1)
