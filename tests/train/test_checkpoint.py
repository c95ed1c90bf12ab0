"""A resumed run is the run that was not interrupted, bit for bit; what does not belong together is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from patience import PATIENCE
from torch import nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, StorageError
from plainlearn.core.seed import random_state, set_seed
from plainlearn.data import DataLoader, DataLoaders, TensorRows
from plainlearn.optim import SGD, Adam, RMSProp
from plainlearn.train import Callback, Learner
from plainlearn.train.checkpoint import Checkpoint

EVERY_BATCH = Checkpoint(every_batches=1)


class StoppedError(Exception):
    pass


class Stop(Callback):
    """Raises in a batch, as a crash would."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.at = (epoch, batch)

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        if (learner.epoch, learner.batches_done) == self.at:
            raise StoppedError
        return batch


class Noise(Callback):
    """Draws from torch's generator, and counts: state that lives in a callback."""

    def __init__(self) -> None:
        self.total = torch.zeros(2)

    def on_step(self, learner: Learner, result: Any) -> None:
        self.total += torch.rand(2)

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state_dict(self, state: Any) -> None:
        self.total = state["total"]


def make(path: Path, seed: int = 0, cbs: Any = None, **settings: Any) -> Learner:
    set_seed(seed)
    rng = torch.Generator().manual_seed(7)
    x = torch.randn(40, 4, generator=rng)
    y = x.sum(1, keepdim=True)
    # What is random in a batch comes from the generator that the loader gives.
    noisy = lambda batch, rng: (batch[0] + float(rng.normal()), batch[1])  # noqa: E731
    how: dict[str, Any] = {
        "bs": 8,
        "loader_seed": None,
        "num_workers": 0,
        "opt_func": Adam,
        "items": 40,
        "width": 8,
        "loader": None,
    }
    how |= settings
    train = DataLoader(
        TensorRows(x[: how["items"]], y[: how["items"]]), bs=how["bs"], shuffle=True, seed=how["loader_seed"],
        num_workers=how["num_workers"], after_batch=noisy,
    )  # fmt: skip
    valid = DataLoader(TensorRows(x[:10], y[:10]), bs=4)
    model = nn.Sequential(
        nn.Linear(4, how["width"]), nn.BatchNorm1d(how["width"]), nn.Dropout(0.3), nn.Linear(how["width"], 1)
    )
    dls = DataLoaders(how["loader"] or train, valid)
    loss = nn.functional.mse_loss
    return Learner(dls, model, loss, opt_func=how["opt_func"], cbs=cbs, path=path, device="cpu")


def all_of(learner: Learner) -> dict[str, Any]:
    record = learner.recorder.state_dict()
    record["epochs"] = [row[:4] for row in record["epochs"]]  # without seconds
    noise = [callback.total.tolist() for callback in learner.callbacks if isinstance(callback, Noise)]
    return {
        "weights": {name: value.tolist() for name, value in learner.model.state_dict().items()},
        "optimizer": repr(learner.optimizer.state_dict()),
        "record": record,
        "random": repr(random_state()),
        "noise": noise,
    }


def quietly(learner: Learner, how: Callable[..., Any], *given: Any, **named: Any) -> Learner:
    with learner.no_logging():
        how(learner, *given, **named)
    return learner


def interrupted(
    path: Path, epoch: int, batch: int, fit: Any = Learner.fit_one_cycle, **settings: Any
) -> None:
    learner = make(path, cbs=[Noise(), Stop(epoch, batch)], **settings)
    with pytest.raises(StoppedError):
        quietly(learner, fit, 3, 0.05, checkpoint=EVERY_BATCH)


@pytest.mark.parametrize(("epoch", "batch"), [(0, 0), (0, 3), (1, 0), (1, 4), (2, 4)])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_equals_the_uninterrupted_one(
    epoch: int, batch: int, workers: int, tmp_path: Path
) -> None:
    reference = quietly(make(tmp_path, cbs=Noise()), Learner.fit_one_cycle, 3, 0.05)
    interrupted(tmp_path, epoch, batch, num_workers=workers)
    resumed = make(tmp_path, seed=99, cbs=Noise(), num_workers=2 - workers)
    quietly(resumed, Learner.fit_one_cycle, 3, 0.05, resume=True)
    assert all_of(resumed) == all_of(reference)


@pytest.mark.parametrize(
    "settings", [{"loader_seed": 3}, {"opt_func": SGD}, {"opt_func": RMSProp}, {"bs": 7}]
)
def test_it_is_so_whatever_the_loader_and_the_optimizer(settings: dict[str, Any], tmp_path: Path) -> None:
    reference = quietly(make(tmp_path, cbs=Noise(), **settings), Learner.fit, 3, 0.05)
    interrupted(tmp_path, 1, 2, Learner.fit, **settings)
    resumed = make(tmp_path, seed=99, cbs=Noise(), **settings)
    assert all_of(quietly(resumed, Learner.fit, 3, 0.05, resume=True)) == all_of(reference)


def test_an_order_drawn_by_the_user_is_drawn_again(tmp_path: Path) -> None:
    def with_own_order(seed: int, cbs: Any) -> Learner:
        learner = make(tmp_path, seed=seed, cbs=cbs)
        learner.dls.train.get_idxs = lambda: torch.randint(40, (40,)).tolist()
        return learner

    reference = quietly(with_own_order(0, Noise()), Learner.fit, 3, 0.05)
    with pytest.raises(StoppedError):
        quietly(with_own_order(0, [Noise(), Stop(1, 2)]), Learner.fit, 3, 0.05, checkpoint=EVERY_BATCH)
    resumed = with_own_order(99, Noise())
    assert all_of(quietly(resumed, Learner.fit, 3, 0.05, resume=True)) == all_of(reference)


def test_without_a_loader_s_place_a_run_resumes_at_the_epoch_s_beginning(tmp_path: Path) -> None:
    batches = [(torch.randn(8, 4), torch.ones(8, 1)) for _ in range(4)]
    reference = quietly(make(tmp_path, cbs=Noise(), loader=batches), Learner.fit, 3, 0.05)
    interrupted(tmp_path, 1, 2, Learner.fit, loader=batches)
    resumed = make(tmp_path, seed=99, cbs=Noise(), loader=batches)
    assert all_of(quietly(resumed, Learner.fit, 3, 0.05, resume=True)) == all_of(reference)


def test_a_run_that_was_resumed_in_the_same_process_goes_on_too(tmp_path: Path) -> None:
    reference = quietly(make(tmp_path, cbs=Noise()), Learner.fit_one_cycle, 3, 0.05)
    stop = Stop(1, 2)
    learner = make(tmp_path, cbs=[Noise(), stop])
    with pytest.raises(StoppedError):
        quietly(learner, Learner.fit_one_cycle, 3, 0.05, checkpoint=EVERY_BATCH)
    stop.at = (9, 9)
    assert all_of(quietly(learner, Learner.fit_one_cycle, 3, 0.05, resume=True)) == all_of(reference)


def two_phases(learner: Learner, checkpoint: Any = None, resume: bool = False) -> None:
    """A recipe in two phases, as fine tuning is: a part frozen, then all."""
    learner.model[0].requires_grad_(False)
    learner.fit_one_cycle(1, 0.05, checkpoint=checkpoint, resume=resume)
    learner.model[0].requires_grad_(True)
    learner.fit_one_cycle(2, 0.02, checkpoint=checkpoint, resume=resume)


@pytest.mark.parametrize(("epoch", "batch", "phase"), [(0, 2, 1), (0, 3, 2), (1, 3, 2)])
def test_a_recipe_of_phases_resumes_in_the_right_one(
    epoch: int, batch: int, phase: int, tmp_path: Path
) -> None:
    class StopInPhase(Stop):
        def on_batch(self, learner: Learner, batch: Any) -> Any:
            return super().on_batch(learner, batch) if len(learner.runs_done) == phase - 1 else batch

    reference = quietly(make(tmp_path, cbs=Noise()), two_phases)
    learner = make(tmp_path, cbs=[Noise(), StopInPhase(epoch, batch)])
    with pytest.raises(StoppedError):
        quietly(learner, two_phases, checkpoint=Checkpoint("tune", every_batches=1))
    resumed = make(tmp_path, seed=99, cbs=Noise())
    assert all_of(quietly(resumed, two_phases, checkpoint="tune", resume=True)) == all_of(reference)
    assert sorted(file.name for file in (tmp_path / "models").iterdir()) == [
        "tune-1.safetensors",
        "tune-2.safetensors",
    ]


def test_a_later_phase_of_an_older_run_is_not_taken_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quietly(make(tmp_path), two_phases, checkpoint=True)
    (tmp_path / "models" / "checkpoint-1.safetensors").unlink()
    reference = quietly(make(tmp_path / "other", seed=5), two_phases)
    again = make(tmp_path, seed=5)
    two_phases(again, resume=True)
    assert (
        "checkpoint-2.safetensors continues a run that this learner has not done" in capsys.readouterr().out
    )
    assert all_of(again) == all_of(reference)


def test_a_finished_run_takes_up_its_end_and_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = quietly(make(tmp_path), Learner.fit_one_cycle, 2, 0.05, checkpoint=True)
    resumed = make(tmp_path, seed=99, cbs=Stop(0, 0))
    resumed.fit_one_cycle(2, 0.05, resume=True)
    assert all_of(resumed) == all_of(reference)
    assert "at its end; there is nothing left to train" in capsys.readouterr().out


def test_with_nothing_there_the_run_begins_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path).fit(1, 0.05, resume=True)
    assert "There is no checkpoint" in capsys.readouterr().out
    assert (tmp_path / "models" / "checkpoint-1.safetensors").is_file()


def test_a_run_begun_anew_is_not_mistaken_for_the_old_one(tmp_path: Path) -> None:
    quietly(make(tmp_path), Learner.fit, 3, 0.05, checkpoint=True)
    learner = make(tmp_path, seed=5, cbs=Stop(0, 0))
    with pytest.raises(StoppedError):  # before its first batch
        quietly(learner, Learner.fit, 3, 0.05, checkpoint=True)
    reference = quietly(make(tmp_path / "other", seed=5), Learner.fit, 3, 0.05)
    resumed = quietly(make(tmp_path, seed=99), Learner.fit, 3, 0.05, resume=True)
    assert all_of(resumed) == all_of(reference)


@pytest.mark.parametrize(
    ("settings", "epochs", "rate", "said"),
    [
        ({}, 4, 0.05, "epochs: 3 in the file, 4 here"),
        ({}, 3, 0.01, r"learning rates: \[0.05\] in the file, \[0.01\] here"),
        ({"items": 32}, 3, 0.05, "training data, items: 40 in the file, 32 here"),
        ({"loader_seed": 4}, 3, 0.05, "training data: only here: seed"),
        ({"bs": 10}, 3, 0.05, "training data, bs: 8 in the file, 10 here"),
        ({"width": 9}, 3, 0.05, r"weights, 0.weight: float32 \(8, 4\) in the file, float32 \(9, 4\) here"),
        ({"opt_func": SGD}, 3, 0.05, "optimizer: Adam in the file, SGD here"),
        ({"cbs": Noise()}, 3, 0.05, "callbacks: only here: Noise"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(
    settings: dict[str, Any], epochs: int, rate: float, said: str, tmp_path: Path
) -> None:
    quietly(make(tmp_path), Learner.fit, 3, 0.05, checkpoint=True)
    learner = make(tmp_path, **settings)
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    with pytest.raises(DataError, match=said) as caught:
        quietly(learner, Learner.fit, epochs, rate, resume=True)
    assert "checkpoint-1.safetensors does not fit this learner" in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in learner.model.state_dict().items())


def test_a_callback_that_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quietly(make(tmp_path, cbs=Stop(9, 9)), Learner.fit, 1, 0.05, checkpoint=True)
    make(tmp_path).fit(1, 0.05, resume=True)
    assert "begun with other callbacks; callbacks: only in the file: Stop" in capsys.readouterr().out


def test_gradients_that_are_being_gathered_are_kept(tmp_path: Path) -> None:
    class EveryThird(Callback):
        def on_gradients(self, learner: Learner, result: Any) -> bool | None:
            return None if learner.batches_done % 3 == 2 else False

    reference = quietly(make(tmp_path, cbs=EveryThird()), Learner.fit, 2, 0.05)
    learner = make(tmp_path, cbs=[EveryThird(), Stop(1, 2)])
    with pytest.raises(StoppedError):
        quietly(learner, Learner.fit, 2, 0.05, checkpoint=EVERY_BATCH)
    resumed = make(tmp_path, seed=99, cbs=EveryThird())
    assert all_of(quietly(resumed, Learner.fit, 2, 0.05, resume=True)) == all_of(reference)


def test_a_run_of_two_processes_resumes_in_each(tmp_path: Path) -> None:
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    script = Path(__file__).with_name("checkpoint_script.py")
    done = subprocess.run(
        [sys.executable, *command, str(script), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["equal-0", "equal-1", "models"]
    assert [file.name for file in (tmp_path / "models").iterdir()] == ["checkpoint-1.safetensors"]


# ---- Ctrl-C


class Press(Callback):
    """Presses Ctrl-C amid a batch: the optimizer has not moved yet."""

    def on_gradients(self, learner: Learner, result: Any) -> None:
        if (learner.epoch, learner.batches_done) == (1, 2):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_writes_the_batch_it_came_in_and_leaves_a_learner_to_use(workers: int, tmp_path: Path) -> None:
    reference = quietly(make(tmp_path, cbs=Noise()), Learner.fit_one_cycle, 3, 0.05)
    threads = threading.active_count()
    learner = make(tmp_path, cbs=[Noise(), Press()], num_workers=workers)
    with pytest.raises(KeyboardInterrupt):
        quietly(learner, Learner.fit_one_cycle, 3, 0.05, checkpoint=True)
    assert threading.active_count() == threads
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (learner.epoch, learner.batches_done) == (1, 3)
    assert len(learner.validate()) == 1
    resumed = make(tmp_path, seed=99, cbs=Noise())
    assert all_of(quietly(resumed, Learner.fit_one_cycle, 3, 0.05, resume=True)) == all_of(reference)
    learner.callbacks.pop()
    quietly(learner, Learner.fit, 1, 0.05)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    class PressTwice(Callback):
        def on_gradients(self, learner: Learner, result: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    learner = make(tmp_path, cbs=PressTwice())
    with pytest.raises(KeyboardInterrupt):
        quietly(learner, Learner.fit, 3, 0.05, checkpoint=True)
    assert learner.batches_done == 0


def test_without_a_checkpoint_ctrl_c_comes_at_once(tmp_path: Path) -> None:
    threads = threading.active_count()
    learner = make(tmp_path, cbs=Press(), num_workers=2)
    with pytest.raises(KeyboardInterrupt):
        quietly(learner, Learner.fit, 3, 0.05)
    assert learner.batches_done == 2
    assert threading.active_count() == threads


# ---- what is asked for


def test_a_checkpoint_must_be_the_last_callback(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="behind all other callbacks"):
        quietly(make(tmp_path, cbs=[Checkpoint(), Noise()]), Learner.fit, 1, 0.05)


@pytest.mark.parametrize("given", [3, 0.5, Checkpoint])
def test_what_is_no_checkpoint_is_refused(given: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="expected True, a name, or a Checkpoint"):
        make(tmp_path).fit(1, checkpoint=given)


def test_resuming_without_writing_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="resume=True with checkpoint=False"):
        make(tmp_path).fit(1, checkpoint=False, resume=True)


@pytest.mark.parametrize("given", [{"every_seconds": 0}, {"every_batches": 0}])
def test_intervals_are_above_0(given: Any) -> None:
    with pytest.raises(ArgumentError, match="expected numbers above 0"):
        Checkpoint(**given)


def test_a_folder_that_cannot_be_written_is_said_before_the_first_batch(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    learner = make(tmp_path, cbs=Stop(0, 0))
    with pytest.raises(StorageError, match="models is a file; expected a folder"):
        quietly(learner, Learner.fit, 1, 0.05, checkpoint=True)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    quietly(make(tmp_path), Learner.fit, 1, 0.05, checkpoint="näme 🐈")
    path = tmp_path / "models" / "näme 🐈-1.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"näme 🐈-1\.safetensors is damaged"):
        quietly(make(tmp_path), Learner.fit, 1, 0.05, checkpoint="näme 🐈", resume=True)


def test_weights_are_no_checkpoint(tmp_path: Path) -> None:
    make(tmp_path).save("checkpoint-1")
    with pytest.raises(DataError, match="holds 'weights of a learner'; expected 'checkpoint of a run'"):
        quietly(make(tmp_path), Learner.fit, 1, 0.05, resume=True)
