"""For schemathesis, which runs in a process of its own: where it says bytes, the server wants an image."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies
from serving import png

IMAGES = strategies.integers(0, 180).map(png)  # 255 is what the network of these tests fails at

for kind in ("image/*", "image/png", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, IMAGES)
