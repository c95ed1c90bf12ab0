"""What every test stands on: no network, no windows, one thread a worker, the real data where they are."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# What several rooms' tests share: made image files (`corpus`), shipped models, a running server, a browser.
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

# Before torch, numpy or matplotlib are imported, and for the processes that tests start. torch itself is not
# imported here: the tests of lists, paths and the command line are over before it would have loaded.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    if "torch" in sys.modules:  # some plugin was quicker
        sys.modules["torch"].set_num_threads(1)

# What a shell starts in the background has Ctrl-C switched off, and so would all that is tested with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: no test asserts time. In CI the examples are the same each time; elsewhere they vary.
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


class NetworkBlockedError(OSError):
    """A test reached for the network; an OSError, because a machine that is offline answers with one."""


_THIS_MACHINE = {"localhost", "::1", "0.0.0.0", "::"}
_ADDRESSED = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getaddrinfo": 0}


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: `connect`, name look-up and the like, to anywhere but this machine, raise."""
    place = _ADDRESSED.get(event)
    if place is None:
        return
    address = arguments[place]
    # An internet address is a tuple; a path or bytes is a Unix socket; None is this machine.
    host = address[0] if isinstance(address, tuple) else address if event == "socket.getaddrinfo" else None
    host = host.decode() if isinstance(host, bytes) else host
    if host and host not in _THIS_MACHINE and not host.startswith("127."):
        raise NetworkBlockedError(f"tests do not use the network, and one has asked for {host!r}")


# A hook, not a patched socket class: nothing that holds a reference of its own gets past it.
sys.addaudithook(_refuse_network)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a `gpu` test where there is none; only such a test pays for the import of torch."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Close what a test has drawn, or matplotlib warns after twenty figures."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def _own_file_facts(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of a test's files does not go to the user's cache."""
    if facts := sys.modules.get("plainlearn.images.file_facts"):
        home = tmp_path_factory.mktemp("facts")
        monkeypatch.setattr(facts, "cache_home", lambda: home)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data: `PLAINLEARN_TEST_DATA`, or `../shared/data` beside the clone; else skip."""
    named = os.environ.get("PLAINLEARN_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    if named:
        pytest.fail(f"PLAINLEARN_TEST_DATA={named} is not a folder; unset it to skip these tests")
    pytest.skip("no real data here; PLAINLEARN_TEST_DATA may name their folder")
