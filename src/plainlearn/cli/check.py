"""`plainlearn check FOLDER`: what is wrong with a folder of images, before a model learns it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check(
    folder: Annotated[Path, typer.Argument(help="Images in folders named after their class.")],
    json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
    strict: Annotated[bool, typer.Option(help="Leave with exit code 1 when there are errors.")] = False,
) -> None:
    """Look for unreadable files, copies, leaks into validation, doubtful labels and names.

    Nothing is changed. The second time is quick: what is known of a file is kept while the file stays as it is.
    """
    from plainlearn.vision.audit import audit_folder

    report = audit_folder(folder)
    if json:
        import json as json_format

        typer.echo(json_format.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        typer.echo(str(report))
    if strict and any(found.severity == "error" for found in report.findings):
        raise typer.Exit(1)
