"""What a server allows to those who call it, every number in one place; and how it refuses what is more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["FAILED", "Limits", "Refusal", "as_json"]

#: What is told when it is our fault; all else is for the log.
FAILED: Final = "The server failed to answer; its log says why."


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds.

    `body` and `images` are of one request, `uploads` of all bodies that are held at a time; `inside` counts the images
    of all requests that are not answered yet. `pixels` is the memory that decoded pictures may take together, one
    that would take more than all of it is refused. Who sends is given `grace` and then has to have sent `pace` a second.
    """

    body: int = 32 << 20
    images: int = 32
    uploads: int = 256 << 20
    head: int = 32 << 10
    inside: int = 128
    batch: int = 16
    pixels: int = 640 << 20
    connections: int = 512
    head_seconds: float = 10
    grace: float = 15
    pace: int = 16 << 10
    unread_seconds: float = 20
    idle_seconds: float = 20
    stop_seconds: float = 30


class Refusal(Exception):
    """Raised anywhere on the way of a request: its status, and one sentence that says why."""

    def __init__(self, status: int, sentence: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, dict(headers or {})

    @property
    def content(self) -> dict[str, Any]:
        """The answer's JSON."""
        return {"error": str(self)}


def as_json(content: object) -> bytes:
    """JSON as bytes; it holds no NaN, which is none."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )
