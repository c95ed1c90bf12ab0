"""Every file in examples/ runs as it stands, offline, on what it brings itself; and no longer than a screen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))
NEEDS = {"classify_with_onnx": "onnxruntime", "remote_photos": "fsspec", "sharded_photos": "pyarrow"}


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.stem for example in EXAMPLES])
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    if example.stem in NEEDS:
        pytest.importorskip(NEEDS[example.stem])
    done = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "'3'" in done.stdout
    assert done.stderr == ""
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 40
