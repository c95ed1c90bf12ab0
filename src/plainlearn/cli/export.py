"""`plainlearn export FILE --onnx OUT`: a model file in a form that other programs run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    file: Annotated[Path, typer.Argument(help="A model file, as learn.export writes it.")],
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
        import json as json_format
        from dataclasses import asdict

        typer.echo(json_format.dumps({"file": str(onnx), **asdict(proof)}))
    else:
        typer.echo(f"{onnx}: {proof}")
