"""`plainlearn train FOLDER`: from a folder of images to a model file and an honest report, in the time that there is."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

_STARTED_AT = time.perf_counter()


def train(
    folder: Annotated[
        Path, typer.Argument(help="Images in folders named after their class, or a table of them.")
    ],
    minutes: Annotated[
        float | None,
        typer.Option(help="How long it may take in all; 10 if neither this nor --epochs is given."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="So many epochs instead, however long they take.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The model file; FOLDER.plain if not given.")
    ] = None,
    arch: Annotated[str | None, typer.Option(metavar="NAME", help="A network by timm's name.")] = None,
    size: Annotated[int | None, typer.Option(metavar="PX", help="Pixels a side of the pictures.")] = None,
    valid: Annotated[
        float, typer.Option(help="The share of images to validate on, where the folder does not say which.")
    ] = 0.2,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="CSV|PATTERN",
            help="A table of files and labels, or a pattern of the names: '^(.+)_\\d+'.",
        ),
    ] = None,
    file_col: Annotated[str | None, typer.Option(metavar="NAME", help="The table's column of files.")] = None,
    label_col: Annotated[
        str | None, typer.Option(metavar="NAME", help="The table's column of labels.")
    ] = None,
    label_delim: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What parts several labels of one image.")
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Make rare classes count as much as common ones.")
    ] = False,
    devices: Annotated[int, typer.Option(help="How many GPUs, or processes, train together.")] = 1,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed and epochs give the same model on the same machine.")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Write the outcome as JSON; all else goes to the error output.")
    ] = False,
) -> None:
    """Learn to tell the classes of a folder of images apart.

    It looks at the images, says what it found, plans by a short trial on this machine, keeps to the time, and ends with
    a model file, a report as a page, and the next command to type. Ctrl-C stops it; --resume goes on.
    Nothing in FOLDER is changed.

    \b
      plainlearn train photos --minutes 10
      plainlearn train photos --labels labels.csv --epochs 5 --out pets.plain
      plainlearn train pets --labels '^(.+)_\\d+' --minutes 5
    """
    # torch's threads wait for each other by spinning: see `plainlearn demo`.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from plainlearn.cli.training import run

    run(
        {
            "folder": str(folder), "out": None if out is None else str(out), "minutes": minutes, "epochs": epochs,
            "arch": arch, "size": size, "valid": valid, "labels": labels, "file_col": file_col, "label_col": label_col,
            "label_delim": label_delim, "balance": balance, "devices": devices, "seed": seed,
        },
        resume=resume, json=json, started_at=_STARTED_AT,
    )  # fmt: skip
