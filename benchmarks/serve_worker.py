"""Two halves of serve_throughput.py, each in its own interpreter: the callers, and the bare network.

The callers are one loop over non-blocking sockets with requests made beforehand, so as to take as little as can be of the
cores that the server shares with them.

    python serve_worker.py callers|network
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness import serve, timed

# ---------------------------------------------------------------- callers


class Caller:
    """One connection that asks, waits for the answer, and asks again."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.since, self.left, self.answer = 0.0, memoryview(b""), bytearray()

    def ask(self, request: bytes) -> None:
        self.since, self.left = time.perf_counter(), memoryview(request)
        self.answer.clear()

    def send(self) -> bool:
        """Send what can be sent; whether that was the last of it."""
        if self.left:
            self.left = self.left[self.socket.send(self.left) :]
        return not self.left

    def receive(self) -> bool:
        """Receive what has come; whether that was the last of it."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise SystemExit("the server hung up")
        self.answer += part
        end = self.answer.find(b"\r\n\r\n")
        if end < 0:
            return False
        at = self.answer.find(b"content-length: ", 0, end) + len(b"content-length: ")
        return len(self.answer) >= end + 4 + int(self.answer[at : self.answer.find(b"\r\n", at)])


def callers() -> dict[str, Callable[..., dict[str, Any]]]:
    requests: list[bytes] = []

    def load(files: list[str]) -> dict[str, Any]:
        for file in files:
            data = Path(file).read_bytes()
            mark = "0123456789abcdef"
            body = (
                f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{Path(file).name}"\r\n'
                "Content-Type: image/jpeg\r\n\r\n"
            ).encode() + data + f"\r\n--{mark}--\r\n".encode()  # fmt: skip
            head = (
                f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={mark}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            requests.append(head.encode() + body)
        return {"bytes": sum(map(len, requests)) / len(requests)}

    def call(port: int, count: int, images: int) -> dict[str, Any]:
        """`count` callers, who ask about `images` in all. Returns seconds, and of each answer its own."""
        latencies: list[float] = []
        statuses: dict[str, int] = {}

        def run() -> None:
            asked = 0
            with selectors.DefaultSelector() as selector:
                for _ in range(count):
                    caller = Caller(port)
                    caller.ask(requests[asked % len(requests)])
                    selector.register(caller.socket, selectors.EVENT_WRITE, caller)
                    asked += 1
                while selector.get_map():
                    for key, events in selector.select(60):
                        caller = key.data
                        if events & selectors.EVENT_WRITE:
                            if caller.send():
                                selector.modify(caller.socket, selectors.EVENT_READ, caller)
                        elif caller.receive():
                            latencies.append(time.perf_counter() - caller.since)
                            status = caller.answer[9:12].decode()
                            statuses[status] = statuses.get(status, 0) + 1
                            if asked == images:
                                selector.unregister(caller.socket)
                                caller.socket.close()
                                continue
                            caller.ask(requests[asked % len(requests)])
                            asked += 1
                            if not caller.send():
                                selector.modify(caller.socket, selectors.EVENT_WRITE, caller)

        spent = timed(run)
        return {**spent, "images": len(latencies), "latencies": latencies, "statuses": statuses}

    return {"load": load, "call": call}


# ---------------------------------------------------------------- the bare network


def network() -> dict[str, Callable[..., dict[str, Any]]]:
    """The network of the same file in onnxruntime, fed with the same photos, read beforehand."""
    import numpy as np
    import onnxruntime

    from plainlearn.inference.modelfile import read_model_arrays
    from plainlearn.inference.onnx_checks import read_graph
    from plainlearn.inference.onnx_predictor import QuickPredictor

    sessions: dict[int, Callable[..., Any]] = {}
    batch: list[Any] = []

    def load(model: str, files: list[str], threads: list[int]) -> dict[str, Any]:
        content = read_model_arrays(model)
        predictor = QuickPredictor.of(content, model)
        batch.append(np.stack([predictor.read(file) for file in files]))
        graph = read_graph(content.graph.tobytes(), content.weights)
        sessions.update({count: graph.session(content.weights, threads=count) for count in threads})
        return {"onnxruntime": onnxruntime.__version__}

    def run(size: int, threads: int, images: int, lanes: int = 1) -> dict[str, Any]:
        """So many images in batches of `size`, by so many callers side by side."""

        def lane(number: int) -> None:
            for start in range(number * size, images, lanes * size):
                at = start % (len(batch[0]) - size + 1)
                sessions[threads](batch[0][at : at + size])

        with ThreadPoolExecutor(lanes) as pool:
            return {**timed(lambda: list(pool.map(lane, range(lanes)))), "images": images}

    return {"load": load, "run": run}


if __name__ == "__main__":
    serve({"callers": callers, "network": network}[sys.argv[1]])
