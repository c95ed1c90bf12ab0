"""What the server answers, to whom, and what it refuses: asked of a real server on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE
from serving import Quick, Running, form, png, running

from plainlearn.app.limits import Limits


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("served")) as found:
        yield found


def wait_until(holds: Any) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


# ---------------------------------------------------------------- predictions


def test_a_form_of_files_is_answered_in_its_order(server: Running) -> None:
    status, found = server.predict(png(10), png(240), png(20))
    assert status == 200 and found["model"] == "first"
    assert [(each["file"], each["label"], each["index"]) for each in found["predictions"]] == [
        ("0.png", "dark", 0), ("1.png", "light", 1), ("2.png", "dark", 0)
    ]  # fmt: skip
    first = found["predictions"][0]
    assert [each["label"] for each in first["probabilities"]] == ["dark", "<b>grey</b>\n", "light"]
    assert first["probability"] == first["probabilities"][0]["probability"] == pytest.approx(0.868627)
    assert first["unlike"] == {"score": 0.0392, "limit": 0.75, "strange": False}


def test_an_image_as_it_is_is_answered_too(server: Running) -> None:
    for kind in ("image/png", "application/octet-stream", "IMAGE/PNG; anything=1"):
        status, found, _ = server.call("POST", "/predict", png(10), {"Content-Type": kind})
        assert (status, found["predictions"][0]["label"], found["predictions"][0]["file"]) == (
            200,
            "dark",
            None,
        )


def test_a_body_in_pieces_of_unknown_length_is_answered(server: Running) -> None:
    pieces = iter([png(10)[:20], png(10)[20:]])
    status, found, _ = server.call("POST", "/predict", pieces, {"Content-Type": "image/png"})
    assert (status, found["predictions"][0]["label"]) == (200, "dark")


def test_top_tells_so_many_labels_and_unknown_is_said_when_it_is_asked_for(server: Running) -> None:
    status, found = server.predict(png(240), query="?top=1&unknown=true")
    (answer,) = found["predictions"]
    assert status == 200 and answer["label"] == "unknown" and answer["index"] == -1
    assert answer["unlike"]["strange"] and [each["label"] for each in answer["probabilities"]] == ["light"]
    assert server.predict(png(240))[1]["predictions"][0]["label"] == "light"


@pytest.mark.parametrize("query", ["top=0", "top=1001", "top=x", "unknown=perhaps", "top="])
def test_an_option_that_cannot_be_is_named(server: Running, query: str) -> None:
    status, found = server.predict(png(), query=f"?{query}")
    assert status == 422 and f"The option {query.partition('=')[0]} is " in found["error"]


def test_names_of_files_are_echoed_and_nothing_else(server: Running, tmp_path: Path) -> None:
    for name in ("../../etc/passwd", "<script>alert(1)</script>", "a\\b", "🐈.png", "x" * 1000):
        body, kind = form((name, png(10)))
        status, found, _ = server.call("POST", "/predict", body, {"Content-Type": kind})
        assert status == 200 and found["predictions"][0]["file"] == name[:255]


def test_an_address_or_a_path_that_is_sent_as_an_image_is_not_followed(server: Running) -> None:
    for data in (b"http://127.0.0.1/cat.jpg", str(Path(__file__).parent).encode(), b"file:///etc/passwd"):
        status, found = server.predict(data)
        assert status == 422 and "cannot be used" in found["error"]


def test_one_bad_image_is_told_and_the_others_are_answered(server: Running) -> None:
    status, found = server.predict(png(10), b"no image", png(240), b"", png(10)[:40])
    assert status == 422 and found["error"].endswith("(3 of 5 images cannot be read)")
    rows = found["predictions"]
    assert [row.get("label") for row in rows] == ["dark", None, "light", None, None]
    assert "it looks like text" in rows[1]["error"] and rows[1]["file"] == "1.png"
    assert "0 bytes" in rows[3]["error"] and "breaks off" in rows[4]["error"]


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(server: Running) -> None:
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", (60_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0]))
    bomb = header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    status, found = server.predict(bomb)
    assert status == 422 and "60,000×60,000 pixels" in found["error"]


def chunk(name: bytes, data: bytes) -> bytes:
    import zlib

    return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)


def test_what_fails_in_the_network_is_500_and_told_to_the_log_alone(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    status, found = server.predict(png(255))
    assert (status, found) == (500, {"error": "The server failed to answer; its log says why."})
    wait_until(lambda: "pure white" in caplog.text)
    assert server.predict(png(10))[0] == 200


# ---------------------------------------------------------------- requests that are not well-formed


@pytest.mark.parametrize(
    ("kind", "body", "status", "said"),
    [
        ("multipart/form-data", b"x", 400, "names no boundary"),
        ("multipart/form-data; boundary=b", b"--b\r\nbroken", 400, "not well-formed|ends before"),
        ("multipart/form-data; boundary=b", b"", 400, "ends before its last part"),
        ("multipart/form-data; boundary=" + "b" * 500, b"x", 400, "not well-formed"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 422, "no image|ends before"),
        ("application/json", b"{}", 415, "Content-Type is 'application/json'"),
        ("", b"x", 415, "expected multipart/form-data"),
        ("text/plain", b"x", 415, "expected multipart/form-data"),
        ("image/png", b"", 422, "has no body"),
    ],
)
def test_what_is_no_form_and_no_image_is_refused(
    server: Running, kind: str, body: bytes, status: int, said: str
) -> None:
    import re

    found, content, _ = server.call("POST", "/predict", body, {"Content-Type": kind} if kind else {})
    assert found in (status, 400) and re.search(said, content["error"]), content


def test_a_part_of_another_name_is_refused_with_the_name_that_is_expected(server: Running) -> None:
    body, kind = form(("a.png", png()), name="image")
    status, found, _ = server.call("POST", "/predict", body, {"Content-Type": kind})
    assert status == 422 and "named 'image'; expected only 'file'" in found["error"]


def test_a_form_without_its_end_is_refused_whole_though_images_of_it_have_come(server: Running) -> None:
    body, kind = form(("a.png", png()), ("b.png", png()))
    cut = body[: body.rindex(b"--mark")]
    status, found, _ = server.call("POST", "/predict", cut, {"Content-Type": kind})
    assert status == 400 and "ends before its last part" in found["error"]


def test_no_upload_is_written_to_the_disk(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", written.append)
    for name in ("a.png", None):
        body, kind = form((name, png() + bytes(3 << 20)))
        status, found, _ = server.call("POST", "/predict", body, {"Content-Type": kind})
        assert (status, found["predictions"][0]["file"]) == (200, name)
    assert not written


def test_a_form_with_more_or_longer_heads_than_it_may_have_is_refused(server: Running) -> None:
    disposition = 'Content-Disposition: form-data; name="file"; filename="a.png"\r\n'
    for head in (disposition + "X: y\r\n" * 20, disposition + "X: " + "y" * 9000 + "\r\n"):
        body = f"--b\r\n{head}\r\n".encode() + png() + b"\r\n--b--\r\n"
        status, found, _ = server.call(
            "POST", "/predict", body, {"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert status == 400 and "not well-formed" in found["error"]


def test_what_is_not_there_and_what_cannot_be_done_are_said(server: Running) -> None:
    for path in ("/nothing", "/../etc/passwd", "/docs", "/%00"):
        assert server.call("GET", path)[0] == 404
    status, found, response = server.call("GET", "/predict")
    assert status == 405 and response.headers["Allow"] == "POST" and "Allow" in found["error"]


# ---------------------------------------------------------------- limits


def test_too_large_a_body_is_refused_by_its_declared_length_before_it_is_sent(tmp_path: Path) -> None:
    import http.client

    with running(tmp_path, limits=Limits(body=10_000)) as small:
        connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=PATIENCE)
        connection.putrequest("POST", "/predict")
        for name, value in {"Content-Type": "image/png", "Content-Length": "10001"}.items():
            connection.putheader(name, value)
        connection.endheaders()  # and not a byte more
        response = connection.getresponse()
        assert response.status == 413 and response.headers["Connection"] == "close"
        assert "larger than 10,000 bytes" in json.load(response)["error"]
        connection.close()


def test_too_large_a_body_in_pieces_is_refused_as_soon_as_it_is_too_large(tmp_path: Path) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(40):
            sent += 1000
            yield b"x" * 1000

    with running(tmp_path, limits=Limits(body=10_000)) as small:
        for kind in ("image/png", "multipart/form-data; boundary=b"):
            status, found, _ = small.call("POST", "/predict", pieces(), {"Content-Type": kind})
            assert status in (413, 400) and found["error"]
        assert small.predict(png())[0] == 200


def test_more_images_than_may_be_are_refused(tmp_path: Path) -> None:
    with running(tmp_path, limits=Limits(images=2)) as small:
        assert small.predict(png(), png())[0] == 200
        status, found = small.predict(png(), png(), png())
        assert status == 413 and "more than 2 images" in found["error"]


def test_a_head_that_is_too_long_is_refused(server: Running) -> None:
    assert server.call("GET", "/health?" + "x" * 40_000)[0] == 431


def test_a_full_queue_is_429_and_says_when_to_come_again(tmp_path: Path) -> None:
    quick = Quick()
    with running(tmp_path, quick, limits=Limits(inside=2)) as small:
        quick.opened.clear()
        inside = threading.Thread(target=small.predict, args=(png(), png()))
        inside.start()
        wait_until(lambda: small.service.inside == 2)
        body, kind = form(("a.png", png()))
        status, found, response = small.call("POST", "/predict", body, {"Content-Type": kind})
        assert status == 429 and response.headers["Retry-After"] == "1" and "full" in found["error"]
        assert small.call("GET", "/health")[1]["inside"] == 2
        quick.opened.set()
        inside.join(PATIENCE)
        assert small.predict(png())[0] == 200


def test_uploads_that_are_held_together_have_a_limit(tmp_path: Path) -> None:
    with running(tmp_path, limits=Limits(uploads=len(png()) + 10)) as small:
        assert small.predict(png())[0] == 429
        for _ in range(3):  # what was held is given back
            assert small.call("POST", "/predict", png(), {"Content-Type": "image/png"})[0] == 200


def test_those_who_wait_at_the_same_time_are_answered_by_few_runs(tmp_path: Path) -> None:
    quick = Quick()
    with running(tmp_path, quick) as found:
        quick.opened.clear()
        answers: list[Any] = []
        threads = [
            threading.Thread(target=lambda level=level: answers.append((level, found.predict(png(level)))))
            for level in range(1, 13)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: found.service.inside == 12)
        quick.opened.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(answers) == 12 and len(quick.runs) <= 3
        for level, (status, content) in answers:
            assert status == 200 and content["predictions"][0]["unlike"]["score"] == round(level / 255, 4)


def test_who_hangs_up_gives_the_place_in_the_queue_free(tmp_path: Path) -> None:
    import socket

    quick = Quick()
    with running(tmp_path, quick) as found:
        quick.opened.clear()
        first = threading.Thread(target=found.predict, args=(png(),))
        first.start()
        wait_until(lambda: found.service.inside == 1)
        body, kind = form(("a.png", png()))
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", found.port)) as connection:
            connection.sendall(head.encode() + body)
            wait_until(lambda: found.service.inside == 2)
        wait_until(lambda: found.service.inside == 1)
        quick.opened.set()
        first.join(PATIENCE)


# ---------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "127.0.0.1.nip", "10.0.0.1"]
)
def test_a_foreign_host_is_refused(server: Running, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/health"), ("POST", "/predict")):
        assert server.call(method, path, headers={"Host": host})[0] in (421, 400)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8000"])
def test_our_own_names_are_let_in(server: Running, host: str) -> None:
    assert server.call("GET", "/health", headers={"Host": host})[0] == 200


def test_a_page_of_another_site_may_not_post(server: Running) -> None:
    here = f"127.0.0.1:{server.port}"
    for origin in (
        "http://evil.example",
        "null",
        f"http://{here}.evil.example",
        "http://localhost:1",
        "file://",
        "http://[x",
    ):
        status, found = server.predict(png(), Origin=origin)
        assert status == 403 and "another site" in found["error"]
    assert server.predict(png(), **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert server.predict(png(), Origin=f"http://{here}")[0] == 200


def test_names_that_are_allowed_are_let_in_as_behind_a_proxy(tmp_path: Path) -> None:
    with running(tmp_path, names=["Pets.Example"]) as found:
        named = {"Host": "pets.example", "Origin": "https://pets.example"}
        assert found.predict(png(), **named)[0] == 200
        assert found.call("GET", "/health", headers={"Host": "other.example"})[0] == 421


def test_the_token_is_asked_for_everywhere_but_on_the_page_and_for_health(tmp_path: Path) -> None:
    with running(tmp_path, token="open-1234567") as found:
        right = {"Authorization": "Bearer open-1234567"}
        for method, path in (
            ("GET", "/info"),
            ("GET", "/metrics"),
            ("POST", "/predict"),
            ("POST", "/reload"),
            ("GET", "/x"),
        ):
            for wrong in ({}, {"Authorization": "Bearer open-1234568"}, {"Authorization": "Basic open-1234567"},
                          {"Authorization": "Bearer"}, {"Authorization": "Bearer \xff"}):  # fmt: skip
                status, content, response = found.call(method, path, headers=wrong)
                assert status == 401 and "token" in content["error"]
                assert response.headers["WWW-Authenticate"] == "Bearer"
        assert found.predict(png(), **right)[0] == 200
        assert found.call("GET", "/info", headers=right)[0] == 200
        for path in ("/", "/health", "/openapi.json"):
            assert found.call("GET", path)[0] == 200


def test_every_answer_carries_the_headers_that_keep_it_where_it_is(server: Running) -> None:
    for method, path in (("GET", "/"), ("GET", "/health"), ("GET", "/nothing"), ("POST", "/predict")):
        _, _, response = server.call(method, path)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in response.headers


# ---------------------------------------------------------------- what it tells of itself


def test_info_tells_the_labels_the_card_and_what_is_taken(server: Running) -> None:
    status, found, _ = server.call("GET", "/info")
    assert status == 200 and found["labels"] == ["dark", "light", "<b>grey</b>\n"]
    assert (found["name"], found["model"], found["max_images"], found["unlike_above"]) == (
        "it.plain",
        "first",
        32,
        0.75,
    )
    assert found["card"]["about"] == "Pictures, dark or light."


def test_metrics_count_requests_images_and_batches(tmp_path: Path) -> None:
    with running(tmp_path) as found:
        found.predict(png(), png(), b"no image")
        found.predict(png(240))
        found.call("GET", "/secret/path")
        _, text, response = found.call("GET", "/metrics")
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))
        assert lines['plainlearn_requests_total{path="/predict",status="422"}'] == "1.0"
        assert lines['plainlearn_requests_total{path="/predict",status="200"}'] == "1.0"
        assert lines['plainlearn_requests_total{path="other",status="404"}'] == "1.0"
        assert lines['plainlearn_images_total{outcome="answered"}'] == "3.0"
        assert lines['plainlearn_images_total{outcome="unreadable"}'] == "1.0"
        assert lines["plainlearn_unlike_images_total"] == "1.0"
        assert lines["plainlearn_batch_size_sum"] == "3.0"
        assert lines['plainlearn_request_seconds_count{path="/predict"}'] == "2.0"
        assert lines["plainlearn_queue_length"] == lines["plainlearn_images_inside"] == "0.0"
        assert lines["plainlearn_upload_bytes"] == "0.0"
        assert "secret" not in text.decode()
