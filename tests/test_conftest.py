"""The ground that the tests stand on does what it says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest


def test_the_network_is_out_of_reach() -> None:
    with pytest.raises(OSError, match=r"tests do not use the network, and one has asked for 'example\.org'"):
        socket.create_connection(("example.org", 80), timeout=1)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller,
        pytest.raises(OSError, match=r"192\.0\.2\.1"),
    ):
        caller.connect(("192.0.2.1", 80))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller,
        pytest.raises(OSError, match=r"192\.0\.2\.1"),
    ):
        caller.sendto(b"x", ("192.0.2.1", 53))


def test_a_server_on_this_machine_is_within_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, server.getsockname()[1]), timeout=5).close()


@pytest.mark.parametrize("first", [1, 2])
def test_figures_do_not_outlive_their_test(first: int) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    assert pyplot.get_fignums() == [], f"a figure was left over in round {first}"
    pyplot.figure()
    assert pyplot.get_backend().lower() == "agg"


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="only workers share the cores")
def test_a_worker_uses_one_thread() -> None:
    script = "import torch; print(torch.get_num_threads())"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "1"


@pytest.mark.gpu
def test_gpu_tests_run_only_where_there_is_a_gpu() -> None:
    torch = pytest.importorskip("torch")
    assert torch.zeros(1, device="cuda").item() == 0
