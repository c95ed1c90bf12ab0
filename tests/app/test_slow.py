"""Who sends or reads slowly is cut off, at each stage of a request, and others do not notice. Times are set short here."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE
from serving import Running, png, running

from plainlearn.app.limits import Limits

SHORT = Limits(head_seconds=0.5, grace=0.5, pace=1 << 20, unread_seconds=0.5, idle_seconds=1, head=4096)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("slow"), limits=SHORT) as found:
        yield found


def told(connection: socket.socket) -> bytes:
    """All that is said until the connection is closed, which has to come."""
    connection.settimeout(20)
    parts: list[bytes] = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


@pytest.mark.parametrize("said", [b"", b"GET /health HTTP/1.1\r\nHost: local", b"G"])
def test_a_head_that_does_not_come_ends_the_connection(server: Running, said: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(said)
        assert told(connection) == b""
    assert server.predict(png())[0] == 200


def test_a_head_that_comes_letter_by_letter_ends_the_connection(server: Running) -> None:
    with connect(server) as connection, pytest.raises(ConnectionError):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(2000):
            connection.sendall(b"x: y\r\n")
            time.sleep(0.01)


def test_a_second_head_on_a_connection_has_no_more_time_than_the_first(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not connection.recv(1 << 16).endswith(b"}"):
            pass
        connection.sendall(b"GET /health HT")
        assert told(connection) == b""


@pytest.mark.parametrize(
    "declared", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"]
)
def test_a_body_that_does_not_come_is_told_so_and_the_connection_ends(
    server: Running, declared: bytes
) -> None:
    with connect(server) as connection:
        connection.sendall(POST + declared + b"abc")
        answer = told(connection)
    assert (
        answer.startswith(b"HTTP/1.1 408 ") and b"connection: close" in answer and b"bytes a second" in answer
    )


def test_a_body_nobody_reads_does_not_keep_the_connection(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        answer = told(connection)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer


def test_an_idle_connection_is_closed(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert told(connection).startswith(b"HTTP/1.1 200 ")


def test_who_does_not_read_the_answers_is_cut_off(server: Running) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.settimeout(20)
        with pytest.raises(ConnectionError):
            for _ in range(2000):
                connection.sendall(request * 50)
                time.sleep(0.01)
    assert server.predict(png())[0] == 200


def test_a_head_without_end_is_cut_off_by_its_size(server: Running) -> None:
    with connect(server) as connection:
        try:
            connection.sendall(b"GET /health HTTP/1.1\r\nx: " + b"y" * 20_000)
        except OSError:
            return
        assert not told(connection).startswith(b"HTTP/1.1 200")


def test_what_is_no_http_is_refused_and_closed(server: Running) -> None:
    for said in (b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                 POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                 POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"):  # fmt: skip
        with connect(server) as connection:
            connection.sendall(said)
            assert told(connection)[:12] in (b"HTTP/1.1 400", b"")


def test_more_connections_than_may_be_are_turned_away(tmp_path: Path) -> None:
    with running(tmp_path, limits=Limits(connections=3)) as few:
        kept = [connect(few) for _ in range(3)]
        for each in kept:
            each.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert each.recv(1 << 16).startswith(b"HTTP/1.1 200")
        with connect(few) as another:
            assert told(another) == b""
        for each in kept:
            each.close()
        end = time.monotonic() + 20
        while few.server.server_state.connections:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert few.predict(png())[0] == 200
