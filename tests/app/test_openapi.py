"""The OpenAPI that the server tells is true: schemathesis holds it against what a real server does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE
from serving import running

from plainlearn.app.api import PATHS

pytest.importorskip("schemathesis")
HERE = Path(__file__).parents[1] / "helpers"

# What is too much is refused with 413, which schemathesis does not count as a refusal of what the schema forbids.
SETTINGS = """
hooks = "made_up"
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 413, 415, 422]
"""


def test_what_the_openapi_says_is_what_the_server_does(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    with running(tmp_path, watch_seconds=3600) as server:
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", tmp_path / "schemathesis.toml",
             "run", f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "all", "--max-examples", "25",
             "--phases", "examples,coverage,fuzzing", "--seed", "1", "--generation-database", "none", "--no-color"],
            capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(HERE), "COLUMNS": "200"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "6 selected / 6 total" in done.stdout and "No issues found" in done.stdout
        _, told, _ = server.call("GET", "/openapi.json")
        assert {"/openapi.json", *told["paths"]} == set(PATHS)


def test_a_wrong_openapi_would_be_noticed(tmp_path: Path) -> None:
    """The same program on the same server, which is told that health is a number."""
    import json

    with running(tmp_path, watch_seconds=3600) as server:
        _, told, _ = server.call("GET", "/openapi.json")
        told["components"]["schemas"]["Health"]["properties"]["status"] = {"type": "integer"}
        (tmp_path / "openapi.json").write_text(json.dumps(told))
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", tmp_path / "openapi.json", "--url",
             f"http://127.0.0.1:{server.port}", "--include-path", "/health", "--phases", "fuzzing", "--max-examples", "5"],
            capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 1 and "is not of type" in done.stdout
