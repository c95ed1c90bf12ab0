"""`plainlearn drift FILE FOLDER`: whether new images, without labels, are still like those that a model was validated on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def drift(
    file: Annotated[Path, typer.Argument(help="A model file, as learn.export writes it.")],
    folder: Annotated[Path, typer.Argument(help="Images, in the folder or below; they need no labels.")],
    json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
) -> None:
    """Tell whether new images are like those that a model knows, without labels.

    Compared are how unlike the images are, how sure the answers, and which; at least 30 images are needed, and the last
    1000 in the order of their names count. What cannot be read is named. The exit code is 1 when something moved.
    """
    from plainlearn.core.errors import DataError, PlainlearnError
    from plainlearn.data.items import get_image_files
    from plainlearn.inference.evaluate_file import judged_items
    from plainlearn.inference.predictor import Predictor

    predictor = Predictor.load(file)
    follower = predictor.drift()
    images = list(get_image_files(folder))
    if not images:
        raise DataError(f"the folder {folder} holds no image; expected some", try_="another folder")
    left_out: list[str] = []
    for _, answer, strangeness in judged_items(predictor, images):
        if isinstance(answer, PlainlearnError):
            left_out.append(answer.what)
        else:
            follower.update(answer, strangeness)
    report = follower.report()
    if json:
        import json as json_format

        typer.echo(json_format.dumps({**report.as_dict(), "left_out": left_out}, indent=2))
    else:
        typer.echo(repr(report))
        for reason in left_out:
            typer.echo(f"left out: {reason}", err=True)
    if report.moved:
        raise typer.Exit(1)
