"""The door: everything that is asked of a request before anybody reads it, and the limits of time on its way.

`Guard` is plain ASGI around the application, so that nothing inside can be reached past it. `protocol_with` is uvicorn's
HTTP protocol with limits of time and size that it does not have: who sends or reads slowly is cut off.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Collection, Mapping
from typing import Any, Final, cast
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from plainlearn.app.limits import FAILED, Limits, Refusal, as_json
from plainlearn.app.monitoring import ServerMetrics, log

__all__ = ["KNOWN", "OPEN_PATHS", "Guard", "hosts_of", "protocol_with"]

#: What is answered without a token: the page, which holds nothing but itself, and whether all is well.
OPEN_PATHS: Final = frozenset({"/", "/health", "/openapi.json"})
#: Where in the scope it is said whether the token was given, or none is asked for.
KNOWN: Final = "plainlearn.known"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LINGER_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 1.0
_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def hosts_of(*names: str) -> frozenset[str]:
    """The names, without a port, under which a server may be called: its own, and those of this machine to itself."""
    return frozenset({"localhost", "127.0.0.1", "[::1]", *(_bracketed(name.lower()) for name in names)})


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


class Guard:
    """Lets through what is addressed to us, comes from our own page or a program, has the token, and is small enough.

    `hosts` are the names we go by; a page elsewhere that points its own name at us is known by its Host
    (DNS rebinding), one that posts to us by its Origin. `by_address` lets in who calls us by a number, which no such
    page can do. `token` is asked for if there is one.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str], token: str | None, limits: Limits, metrics: ServerMetrics,
        paths: Collection[str], by_address: bool = False, log_requests: bool = False,
    ) -> None:  # fmt: skip
        self._app, self._hosts, self._limits, self._metrics = app, frozenset(hosts), limits, metrics
        self._token = None if token is None else token.encode()
        self._paths, self._by_address, self._log_requests = frozenset(paths), by_address, log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._limits)
        start = time.perf_counter()
        try:
            self._check(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except Exception:  # noqa: BLE001 - it is logged, and who asked is told
            log().exception("%s %r failed", scope["method"], scope["path"])
            await exchange.refuse(Refusal(500, FAILED))
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            seconds = time.perf_counter() - start
            # 499, as nginx says it: who asked went away before there was an answer.
            self._metrics.requests.labels(path, str(exchange.status or 499)).inc()
            self._metrics.seconds.labels(path).observe(seconds)
            if self._log_requests:
                client = (scope.get("client") or ("?",))[0]
                status, milliseconds = exchange.status or 499, 1000 * seconds
                log().info(
                    "%s %s %r %s %.1f ms", client, scope["method"], scope["path"], status, milliseconds
                )

    def _check(self, scope: Scope) -> None:
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name in (b"host", b"origin", b"authorization", b"content-length") and name in headers:
                raise Refusal(400, f"The request has two headers {name.decode()}.")
            headers[name] = value
        if size > self._limits.head:
            raise Refusal(431, f"The request's head is longer than {self._limits.head:,} bytes.")
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = _without_port(host)
        if name not in self._hosts and not (self._by_address and _is_address(name)):
            raise Refusal(
                421,
                f"This server does not go by the name {host[:80]!r}; start it with --allow-host to let it.",
            )
        if scope["method"] not in _SAFE:
            self._check_origin(headers, host)
        scope[KNOWN] = self._token is None or self._knows(headers)
        if not scope[KNOWN] and scope["path"] not in OPEN_PATHS:
            raise Refusal(
                401, "The server asks for its token: Authorization: Bearer TOKEN. It was printed when it started.",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip

    def _check_origin(self, headers: Mapping[bytes, bytes], host: str) -> None:
        """A browser says from which page a request comes; a program sends no Origin."""
        origin = headers.get(b"origin")
        if origin is None:
            if headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin"):
                return
        else:
            try:
                parts = urlsplit(origin.decode("latin-1").lower())
                if parts.scheme in ("http", "https") and parts.netloc == host:
                    return
            except ValueError:
                pass
        raise Refusal(403, "The request comes from a page of another site, which may not ask this server.")

    def _knows(self, headers: Mapping[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        # Compared in the same time whatever is right of it.
        known = hmac.compare_digest(given.strip(), self._token or b"")
        return known and scheme.lower() == b"bearer"


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


class _Exchange:
    """A request and its answer: the body comes in time or not at all, and every answer carries the headers of ours."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self._receive, self._send, self._limits = receive, send, limits
        self._since, self._bytes = time.monotonic(), 0
        named = cast("dict[bytes, bytes]", dict(scope["headers"]))
        self._body_ended = named.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in named
        # Who asks whether to send does not send before they are told to, and reading would tell them.
        self._asks_first, self._gone, self.status = b"expect" in named, False, 0

    async def receive(self) -> Message:
        """As ASGI's; raises `Refusal` 408 for a body that comes too slowly."""
        self._asks_first = False
        if self._body_ended:
            return await self._receive()  # until they go
        left = self._since + self._limits.grace + self._bytes / self._limits.pace - time.monotonic()
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(
                408, f"The request's body came at less than {self._limits.pace:,} bytes a second."
            ) from None
        if message["type"] == "http.disconnect":
            self._gone = True
        else:
            self._bytes += len(message.get("body", b""))
            self._body_ended = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """As ASGI's, with our headers. If the body has not come by the end, the connection is closed: see `_linger`."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in given),
            ]  # fmt: skip
            if not self._body_ended:
                message["headers"].append((b"connection", b"close"))
        elif not (message.get("more_body", False) or self._body_ended or self._gone or self._asks_first):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _linger(self) -> None:
        """Read on for a moment after a refusal, for who is still sending would otherwise not see the answer."""
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while not (self._body_ended or self._gone):
                    message = await self._receive()
                    self._gone = message["type"] == "http.disconnect"
                    self._body_ended = not message.get("more_body", False)
        except TimeoutError:
            pass

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, unless an answer has begun or nobody waits for one."""
        if self.status or self._gone:
            return
        content = as_json(refusal.content)
        headers = {"content-type": "application/json", "content-length": str(len(content)), **refusal.headers}
        await self.send(
            {
                "type": "http.response.start",
                "status": refusal.status,
                "headers": [
                    (name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()
                ],
            }
        )
        await self.send({"type": "http.response.body", "body": content})


# ---------------------------------------------------------------- connections


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
