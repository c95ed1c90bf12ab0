"""Downloads from a server that is slow, breaks off, changes its file, lies or says no."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import urllib.request
from email.message import Message
from pathlib import Path

import pytest

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DownloadError
from plainlearn.core.paths import Path as OurPath
from plainlearn.datasets.fetch import _Failed, _RedirectHandler, download_url

DATA = bytes((index * index * 31 + index) % 256 for index in range(200_000))
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def get(tmp_path: Path):
    """`download_url` to a file in `tmp_path`, without pauses."""

    def get(url: str, **options: object) -> bytes:
        options = {"backoff_seconds": 0, "show_progress": False} | options
        return download_url(url, tmp_path / "pets.tgz", **options).read_bytes()

    return get


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_downloaded_under_its_name_and_nothing_else_is_left(web, get, tmp_path):
    assert get(web.on("/pets.tgz", web.body(DATA)), sha256=SHA256) == DATA
    assert files_in(tmp_path) == ["pets.tgz"]
    agent = web.requests[0][1]
    assert agent["User-Agent"].startswith("plainlearn/")
    assert agent["Accept-Encoding"] == "identity"


def test_a_folder_gets_a_file_of_the_address_s_name(web, tmp_path):
    url = web.on("/sets/my%20pets.tgz?v=2", web.body(DATA))
    path = download_url(url, tmp_path, show_progress=False)
    assert path == tmp_path / "my pets.tgz"
    assert isinstance(path, OurPath)


def test_letters_outside_ascii_in_an_address_are_escaped(web, get):
    web.on("/caf%C3%A9%20menu.tgz", web.body(DATA))
    assert get(f"{web.address}/café menu.tgz") == DATA


def test_a_file_that_has_the_checksum_already_is_not_asked_for_again(web, get):
    url = web.on("/pets.tgz", web.body(DATA))
    get(url)
    assert get(url, sha256=["0" * 64, SHA256.upper()]) == DATA
    assert len(web.requests) == 1
    assert get(url) == DATA
    assert len(web.requests) == 2


def test_an_old_file_is_replaced(web, get, tmp_path):
    (tmp_path / "pets.tgz").write_bytes(b"old")
    assert get(web.on("/pets.tgz", web.body(DATA)), sha256=SHA256) == DATA


def test_a_download_that_breaks_off_is_resumed_where_it_was(web, get):
    url = web.on("/pets.tgz", web.body(DATA, cut=70_000), web.body(DATA, cut=50_000), web.body(DATA))
    assert get(url, sha256=SHA256) == DATA
    assert web.ranges() == [None, "bytes=70000-", "bytes=120000-"]


def test_the_next_call_resumes_what_this_one_began(web, get, tmp_path):
    url = web.on("/pets.tgz", web.body(DATA, cut=70_000), web.body(DATA))
    with pytest.raises(DownloadError, match="the connection ended after 70000 of 200000 bytes"):
        get(url, attempts=1)
    assert not (tmp_path / "pets.tgz").exists()
    assert get(url) == DATA
    assert web.ranges() == [None, "bytes=70000-"]


def test_a_server_that_ignores_the_range_gives_the_whole_file_once(web, get):
    url = web.on("/pets.tgz", web.body(DATA, cut=70_000), web.body(DATA, ranges=False))
    assert get(url) == DATA
    assert web.ranges() == [None, "bytes=70000-"]


def test_a_file_that_changed_meanwhile_is_taken_from_the_start(web, get):
    new = DATA[::-1]
    url = web.on("/pets.tgz", web.body(DATA, cut=70_000), web.body(new, tag='"v2"'))
    assert get(url) == new


def test_a_part_from_another_address_is_not_continued(web, get):
    with pytest.raises(DownloadError):
        get(web.on("/old/pets.tgz", web.body(DATA[::-1], cut=70_000)), attempts=1)
    assert get(web.on("/new/pets.tgz", web.body(DATA))) == DATA
    assert web.ranges() == [None, None]


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_version_that_promises_the_same_bytes_nothing_is_resumed(web, get, tag):
    url = web.on("/pets.tgz", web.body(DATA, tag=tag, cut=70_000), web.body(DATA, tag=tag))
    assert get(url) == DATA
    assert web.ranges() == [None, None]


def test_the_date_of_the_last_change_serves_as_version(web, get):
    date = {"Last_Modified": "Sat, 21 Nov 2026 04:00:00 GMT"}
    url = web.on(
        "/pets.tgz", web.body(DATA, tag="", cut=70_000, **date), web.body(DATA, tag=date["Last_Modified"])
    )
    assert get(url) == DATA
    assert web.ranges() == [None, "bytes=70000-"]
    assert web.requests[1][1]["If-Range"] == date["Last_Modified"]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(web, get, tmp_path):
    url = web.on("/pets.tgz", web.body(DATA))
    (tmp_path / ".pets.tgz.part").write_bytes(DATA + b"more")
    (tmp_path / ".pets.tgz.part.json").write_text(json.dumps({"url": url, "version": '"v1"'}))
    assert get(url) == DATA
    assert web.ranges() == ["bytes=200004-", None]


@pytest.mark.parametrize("note", ["", "[1, 2]", '{"url": 3}', "\x00"])
def test_a_part_whose_note_is_unreadable_is_not_continued(web, get, tmp_path, note):
    (tmp_path / ".pets.tgz.part").write_bytes(b"what is this")
    (tmp_path / ".pets.tgz.part.json").write_text(note)
    assert get(web.on("/pets.tgz", web.body(DATA))) == DATA


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Range: bytes 0-199999/200000\nContent-Length: 200000",
        "Content-Range: bytes 5-199999/200000\nContent-Length: 199995",
        "Content-Range: bytes 70000-199999/*\nContent-Length: 130000",
        "Content-Range: bytes 70000-199998/200000\nContent-Length: 129999",
        "Content-Type: multipart/byteranges\nContent-Length: 130000",
    ],
)
def test_a_rest_that_is_not_the_rest_that_was_asked_for_is_not_used(web, get, headers):
    wrong = web.raw(f"HTTP/1.1 206 Partial\n{headers}", bytes(200_000))
    url = web.on("/pets.tgz", web.body(DATA, cut=70_000), wrong, web.body(DATA))
    assert get(url) == DATA


def test_a_rest_that_is_too_long_is_not_used(web, get):
    wrong = web.raw(
        "HTTP/1.1 206 Partial\nContent-Range: bytes 70000-199999/200000\nContent-Length: 140000",
        DATA[60_000:],
    )
    url = web.on("/pets.tgz", web.body(DATA, cut=70_000), wrong, web.body(DATA))
    assert get(url) == DATA


def test_a_file_in_pieces_of_unknown_length_is_taken_whole(web, get):
    pieces = (
        b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (DATA[:99], DATA[99:])) + b"0\r\n\r\n"
    )
    head = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked"
    url = web.on("/pets.tgz", web.raw(head, pieces[:5000]), web.raw(head, pieces))
    assert get(url) == DATA
    assert len(web.requests) == 2


def test_a_wrong_part_is_made_good_by_one_more_download(web, get, tmp_path):
    url = web.on("/pets.tgz", web.body(DATA))
    (tmp_path / ".pets.tgz.part").write_bytes(b"x" * 1000)
    (tmp_path / ".pets.tgz.part.json").write_text(json.dumps({"url": url, "version": '"v1"'}))
    assert get(url, sha256=SHA256) == DATA
    assert web.ranges() == ["bytes=1000-", None]


def test_a_wrong_checksum_shows_both_and_deletes_the_file(web, get, tmp_path):
    url = web.on("/pets.tgz", web.body(DATA[::-1]))
    (tmp_path / "pets.tgz").write_bytes(b"the one from before")
    with pytest.raises(DownloadError) as caught:
        get(url, sha256=SHA256)
    found = hashlib.sha256(DATA[::-1]).hexdigest()
    assert f"{url} did not give the file that was expected" in str(caught.value)
    assert f"its SHA-256 is {found}, expected {SHA256}; it was deleted" in str(caught.value)
    assert f"sha256='{found}'" in str(caught.value)
    assert files_in(tmp_path) == ["pets.tgz"]
    assert (tmp_path / "pets.tgz").read_bytes() == b"the one from before"


def test_a_file_that_is_not_there_is_not_asked_for_twice(web, get, tmp_path):
    url = web.address + "/none.tgz"
    with pytest.raises(DownloadError) as caught:
        get(url)
    assert str(caught.value) == f"{url} could not be downloaded: the server answered 404 Not Found"
    assert len(web.requests) == 1
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_failure_that_passes_is_tried_again(web, get, code):
    assert (
        get(web.on("/pets.tgz", web.status(code), web.status(code, Retry_After="0"), web.body(DATA))) == DATA
    )


def test_a_failure_that_does_not_pass_ends_after_the_attempts(web, get):
    with pytest.raises(DownloadError, match=r"the server answered 500 .* \(tried 3 times\)"):
        get(web.on("/pets.tgz", web.status(500)), attempts=3)
    assert len(web.requests) == 3


def test_attempts_that_bring_much_do_not_count(web, get):
    data = DATA * 30
    cut = web.body(data, cut=1_100_000)
    assert get(web.on("/pets.tgz", *[cut] * 5, web.body(data)), attempts=2) == data


def test_pauses_grow_and_follow_the_server_s_wish(web, get, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    replies = [
        web.status(500),
        web.status(500),
        web.status(503, Retry_After="7"),
        web.status(503, Retry_After="999"),
    ]
    get(web.on("/pets.tgz", *replies, web.body(DATA)), attempts=9, backoff_seconds=0.5)
    assert pauses == [0.5, 1.0, 7.0, 30.0]


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\nsome of it"])
def test_a_silent_server_is_given_up_and_the_message_says_how_long_it_was_silent(web, get, head):
    url = web.on("/pets.tgz", web.silent(head=head))
    with pytest.raises(DownloadError) as caught:
        get(url, timeout_seconds=0.2, attempts=2)
    read = "10 bytes" if head else "0 bytes"
    assert f"{url} could not be downloaded: the server was silent for 0.2 seconds, after {read}" in str(
        caught.value
    )
    assert "(tried 2 times)" in str(caught.value)


def test_a_server_that_hangs_up_without_an_answer_is_asked_again(web, get):
    assert get(web.on("/pets.tgz", web.hang_up, web.body(DATA))) == DATA


def test_a_machine_that_refuses_is_named_at_once(get):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(DownloadError) as caught:
        get(f"http://127.0.0.1:{port}/pets.tgz")
    assert str(caught.value).endswith("could not be downloaded: the server refused the connection")


def test_redirects_are_followed_and_resumed(web, get):
    url = web.on("/pets.tgz", web.status(302, Location="/elsewhere"))
    web.on("/elsewhere", web.body(DATA, cut=70_000), web.body(DATA))
    assert get(url) == DATA
    assert web.ranges() == [None, None, "bytes=70000-", "bytes=70000-"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [("file:///etc/passwd", "is not allowed"), ("ftp://127.0.0.1/pets.tgz", "which is not http")],
)
def test_a_redirect_to_anything_but_the_web_is_not_followed(web, get, target, reason):
    with pytest.raises(DownloadError, match=reason):
        get(web.on("/pets.tgz", web.status(302, Location=target)), attempts=1)


def test_a_redirect_in_a_circle_ends(web, get):
    url = web.on("/pets.tgz", web.status(302, Location="/pets.tgz"))
    with pytest.raises(DownloadError, match=r"the server answered 302 .*infinite loop"):
        get(url)


def test_a_redirect_from_https_to_http_is_refused():
    request = urllib.request.Request("https://example.org/pets.tgz")
    with pytest.raises(_Failed, match=r"redirects to http://example\.org/x, which is not https"):
        _RedirectHandler().redirect_request(request, None, 302, "Found", Message(), "http://example.org/x")


def test_a_file_that_is_too_large_is_refused_by_its_announcement_and_by_its_bytes(web, get, tmp_path):
    with pytest.raises(DownloadError, match=r"the file has 195\.3 KiB, more than max_bytes=1000"):
        get(web.on("/pets.tgz", web.body(DATA)), max_bytes=1000)
    with pytest.raises(DownloadError, match="the file has more than max_bytes=1000"):
        get(web.on("/endless.tgz", web.raw("HTTP/1.0 200 OK", DATA)), max_bytes=1000)
    assert "pets.tgz" not in files_in(tmp_path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("pets.tgz", "is not a web address; expected one that begins with https://"),
        ("file:///data/pets.tgz", "is not a web address"),
        ("https:///pets.tgz", "is not a web address"),
        ("https://example.org/", "does not end with the name of a file"),
        ("https://example.org/..%2F..%2Fetc", "does not end with the name of a file"),
        ("https://example.org/..", "does not end with the name of a file"),
    ],
)
def test_what_is_no_address_of_a_file_is_refused(get, url, message):
    with pytest.raises(ArgumentError, match=message):
        get(url)


def test_an_address_that_is_not_text_is_refused(get):
    with pytest.raises(ArgumentTypeError, match="the address is of type PosixPath; expected text"):
        get(Path("/pets.tgz"))


@pytest.mark.parametrize("option", [{"timeout_seconds": 0}, {"attempts": 0}, {"max_bytes": -1}])
def test_numbers_that_make_no_sense_are_refused(get, option):
    with pytest.raises(ArgumentError, match="expected more than 0"):
        get("http://127.0.0.1/pets.tgz", **option)


@pytest.mark.parametrize("sha256", ["abc", "g" * 64, []])
def test_what_cannot_be_a_checksum_is_refused(get, sha256):
    with pytest.raises(ArgumentError, match="is not a SHA-256; expected 64 hexadecimal digits"):
        get("http://127.0.0.1/pets.tgz", sha256=sha256)


def test_a_port_that_is_no_number_is_refused_at_once(get):
    with pytest.raises(DownloadError, match="this is no address"):
        get("http://127.0.0.1:abc/pets.tgz")


def test_two_threads_that_want_one_file_download_it_once(web, get, capsys):
    first = threading.Event()
    url = web.on("/pets.tgz", web.after(first, web.body(DATA)), web.body(DATA))
    got: list[bytes] = []
    threads = [threading.Thread(target=lambda: got.append(get(url, sha256=SHA256))) for _ in range(2)]
    for thread in threads:
        thread.start()
    first.set()
    for thread in threads:
        thread.join()
    assert got == [DATA, DATA]
    assert len(web.requests) == 1


def test_a_log_gets_one_line_and_a_terminal_a_bar(web, get, capsys, monkeypatch):
    url = web.on("/pets.tgz", web.body(DATA))
    monkeypatch.setenv("CI", "1")
    get(url, show_progress=None)
    assert capsys.readouterr().err == f"downloading {url} (195.3 KiB)\n"
    get(url, show_progress=True)
    assert "0.00/195k" in capsys.readouterr().err
    get(url, show_progress=False)
    assert capsys.readouterr().err == ""


def test_a_disk_that_may_not_be_written_is_named(web, get, tmp_path):
    (tmp_path / ".pets.tgz.part").mkdir()
    with pytest.raises(DownloadError, match=r"\.pets\.tgz\.part cannot be written"):
        get(web.on("/pets.tgz", web.body(DATA)))
