"""Headless Chromium, driven through a pipe by its own protocol (DevTools), which needs no other library."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patience import PATIENCE


class Tab:
    """One page. `events` are all that the browser told meanwhile: requests, messages of the console, exceptions."""

    def __init__(self, into: int, out: int) -> None:
        self._into, self._out, self._number, self._session = into, out, 0, ""
        self._rest = b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments: Any) -> Any:
        """Do it, and return what came of it."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]
            self.events.append(found)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._out], [], [], 30)[0], "the browser says nothing"
            part = os.read(self._out, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def value(self, expression: str) -> Any:
        """What an expression in the page gives; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until it holds."""
        end = time.monotonic() + 30
        while not self.value(expression):
            assert time.monotonic() < end, f"{expression}: {self.value('document.body.innerText')}"
            time.sleep(0.03)

    def open(self, address: str) -> None:
        """Go there, and wait until all of it has come."""
        self.call("Page.navigate", url=address)
        self.until("location.protocol !== 'about:' && document.readyState === 'complete'")

    def choose(self, selector: str, *files: Path) -> None:
        """As a person who chooses files."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text
            )

    def picture(self, file: Path) -> None:
        """What the page looks like, as PNG."""
        file.write_bytes(
            base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])
        )

    def requested(self) -> list[str]:
        """The addresses of all requests so far."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[Any]:
        """Errors of scripts, and what the policy forbade."""
        return [
            event["params"]
            for event in self.events
            if event.get("method") == "Runtime.exceptionThrown"
            or (event.get("method") == "Log.entryAdded" and event["params"]["entry"]["source"] != "network")
        ]


@contextmanager
def browser(profile: Path, size: tuple[int, int] = (1200, 900)) -> Iterator[Tab]:
    """A browser with an empty page, until the end of the block."""
    to_read, into = os.pipe()
    out, to_write = os.pipe()

    def as_3_and_4() -> None:
        first, second = os.dup(to_read), os.dup(to_write)  # for they may be 4 and 3
        os.dup2(first, 3)
        os.dup2(second, 4)

    process = subprocess.Popen(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
         f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--disable-background-networking",
         "--no-first-run", "--force-device-scale-factor=1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        pass_fds=(3, 4), preexec_fn=as_3_and_4, start_new_session=True,
    )  # fmt: skip
    os.close(to_read)
    os.close(to_write)
    try:
        yield Tab(into, out)
    finally:
        os.close(into)
        os.close(out)
        try:
            process.wait(PATIENCE)  # it ends with its pipe
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
