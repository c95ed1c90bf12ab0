"""Several processes as one run, by real second processes that torchrun starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from patience import PATIENCE

from plainlearn.core.errors import ArgumentError, DataError, MetricError
from plainlearn.data import DataLoader
from plainlearn.metrics.meter import meter_of
from plainlearn.train.distributed import ALONE, Ranks, ranks

SCRIPT = Path(__file__).with_name("distributed_script.py")


def run(mode: str, out: Path, processes: int, bs: int) -> subprocess.CompletedProcess[str]:
    """The script in so many processes."""
    started = [sys.executable]
    if processes > 1:
        started += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [*started, str(SCRIPT), mode, str(out), str(bs)],
        env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def told(mode: str, out: Path, processes: int, bs: int) -> list[dict[str, Any]]:
    done = run(mode, out, processes, bs)
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr, "each leaves the others in order"
    assert done.stdout.count("train_loss") == 1, "the table is printed once"
    assert len(list(out.glob("models/last*"))) == 1, "one file is saved"
    return [json.loads((out / f"{rank}-of-{processes}.json").read_text()) for rank in range(processes)]


def test_two_processes_learn_what_one_learns_with_twice_the_batch(tmp_path: Path) -> None:
    (alone,) = told("plain", tmp_path, 1, 16)
    first, second = told("plain", tmp_path, 2, 8)
    assert first["weights"] == second["weights"] and first["steps"] == alone["steps"] == 10
    assert first["values"] == second["values"], "every process knows the numbers of the whole"
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(torch.tensor(first["weights"][name]), torch.tensor(weight))
    torch.testing.assert_close(
        torch.tensor(first["values"]), torch.tensor(alone["values"]), rtol=1e-4, atol=1e-5
    )


def test_each_validation_item_is_counted_once_and_batch_norm_agrees(tmp_path: Path) -> None:
    first, second = told("norm", tmp_path, 2, 16)
    assert first["weights"] == second["weights"], "the statistics of batch norm are those of process 0"
    assert first["again"] == second["again"] == first["values"][-1][1:]


def test_a_sharded_model_is_divided_and_learns_the_same(tmp_path: Path) -> None:
    whole, _ = told("norm", tmp_path, 2, 16)
    first, second = told("shard", tmp_path, 2, 16)
    assert first["local"] + second["local"] == whole["local"] and first["local"] < whole["local"]
    assert first["values"] == second["values"]
    torch.testing.assert_close(
        torch.tensor(first["values"]), torch.tensor(whole["values"]), rtol=1e-3, atol=1e-4
    )


def test_a_process_that_dies_ends_the_run_with_its_own_error(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run("dies", tmp_path, 2, 8)
    assert done.returncode != 0 and "process 1 has had enough" in done.stderr
    assert time.monotonic() - began < 60 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["", "-shard"])
def test_a_run_that_lost_a_process_resumes_to_the_very_same_weights(model: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    whole, _ = told("checkpoint-whole" + model, folders[0], 2, 8)
    assert run("checkpoint-dies" + model, folders[1], 2, 8).returncode != 0
    resumed, other = told("checkpoint-goes-on" + model, folders[1], 2, 8)
    assert resumed["weights"] == other["weights"] == whole["weights"]
    assert resumed["values"] == other["values"] == whole["values"]


def test_a_notebook_launches_processes_and_hears_what_one_of_them_died_of(tmp_path: Path) -> None:
    done = run("launch", tmp_path, 1, 0)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "goes-0").read_text() == (tmp_path / "goes-1").read_text()
    assert (tmp_path / "error").read_text().endswith("the run was ended: ValueError: no more of this")
    assert not (tmp_path / "dies-0").exists()


# ---- without processes


def shares(loader: Any, size: int, *, whole_rounds: bool) -> list[list[Any]]:
    """What each of `size` processes would take, without the talk between them."""
    return [
        list(loader.shared(rank, size, whole_rounds=whole_rounds, agree=lambda _: 5)) for rank in range(size)
    ]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("data", ["numbers", "rows"])
def test_shares_are_the_epoch_dealt_out_in_turn(data: str, workers: int) -> None:
    dataset: Any = list(range(25)) if data == "numbers" else torch.arange(25)
    loader = DataLoader(dataset, bs=4, shuffle=True, num_workers=workers)
    (whole,) = shares(loader, 1, whole_rounds=False)
    for size in (2, 3):
        dealt = shares(loader, size, whole_rounds=False)
        for rank in range(size):
            assert [batch.tolist() for batch in dealt[rank]] == [
                batch.tolist() for batch in whole[rank::size]
            ]
        even = shares(loader, size, whole_rounds=True)
        assert {len(part) for part in even} == {7 // size}


def test_items_of_other_processes_are_not_read() -> None:
    class Watched:
        def __init__(self) -> None:
            self.read: list[int] = []

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> int:
            self.read.append(index)
            return index

    watched = Watched()
    list(DataLoader(watched, bs=3).shared(1, 2, whole_rounds=True, agree=int))
    assert watched.read == [3, 4, 5, 9, 10, 11]


def test_a_share_goes_on_where_it_was_left() -> None:
    loader = DataLoader(range(40), bs=4, shuffle=True)
    whole = [batch.tolist() for batch in shares(loader, 2, whole_rounds=True)[1]]
    begun = loader.shared(1, 2, whole_rounds=True, agree=lambda _: 5)
    next(begun), next(begun)
    state = loader.state_dict()
    begun.close()  # type: ignore[attr-defined]
    assert state["batches"] == 4, "the batches of all processes are counted"
    other = DataLoader(range(40), bs=4, shuffle=True)
    other.load_state_dict(state)
    rest = [batch.tolist() for batch in other.shared(1, 2, whole_rounds=True, agree=int)]
    assert rest == whole[2:]


def test_other_loaders_are_dealt_out_in_turn_too() -> None:
    second = Ranks(1, 2)
    assert list(second.share(["a", "b", "c"], whole_rounds=False)) == ["b"]
    assert list(Ranks(0, 2).share(["a", "b", "c"], whole_rounds=False)) == ["a", "c"]
    assert list(Ranks(0, 2).share(["a", "b", "c"], whole_rounds=True)) == ["a"]
    sampler = torch.utils.data.DistributedSampler(range(8), num_replicas=2, rank=1)  # type: ignore[arg-type]
    divided = torch.utils.data.DataLoader(range(8), sampler=sampler)  # type: ignore[arg-type]
    assert second.share(divided, whole_rounds=True) is divided


def test_fewer_batches_than_processes_are_refused_before_anything_hangs() -> None:
    with pytest.raises(DataError, match="1 batches for 2 processes"):
        Ranks(0, 2).steps_of(1)
    assert Ranks(0, 2).steps_of(0) == 0 and ALONE.steps_of(3) == 3


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks(torch.device("cpu")) is ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ArgumentError, match=r"RANK=None.*torchrun"):
        ranks(torch.device("cpu"))


def test_a_metric_that_cannot_be_put_together_is_refused_by_name() -> None:
    class Kept:
        def update(self, *_: Any) -> None: ...
        def compute(self) -> float:
            return 0.0

        def reset(self) -> None: ...

    with pytest.raises(MetricError, match="Kept does not say"):
        meter_of(Kept()).merge(lambda values: list(map(float, values)))
