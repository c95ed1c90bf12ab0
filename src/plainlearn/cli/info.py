"""`plainlearn info FILE`: the card of a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def info(
    file: Annotated[Path, typer.Argument(help="A model file, as learn.export writes it.")],
    json: Annotated[bool, typer.Option("--json", help="Write the card as JSON.")] = False,
) -> None:
    """Show what a model file is: its labels, input, metrics, data, history and licence.

    The file is checked and read; no model is built, and nothing in it is run.
    """
    from plainlearn.inference.card import facts_of, text_of
    from plainlearn.inference.modelfile import read_model_file

    content = read_model_file(file)
    if json:
        import json as json_format

        typer.echo(json_format.dumps(facts_of(content), indent=2))
    else:
        typer.echo(text_of(content))
