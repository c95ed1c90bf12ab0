"""`plainlearn serve` as a process of its own, with a real model file: called, signalled, and started wrongly."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from patience import PATIENCE
from serving import form
from shipped import draw_pictures, small_learner

from plainlearn.cli import main
from plainlearn.inference.predictor import Predictor

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as Unix has them")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder, count=6)
    learn = small_learner(folder)
    learn.export("it.plain")
    learn.export("other.plain", about="The same, exported again.")
    return folder


class Served:
    """A server's process and what it said when it began."""

    def __init__(self, process: subprocess.Popen[str], said: dict[str, Any], errors: IO[str]) -> None:
        self.process, self.said, self.errors = process, said, errors

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.said["port"], timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def predict(self, *images: Path, query: str = "") -> tuple[int, Any]:
        body, kind = form(*((image.name, image.read_bytes()) for image in images))
        return self.ask("POST", f"/predict{query}", body, **{"Content-Type": kind})

    def wait_until(self, holds: Callable[[], Any]) -> None:
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end and self.process.poll() is None
            time.sleep(0.02)


@contextmanager
def served(*arguments: object, **environment: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "plainlearn", "serve", *map(str, arguments), "--port", "0", "--json"]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | environment
        )
        assert process.stdout
        try:
            line = process.stdout.readline()
            if not line:
                errors.seek(0)
                pytest.fail(errors.read())
            yield Served(process, json.loads(line), errors)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with served(folder / "it.plain") as found:
        yield found


def test_the_server_says_what_python_says(server: Served, folder: Path) -> None:
    predictor = Predictor.load(folder / "it.plain")
    images = sorted(folder.glob("*/*.png"))
    status, found = server.predict(*images, query="?top=2")
    assert status == 200 and len(found["predictions"]) == 12
    for image, answer in zip(images, found["predictions"], strict=True):
        expected = predictor.predict(image)
        assert (answer["file"], answer["label"], answer["index"]) == (
            image.name,
            expected.label,
            int(expected.index),
        )
        values = {each["label"]: each["probability"] for each in answer["probabilities"]}
        for label, value in zip(predictor.vocab or (), expected.probabilities.tolist(), strict=True):
            assert values[label] == pytest.approx(value, abs=1e-4)


def test_info_is_the_card(server: Served, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["info", str(folder / "it.plain"), "--json"])
    status, found = server.ask("GET", "/info")
    assert status == 200 and found["card"] == json.loads(capsys.readouterr().out)
    assert found["labels"] == ["dark", "light"] and found["name"] == "it.plain"


def test_sigterm_answers_what_is_in_flight_and_leaves_with_0(folder: Path) -> None:
    with served(folder / "it.plain") as found:
        image = (folder / "dark" / "0.png").read_bytes()
        connection = http.client.HTTPConnection("127.0.0.1", found.said["port"], timeout=PATIENCE)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", "image/png")
        connection.putheader("Content-Length", str(len(image)))
        connection.endheaders(image[:50])
        found.wait_until(lambda: found.ask("GET", "/health")[0] == 200)
        found.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 60
        while True:  # nobody new is let in
            try:
                socket.create_connection(("127.0.0.1", found.said["port"]), timeout=5).close()
            except OSError:
                break
            assert time.monotonic() < end
            time.sleep(0.02)
        connection.send(image[50:])
        response = connection.getresponse()
        assert response.status == 200 and json.load(response)["predictions"][0]["label"] in ("dark", "light")
        assert found.process.wait(PATIENCE) == 0


def test_ctrl_c_ends_it_with_130_and_no_traceback(folder: Path) -> None:
    with served(folder / "it.plain") as found:
        assert found.ask("GET", "/health")[0] == 200
        found.process.send_signal(signal.SIGINT)
        assert found.process.wait(PATIENCE) == 130
        assert found.errors.seek(0) == 0 and "Traceback" not in found.errors.read()


def test_sighup_takes_the_file_that_is_there_now(folder: Path, tmp_path: Path) -> None:
    file = shutil.copy(folder / "it.plain", tmp_path / "it.plain")
    with served(file) as found:
        before = found.said["model"]
        shutil.copy(folder / "other.plain", tmp_path / "new")
        os.replace(tmp_path / "new", file)  # noqa: PTH105
        found.process.send_signal(signal.SIGHUP)
        found.wait_until(lambda: found.ask("GET", "/health")[1]["model"] != before)
        file.write_bytes(file.read_bytes()[:-100])
        found.process.send_signal(signal.SIGHUP)
        found.wait_until(lambda: found.ask("GET", "/health")[1]["status"] == "stale")
        assert "it should hold" in found.ask("GET", "/health")[1]["problem"]
        assert found.predict(folder / "dark" / "0.png")[0] == 200


def test_who_listens_wider_asks_for_a_token(folder: Path) -> None:
    with served(folder / "it.plain", "--host", "0.0.0.0") as found:
        token = found.said["token"]
        assert len(token) > 20
        assert found.ask("GET", "/info")[0] == 401
        assert found.ask("GET", "/info", Authorization=f"Bearer {token}")[0] == 200
        assert found.ask("GET", "/info", Host="evil.example", Authorization=f"Bearer {token}")[0] == 421
    with served(folder / "it.plain", PLAINLEARN_TOKEN="one-of-ours") as found:
        assert found.said["token"] == "one-of-ours" and found.ask("GET", "/info")[0] == 401


# ---------------------------------------------------------------- started wrongly


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as leaving:
        main(["serve", *map(str, arguments)])
    assert leaving.value.code == 2
    return capsys.readouterr().err


def test_a_port_in_use_is_named_with_what_to_type(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(capsys, folder / "it.plain", "--port", port)
    assert f"port {port} of 127.0.0.1 is in use by another program" in said
    assert "--port 0 for any that is free" in said


def test_an_address_of_another_machine_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", 8000))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [there])
    assert "cannot listen on 192.0.2.1" in refused(capsys, folder / "it.plain", "--host", "192.0.2.1")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x80\x04pickle", "is a pickle"),
        (b"PK\x03\x04", "is a pickle"),
        (None, "there is no file"),
    ],
)
def test_a_file_that_is_no_model_is_refused_by_name(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "it.plain"
    if content is not None:
        file.write_bytes(content)
    told = refused(capsys, file, "--port", 0)
    assert said in told and str(file) in told


@pytest.mark.parametrize("token", ["short", "with a blank", "ümläut-ünd-só"])
def test_a_token_that_no_header_holds_is_refused(
    token: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the token is too short or has signs" in refused(capsys, folder / "it.plain", "--token", token)
