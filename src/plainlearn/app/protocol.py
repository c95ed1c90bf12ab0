"""uvicorn's HTTP protocol with limits of time and size that it does not have: who sends or reads slowly is cut off."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from plainlearn.app.limits import Limits

__all__ = ["protocol_with"]

_SWEEP_SECONDS = 1.0


def protocol_with(limits: Limits) -> type[HttpToolsProtocol]:
    """The class of a connection; uvicorn makes one object of it for each."""

    class Limited(_LimitedProtocol):
        allowed = limits

    return Limited


class _LimitedProtocol(HttpToolsProtocol):
    """The time within which a request's head has to come, how long it may be, and how long an answer may lie unread.

    uvicorn has a limit only for a connection that is idle after an answer; bodies are watched by `guard`.
    """

    allowed: Limits
    _head_since: float | None
    _unread_since: float | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self.loop.time()
        if len(self.connections) > self.allowed.connections:
            transport.abort()
            return
        self._sweep()

    def _sweep(self) -> None:
        """Once a second, as long as the connection lasts; cheaper than a timer for each step of each request."""
        transport, now = self.transport, self.loop.time()
        unread = transport.get_write_buffer_size() > 0
        if not unread:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        late = self._head_since is not None and now - self._head_since > self.allowed.head_seconds
        stuck = self._unread_since is not None and now - self._unread_since > self.allowed.unread_seconds
        if late or stuck:
            transport.abort()
        elif self in self.connections:
            self.loop.call_later(_SWEEP_SECONDS, self._sweep)

    def data_received(self, data: bytes) -> None:
        if self._head_since is None and self.cycle.response_complete:
            self._head_since = self.loop.time()
        if self._head_since is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_since is not None and self._head_bytes > self.allowed.head:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._head_since, self._head_bytes = None, 0
        cast("Any", super()).on_headers_complete()
