"""A server for tests: a real one, on a port of this machine, whose model is quick and can be held up."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from patience import PATIENCE

from plainlearn.app.limits import Limits
from plainlearn.app.monitoring import ServerMetrics
from plainlearn.app.server import Server, Settings, listen
from plainlearn.app.service import ServedModel, Service
from plainlearn.core.errors import DataError
from plainlearn.inference.prediction import Prediction

LABELS = ["dark", "light", "<b>grey</b>\n"]


class Quick:
    """Says `dark` or `light` by the first pixel of a real image; a gate holds its runs up."""

    vocab = LABELS

    def __init__(self) -> None:
        self.opened, self.runs = threading.Event(), list[int]()
        self.opened.set()

    def read(self, item: Any) -> Any:
        from plainlearn.images.files import EncodedImage
        from plainlearn.images.load import load_image

        assert type(item) is EncodedImage
        return load_image(item)

    def judged(self, samples: Sequence[Any]) -> tuple[list[Prediction], Any]:
        assert self.opened.wait(PATIENCE)  # longer than any test waits
        self.runs.append(len(samples))
        shares = [float(pixels[0, 0, 0]) / 255 for pixels in samples]
        if 1.0 in shares:
            raise RuntimeError("the network cannot stand pure white")
        rows = [np.array([0.9 - 0.8 * share, 0.8 * share, 0.1]) for share in shares]
        found: Any = [Prediction(LABELS[int(row.argmax())], row.argmax(), row) for row in rows]  # pyright: ignore
        return found, np.array(shares)


def quick_model(file: Any, predictor: Any = None) -> ServedModel:
    """A model whose digest is what the file says, so that another file is another model."""
    said = Path(file).read_text()
    if said == "damaged":
        raise DataError(f"{file} is damaged: it says so")
    facts = {"labels": LABELS, "about": "Pictures, dark or light."}
    return ServedModel(predictor or Quick(), Path(file).name, said, facts, unlike_above=0.75)


class Running:
    """A server that runs, and short ways to call it."""

    def __init__(self, server: Server, service: Service, port: int) -> None:
        self.server, self.service, self.port = server, service, port

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        plain = response.headers.get_content_type() != "application/json"
        return response.status, data if plain else json.loads(data), response

    def predict(self, *images: bytes, query: str = "", **headers: str) -> tuple[int, Any]:
        body, kind = form(*((f"{number}.png", image) for number, image in enumerate(images)))
        status, found, _ = self.call("POST", f"/predict{query}", body, {"Content-Type": kind, **headers})
        return status, found


@contextmanager
def running(folder: Path, predictor: Any = None, **settings: Any) -> Iterator[Running]:
    """A server of a quick model in a thread of this process, until the end of the block."""
    file = folder / "it.plain"
    if not file.exists():
        file.write_text("first")
    settings = {"limits": Limits(), "watch_seconds": 0.05} | settings
    metrics, ready = ServerMetrics(), threading.Event()
    service = Service(file, settings["limits"], metrics, load=lambda found: quick_model(found, predictor))
    listener = listen("127.0.0.1", 0)
    server = Server(service, metrics, Settings(port=0, **settings))

    async def work() -> None:
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        ready.set()
        await serving

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield Running(server, service, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()
        assert not thread.is_alive()


def png(level: int = 60, size: tuple[int, int] = (8, 6)) -> bytes:
    """A picture of one shade."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(out, "PNG")
    return out.getvalue()


def form(*files: tuple[str | None, bytes], name: str = "file") -> tuple[bytes, str]:
    """A form of files, and its Content-Type."""
    mark = b"mark" + os.urandom(8).hex().encode()
    parts: list[bytes] = []
    for file, data in files:
        said = "" if file is None else f'; filename="{file}"'
        head = f'Content-Disposition: form-data; name="{name}"{said}\r\nContent-Type: image/png\r\n\r\n'
        parts += [b"--" + mark + b"\r\n" + head.encode() + data + b"\r\n"]
    return b"".join(parts) + b"--" + mark + b"--\r\n", f"multipart/form-data; boundary={mark.decode()}"
