"""The page as one document: markup, style and script of the folder `web`, and the policy that lets only these run."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Self

__all__ = ["Page"]


@dataclass(frozen=True)
class Page:
    """The document, and its Content-Security-Policy: what is in it may run, by its hash, and nothing else at all."""

    content: bytes
    policy: str

    @classmethod
    def read(cls) -> Self:
        """The page that comes with plainlearn."""
        folder = files("plainlearn.app").joinpath("web")
        style, script, markup = (
            folder.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js", "page.html")
        )
        whole = markup.replace("/* page.css */", style).replace("/* page.js */", script)
        policy = (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src blob: data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return cls(whole.encode(), policy)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
