"""Claims about the device that is chosen."""

import pytest
import torch

from plainlearn.core.device import default_device
from plainlearn.core.errors import ArgumentError


@pytest.fixture
def machine(monkeypatch):
    """Make torch believe in a machine with these accelerators."""

    def build(*, cuda: int = 0, mps: bool = False, current: int = 0) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return build


def test_cuda_comes_before_mps_and_mps_before_the_cpu(machine):
    machine(cuda=1, mps=True)
    assert default_device() == torch.device("cuda", 0)
    machine(mps=True)
    assert default_device() == torch.device("mps")
    machine()
    assert default_device() == torch.device("cpu")


def test_cuda_is_the_current_one_with_its_number(machine):
    machine(cuda=4, current=2)
    assert default_device() == default_device(True) == default_device("cuda") == torch.device("cuda", 2)


def test_use_asks_for_a_device(machine):
    machine(cuda=2, mps=True)
    assert default_device(False) == torch.device("cpu")
    assert default_device("cpu") == torch.device("cpu")
    assert default_device("cuda:1") == torch.device("cuda", 1)
    assert default_device(torch.device("mps")) == torch.device("mps")


def test_an_accelerator_that_is_not_here_is_an_error(machine):
    machine()
    with pytest.raises(ArgumentError, match="use=True asks for an accelerator; this machine has none"):
        default_device(True)
    with pytest.raises(ArgumentError, match="device cuda is not here: torch finds 0 CUDA devices"):
        default_device("cuda")
    with pytest.raises(ArgumentError, match="device mps is not here"):
        default_device("mps")
    machine(cuda=2)
    with pytest.raises(ArgumentError, match="device cuda:2 is not here: torch finds 2 CUDA devices"):
        default_device("cuda:2")


def test_a_device_that_nobody_knows_is_named():
    with pytest.raises(ArgumentError, match="device 'gpu' is not one that torch knows") as caught:
        default_device("gpu")
    assert caught.value.try_ == "'cuda', 'mps' or 'cpu'"


@pytest.mark.gpu
def test_the_device_of_a_gpu_machine_equals_that_of_its_tensors():
    assert torch.zeros(1, device=default_device()).device == default_device()


def test_of_several_processes_each_takes_the_gpu_of_its_number(machine, monkeypatch):
    machine(cuda=2)
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    default_device()
    assert taken == [1]
    monkeypatch.setenv("LOCAL_RANK", "7")
    with pytest.raises(ArgumentError, match=r"(?s)process 8 .* finds 2 GPUs.*--nproc-per-node=2"):
        default_device()
