"""What can be asked of a model file: `plainlearn info`, `card`, `evaluate`, `drift` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from plainlearn.cli.options import FileColumn, LabelColumn, LabelDelimiter, Labels, ModelFile, print_json


def info(
    file: ModelFile,
    json: Annotated[bool, typer.Option("--json", help="Write the card as JSON.")] = False,
) -> None:
    """Show what a model file is: its labels, input, metrics, data, history and licence.

    The file is checked and read; no model is built, and nothing in it is run.
    """
    from plainlearn.inference.model_card import facts_of, text_of
    from plainlearn.inference.modelfile import read_model_file

    content = read_model_file(file)
    if json:
        print_json(facts_of(content))
    else:
        typer.echo(text_of(content))


def card(
    file: ModelFile,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="CARD.md", help="Write it there; a card that is there is replaced."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace CARD.md even if it is no card of plainlearn's.")
    ] = False,
) -> None:
    """Write the model card as Markdown: use, figures, data, limits, licence, how to load it.

    All of it comes from the file; learn.export(file, about="…") adds your words. `plainlearn info` is the short form, and
    has --json.
    """
    from plainlearn.core.wholefile import write_whole
    from plainlearn.inference.model_card import CARD_FILE, markdown_of
    from plainlearn.inference.modelfile import read_model_file

    text = markdown_of(read_model_file(file), file.name)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_whole(out, text.encode("utf-8", "backslashreplace"), mark=CARD_FILE, force=force)
    typer.echo(f"{out}", err=True)


def evaluate(
    file: ModelFile,
    folder: Annotated[
        Path, typer.Argument(help="Images in folders named after their class, or see --labels.")
    ],
    labels: Labels = None,
    file_col: FileColumn = None,
    label_col: LabelColumn = None,
    label_delim: LabelDelimiter = None,
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
        print_json(report.as_dict())
    else:
        typer.echo(str(report))
    if report.left_out:
        raise typer.Exit(1)


def drift(
    file: ModelFile,
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
    for _, answer, ood_score in judged_items(predictor, images):
        if isinstance(answer, PlainlearnError):
            left_out.append(answer.what)
        else:
            follower.update(answer, ood_score)
    report = follower.report()
    if json:
        print_json({**report.as_dict(), "left_out": left_out})
    else:
        typer.echo(repr(report))
        for reason in left_out:
            typer.echo(f"left out: {reason}", err=True)
    if report.moved:
        raise typer.Exit(1)


def export(
    file: ModelFile,
    onnx: Annotated[Path, typer.Option("--onnx", metavar="OUT", help="The ONNX file to write.")],
    check: Annotated[
        list[Path] | None,
        typer.Option(
            "--check", metavar="IMAGE", help="A real image for the proof that both agree; repeat it."
        ),
    ] = None,
    weights: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option(help="The numbers of the weights.")
    ] = "fp32",
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT even if plainlearn did not write it.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Write the proof as JSON.")] = False,
) -> None:
    """Write a model as ONNX, the preprocessing inside: an image in, probabilities out.

    Both are run on the real images that --check names. Nothing is written when a label differs, or a probability by more
    than a thousandth.
    """
    from plainlearn.inference.modelfile import read_model_file
    from plainlearn.inference.onnx_export import write_onnx

    proof = write_onnx(read_model_file(file), onnx, images=check or [], weights=weights, force=force)
    if json:
        from dataclasses import asdict

        print_json({"file": str(onnx), **asdict(proof)}, indent=None)
    else:
        typer.echo(f"{onnx}: {proof}")
