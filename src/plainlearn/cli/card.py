"""`plainlearn card FILE`: the model card of a model file, to be published with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def card(
    file: Annotated[Path, typer.Argument(help="A model file, as learn.export writes it.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="CARD.md", help="Write it there; what was there is replaced."),
    ] = None,
) -> None:
    """Write the model card as Markdown: use, figures, data, limits, licence, how to load it.

    All of it comes from the file; learn.export(file, about="…") adds your words. `plainlearn info` is the short form, and
    has --json.
    """
    from plainlearn.inference.model_card import markdown_of
    from plainlearn.inference.modelfile import read_model_file

    text = markdown_of(read_model_file(file), file.name)
    if out is None:
        typer.echo(text, nl=False)
        return
    from plainlearn.core.wholefile import whole_file

    content = text.encode("utf-8", "backslashreplace")
    with whole_file(out, len(content)) as written:
        written.write(content)
    typer.echo(f"{out}", err=True)
