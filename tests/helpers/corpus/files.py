"""What is no image though it is named like one, what is no file at all, and names that are a test in themselves."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.base import JPEG_TOLERANCE, Case, data, jpeg, png, saved
from PIL import Image


def text(content: str) -> Callable[[Path], Any]:
    return data(content.encode)


def no_image(title: str, name: str, content: bytes, says: str) -> Case:
    return Case(title, name, data(lambda: content), "refused", says=says)


NOT_IMAGES = [
    no_image("nothing", "empty.jpg", b"", r"empty \(0 bytes\)"),
    no_image("zeros", "zeros.jpg", bytes(5000), "nothing but zeros"),
    no_image("a web page", "page.jpg", b"<!DOCTYPE html>\n<html><body>404</body></html>", "looks like HTML"),
    no_image("a web page without a head", "page.png", b"\n <HTML><title>Sign in</title>", "looks like HTML"),
    no_image(
        "an XML error", "denied.jpg", b'<?xml version="1.0"?><Error>AccessDenied</Error>', "looks like XML"
    ),
    no_image("a drawing", "drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG drawing"),
    no_image("a JSON answer", "answer.jpg", b'{"error": "rate limit"}', "looks like JSON"),
    no_image("text", "note.jpg", "Grüße aus dem Zoo\nzweite Zeile".encode(), "text .'Grüße aus dem Zoo'"),
    no_image("a pointer of Git LFS", "lfs.jpg", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    no_image("a PDF", "scan.jpg", b"%PDF-1.7\n" + bytes(range(256)), "a PDF"),
    no_image("PostScript", "drawing.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
    no_image("an archive", "photos.jpg", b"PK\x03\x04" + bytes(range(99)), "zip archive"),
    no_image("film", "clip.jpg", b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(99), "film"),
    no_image("noise", "noise.jpg", bytes(range(200, 256)) * 9, "begins with c8 c9 ca"),
    no_image("macOS's notes", "apple.jpg", b"\0\x05\x16\x07" + bytes(99), "macOS"),
    no_image("an array", "array.png", b"\x93NUMPY\x01\0" + bytes(99), "numpy"),
]


# --- sizes --------------------------------------------------------------------------------------------


def red(width: int, height: int) -> Callable[[], Image.Image]:
    return lambda: Image.new("RGB", (width, height), (255, 0, 0))


ALL_RED = ((255, 0, 0),) * 4

SIZES = [
    Case("1 by 1, PNG", "1x1.png", saved("PNG", red(1, 1)), expect=ALL_RED),
    Case("1 by 1, JPEG", "1x1.jpg", saved("JPEG", red(1, 1)), expect=ALL_RED, tolerance=JPEG_TOLERANCE),
    Case("1 by 1, GIF", "1x1.gif", saved("GIF", red(1, 1)), expect=ALL_RED),
    Case("1 wide", "1xN.png", saved("PNG", red(1, 3000)), expect=ALL_RED),
    Case("1 high", "Nx1.jpg", saved("JPEG", red(3000, 1)), expect=ALL_RED, tolerance=JPEG_TOLERANCE),
    Case(
        "a panorama", "panorama.jpg", saved("JPEG", red(60000, 20)), expect=ALL_RED, tolerance=JPEG_TOLERANCE
    ),
]


# --- no files -----------------------------------------------------------------------------------------


def a_socket(path: Path) -> None:
    """Bound from within the folder: a socket's address has room for a hundred bytes only."""
    with socket.socket(socket.AF_UNIX) as it:
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            it.bind(path.name)
        finally:
            os.chdir(here)


def forbidden(path: Path) -> None:
    path.write_bytes(jpeg())
    path.chmod(0)


def link_out(path: Path) -> None:
    outside = path.parent.parent / f"outside of {path.parent.name}"
    outside.mkdir(exist_ok=True)
    (outside / "real.jpg").write_bytes(jpeg())
    path.symlink_to(outside / "real.jpg")


SPECIAL = [
    Case("a named pipe", "pipe.jpg", os.mkfifo, "skipped", says="named pipe"),
    Case("a socket", "socket.jpg", a_socket, "skipped", says="socket"),
    Case("a link to a device", "zero.jpg", lambda p: p.symlink_to("/dev/zero"), "skipped", says="device"),
    Case("a folder", "folder.jpg", lambda p: p.mkdir(), "skipped", says="folder"),
    Case(
        "a link to nothing",
        "dangling.jpg",
        lambda p: p.symlink_to("gone.jpg"),
        "skipped",
        says="link to gone.jpg",
    ),
    Case("a link to itself", "loop.jpg", lambda p: p.symlink_to(p.name), "skipped", says="symbolic links"),
    Case("a link out", "link.jpg", link_out, tolerance=JPEG_TOLERANCE),
    Case(
        "not readable",
        "forbidden.jpg",
        forbidden,
        "refused",
        says="[Pp]ermission",
        needs=lambda: os.geteuid() != 0,
    ),
]


# --- names --------------------------------------------------------------------------------------------

NAMES = [
    Case(title, name, data(png))
    for title, name in {
        "spaces": " two  spaces .png",
        "emoji": "🐕‍🦺 dog.png",
        "a line break": "two\nlines.png",
        "a tab and an escape": "tab\tescape\x1b[31m.png",
        "255 bytes": "n" * 251 + ".png",
        "in Arabic": "قطة.png",
        "decomposed": "e\u0301te\u0301.png",
        "like an option": "-rf.png",
        "like a wildcard": "[a-z]*?.png",
        "like a template": "%s{0}$HOME.png",
        "quotes": 'it\'s "it".png',
        "not UTF-8": os.fsdecode(b"caf\xe9.png"),
        "capitals": "PHOTO.PNG",
        "two endings": "a.tar.png",
        "deep": "/".join("d" * 50) + "/deep.png",
    }.items()
]

HIDDEN = [
    Case(title, name, data(png), "skipped")
    for title, name in {
        "hidden": ".hidden.png",
        "in a hidden folder": ".cache/a.png",
        "a notebook's copies": ".ipynb_checkpoints/a.png",
        "macOS's shadow": "._photo.png",
        "macOS's shadows": "__MACOSX/photo.png",
        "a network disk's thumbnails": "@eaDir/photo.png/thumb.png",
        "Windows' thumbnails": "Thumbs.db",
        "macOS's view": ".DS_Store",
        "another ending": "readme.txt",
        "no ending": "photo",
        "only an ending": ".png",
    }.items()
]
