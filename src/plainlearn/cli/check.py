"""`plainlearn check FOLDER`: what is wrong with a folder of images, before a model learns it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plainlearn.cli.options import print_json


def check(
    folder: Annotated[Path, typer.Argument(help="Images in folders named after their class.")],
    json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the pictures to look at.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace FILE even if plainlearn did not write it.")
    ] = False,
    strict: Annotated[bool, typer.Option(help="Leave with exit code 1 for warnings too.")] = False,
) -> None:
    """Look for unreadable files, copies, leaks into validation, doubtful labels and names.

    Nothing is changed. The second time is quick: what is known of a file is kept while the file stays as it is.
    The exit code is 1 when errors were found: unreadable files, copies in validation or under two labels.
    """
    from plainlearn.audit.checks import audit_folder
    from plainlearn.core.wholefile import check_replaceable
    from plainlearn.images.html import PAGE

    if html is not None:
        check_replaceable(html, PAGE, force=force)
    report = audit_folder(folder)
    if json:
        print_json(report.as_dict())
    else:
        typer.echo(str(report))
    if html is not None:
        page = report.write_page(html, force=force)
        typer.echo(f"The pictures are in {page.absolute().as_uri()}", err=True)
    worst = {found.severity for found in report.findings}
    if "error" in worst or (strict and "warning" in worst):
        raise typer.Exit(1)
