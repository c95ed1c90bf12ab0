"""One model file takes the place of another while it is used: nobody is dropped, and what is unsound never gets in."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE
from serving import Quick, png, quick_model, running

from plainlearn.app.limits import Limits
from plainlearn.app.monitoring import ServerMetrics
from plainlearn.app.service import Service
from plainlearn.core.errors import DataError


def wait_until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)  # noqa: PTH105


def test_a_file_that_was_replaced_is_noticed_and_served(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.predict(png())[1]["model"] == "first"
        replace(tmp_path / "it.plain", "second")
        wait_until(lambda: server.predict(png())[1]["model"] == "second")
        assert server.call("GET", "/health")[1]["problem"] is None


def test_a_bad_file_leaves_the_old_one_in_service_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path) as server:
        replace(tmp_path / "it.plain", "damaged")
        wait_until(lambda: server.call("GET", "/health")[1]["status"] == "stale")
        health = server.call("GET", "/health")[1]
        assert health["model"] == "first" and "is damaged: it says so" in health["problem"]
        assert server.predict(png())[0] == 200
        assert "it.plain stays in service (first)" in caplog.text
        (tmp_path / "it.plain").unlink()
        status, found, _ = server.call("POST", "/reload")
        assert status == 409 and "stays in service" in found["error"]
        assert server.predict(png())[0] == 200
        replace(tmp_path / "it.plain", "third")
        wait_until(lambda: server.call("GET", "/health")[1]["status"] == "ok")
        assert server.predict(png())[1]["model"] == "third"


def test_without_the_token_health_does_not_describe_the_problem(tmp_path: Path) -> None:
    with running(tmp_path, token="open-1234567") as server:
        replace(tmp_path / "it.plain", "damaged")
        wait_until(lambda: server.call("GET", "/health")[1]["status"] == "stale")
        assert server.call("GET", "/health")[1]["problem"] == "The server's log says what it is."
        known = server.call("GET", "/health", headers={"Authorization": "Bearer open-1234567"})[1]
        assert "is damaged" in known["problem"]


def test_reload_looks_at_the_file_at_once(tmp_path: Path) -> None:
    with running(tmp_path, watch_seconds=3600) as server:
        replace(tmp_path / "it.plain", "second")
        assert server.predict(png())[1]["model"] == "first"
        status, found, _ = server.call("POST", "/reload")
        assert (status, found["model"], found["status"]) == (200, "second", "ok")
        assert server.predict(png())[1]["model"] == "second"


def test_what_is_in_flight_when_the_file_changes_is_answered_by_the_model_that_it_asked(
    tmp_path: Path,
) -> None:
    held = Quick()
    with running(tmp_path, held, watch_seconds=3600) as server:
        held.opened.clear()
        answers: list[Any] = []
        threads = [threading.Thread(target=lambda: answers.append(server.predict(png()))) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: server.service.inside == 4)
        replace(tmp_path / "it.plain", "second")
        assert server.call("POST", "/reload")[0] == 200
        assert server.service.inside == 0  # the new one's
        held.opened.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert [(status, found["model"]) for status, found in answers] == [(200, "first")] * 4
        assert server.predict(png())[1]["model"] == "second"


def test_no_request_fails_while_files_are_swapped_under_load(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        ended, seen, bad = threading.Event(), set[str](), list[Any]()

        def ask() -> None:
            while not ended.is_set():
                status, found = server.predict(png())
                if status == 200:
                    seen.add(found["model"])
                else:
                    bad.append(found)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for name in ("second", "third", "damaged", "fourth"):
            replace(tmp_path / "it.plain", name)
            server.call("POST", "/reload")
        wait_until(lambda: "fourth" in seen)
        ended.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert not bad and seen >= {"first", "fourth"} and "damaged" not in seen


def test_a_first_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "it.plain").write_text("damaged")
    with pytest.raises(DataError, match="is damaged"):
        Service(tmp_path / "it.plain", Limits(), ServerMetrics(), load=quick_model)
