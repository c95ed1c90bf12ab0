"""`plainlearn train FOLDER`: from a folder of images to a model file and an honest report, in the time that there is."""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plainlearn.cli.options import FileColumn, LabelColumn, LabelDelimiter, Labels, print_json

if TYPE_CHECKING:
    from plainlearn.runs import Outcome

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
    labels: Labels = None,
    file_col: FileColumn = None,
    label_col: LabelColumn = None,
    label_delim: LabelDelimiter = None,
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
    _run(
        {
            "folder": str(folder), "out": None if out is None else str(out), "minutes": minutes, "epochs": epochs,
            "arch": arch, "size": size, "valid": valid, "labels": labels, "file_col": file_col, "label_col": label_col,
            "label_delim": label_delim, "balance": balance, "devices": devices, "seed": seed,
        },
        resume=resume, json=json, started_at=_STARTED_AT,
    )  # fmt: skip


def _run(given: dict[str, Any], *, resume: bool, json: bool, started_at: float) -> None:
    """Run as `given` says, and print the outcome. Leaves with 130 when it is stopped."""
    from plainlearn.runs import RunConfig
    from plainlearn.runs import train as train_run

    if given["out"] is None:
        given["out"] = _name_for(Path(given["folder"]), resume)
    if resume:
        given = _with_recorded(given)
    elif given["minutes"] is None and given["epochs"] is None:
        given["minutes"] = 10.0
    config = RunConfig(**given)
    try:
        with redirect_stdout(sys.stderr if json else sys.stdout):
            outcome = train_run(config, resume=resume, say=_say, started_at=started_at)
    except KeyboardInterrupt:
        if (config.run_folder / "run.json").exists():
            again = (
                f"plainlearn train {shlex.quote(given['folder'])} --out {shlex.quote(config.out)} --resume"
            )
            typer.echo(
                f"\nStopped; what it has learned is in {config.run_folder}. Go on with:\n  {again}", err=True
            )
        raise typer.Exit(130) from None
    if json:
        print_json(asdict(outcome))
    else:
        typer.echo(_summary(outcome))


def _with_recorded(given: dict[str, Any]) -> dict[str, Any]:
    """What was not said now is as it was said when the run began."""
    from plainlearn.runs import RunConfig
    from plainlearn.runs.record import read_record

    then = asdict(read_record(Path(given["out"]).with_suffix(".run")).config)
    usual = {each.name: each.default for each in fields(RunConfig)}
    return {name: then[name] if value == usual[name] else value for name, value in given.items()}


def _say(line: str) -> None:
    print(line, flush=True)


def _name_for(folder: Path, resume: bool) -> str:
    """FOLDER.plain here; the next free FOLDER-2.plain, …; to resume, the latest one whose run has not ended."""
    stem = (folder.resolve().stem if folder.is_file() else folder.resolve().name) or "model"
    names = [stem, *(f"{stem}-{number}" for number in range(2, 1000))]
    free = next(
        place for place, name in enumerate(names) if not Path(f"{name}.plain").exists() and not _begun(name)
    )
    if not resume:
        return f"{names[free]}.plain"
    stopped = [name for name in names[:free] if _begun(name) and not Path(f"{name}.plain").exists()]
    return f"{[names[max(free - 1, 0)], *stopped][-1]}.plain"


def _begun(name: str) -> bool:
    return Path(f"{name}.run/run.json").exists()


def _summary(outcome: Outcome) -> str:
    file = shlex.quote(outcome.model)
    between = f"95% between {outcome.low:.3f} and {outcome.high:.3f}"
    return "\n".join([
        "",
        f"{outcome.metric:<9} {outcome.value:.3f} on {outcome.validated_on} images ({between})",
        *(f"          {value:.3f}  {name}" for name, value in sorted(outcome.baselines.items(), key=lambda pair: -pair[1])),
        f"model     {outcome.model}",
        f"report    {Path(outcome.report).absolute().as_uri()}",
        f"time      {outcome.seconds:.0f} s",
        "",
        f"Next:     plainlearn predict {file} IMAGE",
        f"          plainlearn serve {file}",
    ])  # fmt: skip
