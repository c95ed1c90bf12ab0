"""How long a test waits for what must come: only a hang takes so long, however busy the machine is."""

from __future__ import annotations

#: Seconds. pytest's own limit (pyproject.toml) is twice this.
PATIENCE = 600
