"""`plainlearn card FILE`: the model card of a model file, to be published with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def card(
    file: Annotated[Path, typer.Argument(help="A model file, as learn.export writes it.")],
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
