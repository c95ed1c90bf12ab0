"""The scripts beside this file, at a smaller number: every figure that they are asked for is reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("killed_runs.py", ["--kills", "4"]),
        ("killed_saves.py", ["--kills", "9", "--flips", "30", "--cuts", "10", "--seconds", "1"]),
    ],
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_nothing_is_lost(script: str, options: list[str]) -> None:
    answer = subprocess.run(
        [sys.executable, str(HERE / script), *options],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert answer.returncode == 0, answer.stderr
    record = json.loads(answer.stdout.splitlines()[-1])
    asked = [row for row in record["rows"] if row["asked"]]
    assert asked
    assert [row["what"] for row in asked if row["verdict"] != "reached"] == []
