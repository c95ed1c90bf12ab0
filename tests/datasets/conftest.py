"""What the tests of data share: a web server, on this machine only, that does to each request what the test says."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Reply = Callable[[BaseHTTPRequestHandler], None]


def _hang_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        # That the other side has gone is what many of these tests are about.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Web:
    """Paths and what they reply: `web.on("/pets.tgz", first, then, for_ever)`. `requests` holds what was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        self._replies: dict[str, list[Reply]] = {}
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.requests.append((self.path, dict(self.headers)))
                replies = web._replies.get(self.path, [Web.status(404)])
                (replies.pop(0) if len(replies) > 1 else replies[0])(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, path: str, *replies: Reply) -> str:
        self._replies[path] = list(replies)
        return self.address + path

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]

    def running(self) -> Iterator[Web]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    @staticmethod
    def body(
        data: bytes, *, tag: str = '"v1"', ranges: bool = True, cut: int | None = None, **more: str
    ) -> Reply:
        """The file, or its rest if that is asked for and fits `tag`; `cut` ends the connection after so many bytes."""

        def reply(request: BaseHTTPRequestHandler) -> None:
            start = 0
            asked = request.headers.get("Range", "")
            if ranges and asked and request.headers.get("If-Range") == tag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start and start >= len(data):
                Web.status(416)(request)
                return
            request.send_response(206 if start else 200)
            if tag:
                request.send_header("ETag", tag)
            if start:
                request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            request.send_header("Content-Length", str(len(data) - start))
            for name, value in more.items():
                request.send_header(name.replace("_", "-"), value)
            request.end_headers()
            request.wfile.write(data[start : len(data) if cut is None else start + cut])
            request.wfile.flush()
            if cut is not None:
                _hang_up(request)

        return reply

    @staticmethod
    def raw(head: str, data: bytes = b"") -> Reply:
        """An answer letter by letter, after which the connection ends."""

        def reply(request: BaseHTTPRequestHandler) -> None:
            request.wfile.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + data)
            request.wfile.flush()
            _hang_up(request)

        return reply

    @staticmethod
    def hang_up(request: BaseHTTPRequestHandler) -> None:
        _hang_up(request)

    @staticmethod
    def status(code: int, **headers: str) -> Reply:
        def reply(request: BaseHTTPRequestHandler) -> None:
            request.send_response(code)
            for name, value in headers.items():
                request.send_header(name.replace("_", "-"), value)
            request.send_header("Content-Length", "0")
            request.end_headers()

        return reply

    def silent(self, *, head: bytes = b"") -> Reply:
        """Accept, perhaps begin an answer, and then say nothing until the test is over."""

        def reply(request: BaseHTTPRequestHandler) -> None:
            request.wfile.write(head)
            request.wfile.flush()
            self.over.wait(30)
            _hang_up(request)

        return reply

    @staticmethod
    def after(event: threading.Event, then: Reply) -> Reply:
        def reply(request: BaseHTTPRequestHandler) -> None:
            assert event.wait(30)
            then(request)

        return reply


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A `Web` that runs until the test is over, and is asked directly, whatever proxy this machine has."""
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    yield from Web().running()
