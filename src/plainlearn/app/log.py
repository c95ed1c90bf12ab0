"""Where the server writes what its owner should know. It is fetched when it is used: importing us names no logger."""

from __future__ import annotations

import logging

__all__ = ["log"]


def log() -> logging.Logger:
    """The server's log; `plainlearn serve` shows it on the terminal."""
    return logging.getLogger("plainlearn.app")
