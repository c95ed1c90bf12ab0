"""Pages that a person opens from a file: HTML with its pictures in it, no scripts, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from plainlearn._version import __version__
from plainlearn.core.errors import DataError, MissingFileError
from plainlearn.core.paths import shown
from plainlearn.core.wholefile import Mark
from plainlearn.images.load import load_image
from plainlearn.images.pixels import Pixels

__all__ = ["PAGE", "document", "picture", "text", "thumbnail"]

PAGE: Final = Mark(b'<meta name="generator" content="plainlearn ')

_SIDE: Final = 192  # pixels of a picture's longer side, shown at half of that on a sharp screen

_STYLE: Final = """
:root { color-scheme: light dark; --back: #f7f7f5; --card: #fff; --ink: #1d1d1b; --soft: #6b6b66;
  --line: #e3e3de; --error: #c0392b; --warning: #b9770e; --note: #4a78a8; --bar: #9db4c8; }
@media (prefers-color-scheme: dark) { :root { --back: #181817; --card: #232322; --ink: #ececea; --soft: #a3a39d;
  --line: #383836; --error: #ef6f61; --warning: #e0a43c; --note: #7fb0e0; --bar: #55728c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0; }
p { margin: .2rem 0; }
.soft { color: var(--soft); }
.chips { display: flex; flex-wrap: wrap; gap: .5rem; margin: .9rem 0 1.6rem; }
.chip { border: 1px solid; border-radius: 1rem; padding: .05rem .7rem; font-size: .9rem; }
.error { color: var(--error); } .warning { color: var(--warning); } .note { color: var(--note); }
section { background: var(--card); border: 1px solid var(--line); border-left: 4px solid currentColor;
  border-radius: 8px; padding: 1rem 1.1rem; margin: 0 0 1rem; }
section > * { color: var(--ink); }
section > .soft { color: var(--soft); }
.groups { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: .8rem; }
.group { display: flex; flex-wrap: wrap; gap: .6rem; }
.pair { border: 1px solid var(--line); border-radius: 8px; padding: .6rem; }
figure { margin: 0; width: 10rem; }
.frame { display: flex; align-items: center; justify-content: center; height: 8.5rem; background: var(--back);
  border-radius: 6px; overflow: hidden; color: var(--soft); font-size: .85rem; }
img { max-width: 100%; max-height: 100%; }
img.tiny { image-rendering: pixelated; height: 80%; }
figcaption { font-size: .78rem; line-height: 1.35; color: var(--soft); overflow-wrap: anywhere; margin-top: .3rem; }
.name { border: 1px solid var(--line); border-radius: 5px; padding: 0 .45rem; overflow-wrap: anywhere;
  white-space: pre-wrap; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
td { padding: .1rem .5rem .1rem 0; } td.count { text-align: right; font-variant-numeric: tabular-nums; width: 4rem; }
td.class { max-width: 20rem; overflow-wrap: anywhere; } td.bar { width: 55%; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; background: var(--back); border-radius: 6px;
  padding: .6rem .8rem; margin: .4rem 0; }
code { font-size: .9em; overflow-wrap: anywhere; }
.bar i { display: block; height: .7rem; border-radius: 3px; background: var(--bar); min-width: 2px; }
"""


def document(title: str, body: str, style: str = "") -> str:
    """The whole page; `title` may hold anything, `body` is HTML and `style` more of it."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{PAGE.text.decode()}{__version__}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def picture(path: str) -> str:
    """A small copy of an image file, as an `img`; a word in its place where there is none."""
    pixels = thumbnail(path, _SIDE)
    if pixels is None:
        return "no picture"
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=82)
    small = ' class="tiny"' if max(pixels.shape[:2]) <= 64 else ""
    where = escape(shown(Path(path).name), quote=True)
    return (
        f'<img{small} alt="{where}" src="data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}">'
    )


def thumbnail(path: str, side: int) -> Pixels | None:
    """The image, its longer side `side` pixels or less; of a damaged one what can be had; None if that is nothing."""
    try:
        pixels = load_image(path, draft_to=side, strict=False)
    except (DataError, MissingFileError):
        return None  # the report says why, and is what the picture stands in
    small = Image.fromarray(pixels)
    small.thumbnail((side, side))
    return np.asarray(small)


def text(name: str) -> str:
    """Names of files and classes may hold anything; here they cannot."""
    return escape(shown(name))
