"""`plainlearn serve FILE`: predictions over HTTP, and a page to drop an image on."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from plainlearn.cli.options import ModelFile


def serve(
    file: ModelFile,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 for all that reach this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="0 picks a free one and says which.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="PLAINLEARN_TOKEN",
            metavar="TEXT",
            help="What callers must know; made up if others can reach it.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A name it goes by, as behind a proxy; repeat it."),
    ] = None,
    max_mb: Annotated[int, typer.Option(min=1, max=1024, metavar="MB", help="The largest request.")] = 32,
    log: Annotated[bool, typer.Option("--log", help="Write a line for each request.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Say where it is as one line of JSON.")] = False,
) -> None:
    """Answer for a model file over HTTP, with a page to drop an image on.

    Only this machine can call it unless --host says otherwise; then callers need the token. Replace the file and
    the new model is in service, without a request lost. GET /openapi.json says what can be asked.
    """
    # Threads of torch and numpy would spin while they wait for each other, and take the time of those that decode.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from plainlearn.core.errors import ArgumentError, MissingExtraError

    if token is not None and (
        len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token
    ):
        raise ArgumentError("the token is too short or has signs that no header holds; expected 8 letters or more",
                            try_="no --token with --host: one is made up")  # fmt: skip
    try:
        from plainlearn.app.limits import Limits
        from plainlearn.app.server import Settings
        from plainlearn.app.server import serve as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("plainlearn"):
            raise
        raise MissingExtraError(error.name, needed_for="plainlearn serve", extra="serve") from error
    import logging

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("plainlearn.app").setLevel(logging.INFO)
    settings = Settings(
        host=host, port=port, token=token, names=allow_host or (), log_requests=log,
        limits=Limits(body=max_mb << 20, uploads=max(Limits.uploads, max_mb << 21)),
    )  # fmt: skip
    if run(file, settings, as_json=json):
        raise typer.Exit(130)
