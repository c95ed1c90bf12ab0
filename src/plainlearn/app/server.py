"""Running it: the port, the token, the signals, and what is said when it starts."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import uvicorn

from plainlearn.app.api import PATHS, make_app
from plainlearn.app.guard import Guard, hosts_of, protocol_with
from plainlearn.app.limits import Limits
from plainlearn.app.monitoring import ServerMetrics
from plainlearn.app.service import Service
from plainlearn.core.errors import ArgumentError

__all__ = ["Server", "Settings", "guarded", "is_local", "listen", "serve"]

_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Settings:
    """How a server is to be run. `names` are those by which it may be called besides its own; `port` 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    names: Sequence[str] = ()
    log_requests: bool = False
    watch_seconds: float = 2.0
    limits: Limits = field(default_factory=Limits)


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    return host in _LOCAL or host.startswith("127.")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `ArgumentError` that says what to type when it cannot."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ArgumentError(
            f"no address is known for the host {host!r}: {error}", try_="--host 127.0.0.1"
        ) from error
    made = socket.socket(family, kind, proto)
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(1024)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise ArgumentError(
                f"port {port} of {host} is in use by another program",
                try_=f"--port {port + 1 if port < 65535 else 8000}, or --port 0 for any that is free",
            ) from error
        if error.errno == errno.EACCES:
            raise ArgumentError(f"this user may not listen on port {port}", try_="--port 8000") from error
        raise ArgumentError(
            f"cannot listen on {host}: {(error.strerror or str(error)).lower()}", try_="--host 127.0.0.1"
        ) from error
    return made


def guarded(service: Service, metrics: ServerMetrics, settings: Settings) -> Guard:
    """The whole application, its door included."""
    app = make_app(service, settings.limits, metrics)
    local = is_local(settings.host)
    names = settings.names if local else (*settings.names, settings.host, socket.gethostname())
    return Guard(
        app, hosts=hosts_of(*names), by_address=not local, token=settings.token, limits=settings.limits,
        metrics=metrics, paths=PATHS, log_requests=settings.log_requests,
    )  # fmt: skip


class Server(uvicorn.Server):
    """uvicorn's, for one service and its file; `await server.serve(sockets=[listen(...)])` runs it.

    SIGTERM and Ctrl-C end it when all is answered, SIGHUP has it look at the file again.
    """

    interrupted = False

    def __init__(
        self,
        service: Service,
        metrics: ServerMetrics,
        settings: Settings,
        *,
        on_start: Callable[[], Any] = lambda: None,
    ) -> None:
        limits = settings.limits
        super().__init__(
            uvicorn.Config(
                guarded(service, metrics, settings), http=protocol_with(limits), ws="none", lifespan="off",
                log_config=None, access_log=False, server_header=False, proxy_headers=False,
                timeout_keep_alive=int(limits.idle_seconds), timeout_graceful_shutdown=int(limits.stop_seconds),
            )
        )  # fmt: skip
        self._service, self._watch_seconds, self._on_start = service, settings.watch_seconds, on_start
        self._reloading: set[asyncio.Task[Any]] = set()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Until a signal, or `should_exit`, says to stop."""
        watching = asyncio.create_task(self._service.watch(self._watch_seconds))
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()
            if not self.force_exit:
                await self._service.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Told of when requests are taken and signals heard, not before."""
        await super().startup(sockets)
        self._on_start()

    def stop(self, *, interrupted: bool = False) -> None:
        """Answer what is in flight and end; the second time, end at once."""
        self.interrupted |= interrupted
        self.force_exit, self.should_exit = self.should_exit, True

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are not ours
            return
        handlers: dict[int, Callable[[], Any]] = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: lambda: self.stop(interrupted=True),
        }
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = self._reload
        loop = asyncio.get_running_loop()
        try:
            for number, handler in handlers.items():
                loop.add_signal_handler(number, handler)
        except NotImplementedError:  # Windows has none of a loop's own
            with super().capture_signals():
                yield
            return
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _reload(self) -> None:
        task = asyncio.create_task(self._service.reload())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)


def serve(file: str | os.PathLike[str], settings: Settings, *, as_json: bool = False) -> bool:
    """Serve the file until a signal says to stop. Returns whether that was Ctrl-C.

    Raises `ArgumentError` for a port or host that cannot be listened on, and what `load_model` raises.
    """
    if not is_local(settings.host) and settings.token is None:
        settings = replace(settings, token=secrets.token_urlsafe(24))
    listener = listen(settings.host, settings.port)
    try:
        metrics = ServerMetrics()
        service = Service(file, settings.limits, metrics)
        said = _said_as_json if as_json else _said
        server = Server(
            service, metrics, settings, on_start=lambda: print(said(service, settings, listener), flush=True)
        )
        asyncio.run(server.serve(sockets=[listener]))
        return server.interrupted
    finally:
        listener.close()


def _address(settings: Settings, listener: socket.socket) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _said_as_json(service: Service, settings: Settings, listener: socket.socket) -> str:
    said = {
        "address": _address(settings, listener),
        "port": listener.getsockname()[1],
        "name": service.model.name,
        "model": service.model.digest,
        "token": settings.token,
    }
    return json.dumps(said)


def _said(service: Service, settings: Settings, listener: socket.socket) -> str:
    """Where it is, what it serves, and how to call it."""
    address, model = _address(settings, listener), service.model
    bearer = "" if settings.token is None else f" -H 'Authorization: Bearer {settings.token}'"
    lines = [
        f"{model.name} ({model.facts.get('model')}, {len(model.facts['labels'])} labels) is served at {address}",
        f"  a page to drop an image on   {address}/",
        f"  from a shell                 curl{bearer} -F file=@cat.jpg {address}/predict",
        f"  another model, any time      replace {service.file}; no request is dropped",
        "  to stop                      Ctrl-C",
    ]
    if settings.token is not None:
        lines.insert(1, f"  the token that it asks for   {settings.token}")
    return "\n".join(lines)
