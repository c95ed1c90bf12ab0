"""What `plainlearn train` does with its options: the run, what is printed at its end, and Ctrl-C."""

from __future__ import annotations

import json as json_format
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, fields
from typing import Any

import typer

from plainlearn.core.paths import Path
from plainlearn.runs import Outcome, RunConfig, train
from plainlearn.runs.record import read_record


def run(given: dict[str, Any], *, resume: bool, json: bool, started_at: float) -> None:
    """Run as `given` says, and print the outcome. Leaves with 130 when it is stopped."""
    if given["out"] is None:
        given["out"] = _name_for(Path(given["folder"]), resume)
    if resume:
        given = _as_it_was(given)
    elif given["minutes"] is None and given["epochs"] is None:
        given["minutes"] = 10.0
    config = RunConfig(**given)
    try:
        with redirect_stdout(sys.stderr if json else sys.stdout):
            outcome = train(config, resume=resume, say=_say, started_at=started_at)
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
        typer.echo(json_format.dumps(asdict(outcome), indent=2))
    else:
        typer.echo(_summary(outcome))


def _as_it_was(given: dict[str, Any]) -> dict[str, Any]:
    """What was not said now is as it was said when the run began."""
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
