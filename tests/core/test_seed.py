"""Claims about seeds and the states of random generators."""

import json
import os
import random

import numpy as np
import pytest
import torch

from plainlearn.core.errors import ArgumentTypeError, DataError
from plainlearn.core.seed import preserve_random_state, random_state, set_random_state, set_seed


@pytest.fixture(autouse=True)
def _leave_generators_alone():
    with preserve_random_state():
        yield


def draw() -> list[float]:
    """Something from every generator, with an odd number of normal ones, of which two are drawn at a time."""
    numbers = [
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),
        np.random.randn(),
        *torch.rand(2).tolist(),
    ]
    if torch.cuda.is_available():
        numbers += torch.rand(2, device="cuda").tolist()
    return numbers


@pytest.mark.parametrize("seed", [0, 42, -1, 2**32, 2**70, np.int64(7)])
def test_the_same_seed_gives_the_same_draws(seed):
    set_seed(seed)
    once = draw()
    set_seed(seed)
    assert draw() == once


def test_another_seed_gives_other_draws_from_every_generator():
    set_seed(1)
    once = draw()
    set_seed(2)
    assert all(a != b for a, b in zip(once, draw(), strict=True))


def test_the_seed_is_the_one_that_each_library_would_take():
    set_seed(42)
    ours = (random.random(), np.random.rand(), torch.rand(1).item())
    random.seed(42)
    np.random.seed(42)
    torch.manual_seed(42)
    assert ours == (random.random(), np.random.rand(), torch.rand(1).item())


@pytest.mark.parametrize("seed", ["42", 4.2, None, True])
def test_what_is_no_seed_is_named(seed):
    with pytest.raises(ArgumentTypeError, match=r"seed is .*; expected a whole number"):
        set_seed(seed)


def test_reproducible_asks_torch_for_deterministic_algorithms(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # what the user has set stays
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = torch.get_deterministic_debug_mode()
    try:
        set_seed(1)
        assert torch.get_deterministic_debug_mode() == before
        assert torch.backends.cudnn.benchmark
        set_seed(1, reproducible=True)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    finally:
        torch.set_deterministic_debug_mode(before)


def test_a_state_put_back_repeats_the_draws():
    draw()
    state = random_state()
    once = draw()
    assert draw() != once
    set_random_state(state)
    assert draw() == once


def to_json(part):
    return part.tolist() if isinstance(part, torch.Tensor) else pytest.fail(f"{type(part)} in the state")


def test_a_state_is_plain_data_and_survives_json_to_the_bit():
    draw()
    state = random_state()
    stored = json.dumps(state, default=to_json, allow_nan=False)
    once = draw()
    set_random_state(json.loads(stored))
    assert draw() == once


def test_a_state_does_not_change_with_later_draws():
    state = random_state()
    stored = json.dumps(state, default=to_json)
    draw()
    assert json.dumps(state, default=to_json) == stored


def test_a_state_of_more_devices_than_there_are_is_put_back_as_far_as_it_goes():
    if torch.cuda.is_available():
        torch.cuda.init()
    state = random_state()
    once = draw()
    elsewhere = [torch.zeros(16, dtype=torch.uint8)] * 2
    set_random_state({**state, "cuda": [*state["cuda"], *elsewhere]})
    assert draw() == once


def test_a_state_that_lacks_a_part_is_refused_and_nothing_changes():
    state = random_state()
    partial = {name: part for name, part in state.items() if name not in ("numpy", "mps")}
    set_seed(5)
    once = draw()
    set_seed(5)
    with pytest.raises(DataError, match="the random state lacks mps, numpy; it holds python, torch, cuda"):
        set_random_state(partial)
    assert draw() == once


def test_draws_inside_preserve_leave_no_trace():
    set_seed(3)
    once = draw()
    set_seed(3)
    with preserve_random_state():
        draw()
        set_seed(9)
    assert draw() == once


def test_preserve_puts_back_after_an_error_and_lets_it_out():
    set_seed(3)
    once = draw()
    set_seed(3)
    with pytest.raises(KeyError), preserve_random_state():
        draw()
        raise KeyError
    assert draw() == once


@pytest.mark.gpu
def test_the_states_of_gpus_are_kept():
    torch.rand(1, device="cuda")
    assert len(random_state()["cuda"]) == torch.cuda.device_count()
    test_a_state_put_back_repeats_the_draws()
    test_a_state_is_plain_data_and_survives_json_to_the_bit()
