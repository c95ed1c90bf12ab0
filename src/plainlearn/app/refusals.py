"""A request that is refused: its status and one sentence that says why; and how that looks on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["FAILED", "Refusal", "as_json"]

#: What is told when it is our fault; all else is for the log.
FAILED: Final = "The server failed to answer; its log says why."


class Refusal(Exception):
    """Raised anywhere on the way of a request. `more` goes into the answer's JSON beside `error`."""

    def __init__(
        self, status: int, sentence: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(sentence)
        self.status, self.headers, self.more = status, dict(headers or {}), more

    @property
    def content(self) -> dict[str, Any]:
        """The answer's JSON."""
        return {"error": str(self), **self.more}


def as_json(content: Any) -> bytes:
    """JSON as bytes; it holds no NaN, which is none."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )
