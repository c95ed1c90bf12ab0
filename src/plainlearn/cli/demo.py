"""`plainlearn demo`: real digits, learned rung by rung."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Where the pictures go; made if it is not there.")
    ] = Path("plainlearn-demo"),
    json: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE", help="Write the figures to this file too.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="The same seed gives the same figures.")] = 0,
) -> None:
    """Watch handwritten digits being learned, rung by rung.

    Real 3s and 7s, offline, in under four minutes on two cores: from comparing pixels
    with an average digit to a ResNet. It ends in a table of what each rung costs and
    reaches, and names the folder that holds the pictures.
    """
    # torch's threads wait for each other by spinning, which on a machine that others use too makes a ResNet's
    # step ten times as slow. It must be said before torch is loaded, and only an application may say it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from plainlearn.demo import run

    run(out=str(out), json=None if json is None else str(json), seed=seed)
