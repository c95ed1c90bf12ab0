"""`plainlearn predict FILE IMAGES…`: what a model file says of images."""

from __future__ import annotations

import csv as csv_format
import json as json_format
import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from plainlearn.cli.options import ModelFile


def predict(
    file: ModelFile,
    images: Annotated[list[str], typer.Argument(help="Images, folders of them, or addresses.")],
    csv: Annotated[bool, typer.Option("--csv", help="Write a table, a column for each label.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write an object on a line for each image.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Say `unknown` of what is unlike the training data.")
    ] = False,
) -> None:
    """Tell the label of each image, and how sure that is.

    One line an image, in the order given: label, probability, name. What cannot be read is named, and all others are
    answered; the exit code is then 2. Neither the training code is loaded nor, for a file with a graph, torch.
    """
    from plainlearn.core.errors import ArgumentError, PlainlearnError
    from plainlearn.inference.onnx_predictor import load_predictor

    if csv and json:
        raise ArgumentError("--csv and --json are two forms of one answer", try_="one of them")
    places = _places(images)
    predictor = load_predictor(file)
    labels = [str(label) for label in predictor.vocab or ()]
    table = csv_format.writer(sys.stdout)
    if csv:
        table.writerow(["image", "label", *labels])
    unread = 0
    for place, answer in zip(places, predictor.try_many(places, unknown=unknown), strict=True):
        if isinstance(answer, PlainlearnError):
            unread += 1
            print(f"plainlearn: {answer}", file=sys.stderr)
            if json:
                typer.echo(json_format.dumps({"image": place, "error": str(answer)}))
            continue
        row = [round(value, 6) for value in cast("list[float]", answer.probabilities.flatten().tolist())]
        if csv:
            table.writerow([place, answer.label, *row])
        elif json:
            named = dict(zip(labels, row, strict=True)) if len(labels) == len(row) else row
            typer.echo(
                json_format.dumps({"image": place, "label": _data(answer.label), "probabilities": named})
            )
        else:
            sure = f"{max(row):.3f}" if len(labels) == len(row) else ""
            typer.echo(f"{_shown(answer.label)}\t{sure}\t{_shown(place)}")
    if unread:
        if len(places) > 1:
            print(f"plainlearn: {unread} of {len(places)} images could not be read", file=sys.stderr)
        raise typer.Exit(2)


def _places(images: list[str]) -> list[str]:
    """The images, and those in the folders among them, in order. Raises `DataError` for a folder without any."""
    places: list[str] = []
    for given in images:
        if not Path(given).is_dir():
            places.append(given)
            continue
        from plainlearn.core.errors import DataError
        from plainlearn.data.items import get_image_files

        found = sorted(map(str, get_image_files(given)))
        if not found:
            raise DataError(f"the folder {given} holds no image; expected some", try_="another folder")
        places += found
    return places


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
