"""What a server tells its owner: figures for Prometheus to fetch, and a log. Each server counts for itself: nothing is global."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

__all__ = ["PLAIN_TEXT", "ServerMetrics", "log"]

PLAIN_TEXT: Final = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES: Final = (1, 2, 4, 8, 12, 16, 24, 32)


class ServerMetrics:
    """The counters, each with a method or an attribute that moves it."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "plainlearn_requests", "Requests by path and status.", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "plainlearn_request_seconds", "From a request's headers to the end of its answer.", ["path"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.batches = Histogram(
            "plainlearn_batch_size",
            "Images that one run of the network answered.",
            buckets=_SIZES,
            registry=registry,
        )
        self.run_seconds = Histogram(
            "plainlearn_run_seconds",
            "One run of the network, for all its images.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.images = Counter(
            "plainlearn_images", "Images by what became of them: answered, unreadable, failed.", ["outcome"], registry=registry
        )  # fmt: skip
        self.strange = Counter(
            "plainlearn_unlike_images", "Images unlike those that the model learned from.", registry=registry
        )
        self.reloads = Counter(
            "plainlearn_reloads", "Model files looked at after the first: loaded, refused.", ["outcome"], registry=registry
        )  # fmt: skip
        self._inside = Gauge(
            "plainlearn_images_inside", "Images being read, waiting or being answered.", registry=registry
        )
        self._queue = Gauge(
            "plainlearn_queue_length", "Images that are read and wait for a run.", registry=registry
        )
        self._uploads = Gauge("plainlearn_upload_bytes", "Bytes of uploads that are held.", registry=registry)
        ProcessCollector(namespace="plainlearn", registry=registry)
        for outcome in ("answered", "unreadable", "failed"):
            self.images.labels(outcome)
        for outcome in ("loaded", "refused"):
            self.reloads.labels(outcome)

    def watch(
        self, inside: Callable[[], float], queue: Callable[[], float], uploads: Callable[[], float]
    ) -> None:
        """Where the figures come from that are looked up when they are asked for."""
        self._inside.set_function(inside)
        self._queue.set_function(queue)
        self._uploads.set_function(uploads)

    def on_run(self, size: int, seconds: float) -> None:
        """A run of the network for `size` images took so long."""
        self.batches.observe(size)
        self.run_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)


def log() -> logging.Logger:
    """The server's log, which `plainlearn serve` shows on the terminal; fetched on use, so that importing us names no logger."""
    return logging.getLogger("plainlearn.app")
