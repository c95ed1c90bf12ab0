"""`plainlearn predict FILE IMAGES…`: what a model file says of images."""

from __future__ import annotations

import csv as csv_format
import json as json_format
import sys
from pathlib import Path
from typing import Annotated, cast

import typer


def predict(
    file: Annotated[Path, typer.Argument(help="A model file, as learn.export writes it.")],
    images: Annotated[list[str], typer.Argument(help="Images, folders of them, or addresses.")],
    csv: Annotated[bool, typer.Option("--csv", help="Write a table, a column for each label.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write an object on a line for each image.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Say `unknown` of what is unlike the training data.")
    ] = False,
) -> None:
    """Tell the label of each image, and how sure that is.

    One line an image, in the order given: label, probability, name. The training code is not loaded.
    """
    from plainlearn.core.errors import ArgumentError, DataError
    from plainlearn.data.items import get_image_files
    from plainlearn.vision.predictor import Predictor

    if csv and json:
        raise ArgumentError("--csv and --json are two forms of one answer", try_="one of them")
    predictor = Predictor.load(file)
    places: list[str] = []
    for given in images:
        found = sorted(map(str, get_image_files(given))) if Path(given).is_dir() else [given]
        if not found:
            raise DataError(f"the folder {given} holds no image; expected some", try_="another folder")
        places += found
    labels = [str(label) for label in predictor.vocab or ()]
    table = csv_format.writer(sys.stdout)
    if csv:
        table.writerow(["image", "label", *labels])
    for place, prediction in zip(places, predictor.predict_many(places, unknown=unknown), strict=True):
        values = prediction.probabilities
        row = [round(float(value), 6) for value in values.flatten()]
        if csv:
            table.writerow([place, prediction.label, *row])
        elif json:
            named = dict(zip(labels, row, strict=True)) if len(labels) == len(row) else row
            answer = {"image": place, "label": _data(prediction.label), "probabilities": named}
            typer.echo(json_format.dumps(answer))
        else:
            sure = f"{float(values.max()):.3f}" if len(labels) == len(row) else ""
            typer.echo(f"{_shown(prediction.label)}\t{sure}\t{place}")


def _data(label: object) -> object:
    """A label as JSON has it."""
    if isinstance(label, (str, int, float, bool)) or label is None:
        return label
    if isinstance(label, (list, tuple)):
        return [_data(each) for each in cast("list[object]", label)]
    return str(label)


def _shown(label: object) -> str:
    """A label on one line: what is in it may not begin another."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(label))
