"""Several processes as one run. torchrun starts them, torch keeps their weights equal; here is what the loop asks.

    torchrun --nproc-per-node=2 train.py       the script is the same as for one process

Of every round of batches each process takes one. In training a last round that is not full is
left out, so that all take as many steps; in validation each batch is counted once, and the
numbers are put together in the order of the batches: they are those of one process.
"""

from __future__ import annotations

import atexit
import gc
import os
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from plainlearn.core.device import shard_round_robin
from plainlearn.core.errors import ArgumentError, DataError, ProcessError

#: How long a process waits for the others before it gives up.
PATIENCE = timedelta(seconds=60)


@runtime_checkable
class Shareable(Protocol):
    """A loader that can skip the batches of other processes without reading them, as ours do."""

    def shared(
        self, rank: int, size: int, *, whole_rounds: bool, agree: Callable[[int], int]
    ) -> Iterable[Any]: ...


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run: number `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes files."""
        return self.rank == 0

    # ---- the model

    def together(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model whose gradients are the mean over all processes; in one process, itself.

        All start from the weights of process 0. A model that `shard` has divided looks after itself.
        """
        if self.size == 1 or is_sharded(model) or not any(p.requires_grad for p in model.parameters()):
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)

    def same_buffers(self, model: nn.Module) -> None:
        """Give all processes the buffers of process 0: the statistics of batch norm are each one's own."""
        if self.size > 1:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)

    # ---- the data

    def share(self, batches: Iterable[Any], *, whole_rounds: bool) -> Iterable[Any]:
        """This process's part of an epoch's batches.

        Loaders of ours read only that. Of another loader each process reads all batches and passes over those
        of the others, unless it has a `DistributedSampler`, which divides the items already.
        """
        if self.size == 1 or _divides_itself(batches):
            return batches
        if isinstance(batches, Shareable):
            return batches.shared(self.rank, self.size, whole_rounds=whole_rounds, agree=self.agree)
        return shard_round_robin(batches, self.rank, self.size, whole_rounds=whole_rounds)

    def steps_of(self, batches: int) -> int:
        """How many steps of training an epoch of so many batches is; 0, not known, stays 0."""
        if 0 < batches < self.size:
            raise DataError(
                f"the training loader has {batches} batches for {self.size} processes; expected one each or more",
                try_="a smaller bs, or fewer processes",
            )
        return batches // self.size

    # ---- numbers

    def agree(self, number: int) -> int:
        """What process 0 says."""
        if self.size == 1:
            return number
        said = torch.tensor([int(number)], dtype=torch.int64, device=_where())
        torch.distributed.broadcast(said, 0)
        return int(said.item())

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, of each value."""
        if self.size == 1:
            return values
        total = values.to(_where(), torch.float64)
        torch.distributed.all_reduce(total)
        return total / self.size

    def in_order(self, values: Sequence[Any]) -> list[float]:
        """The numbers of all batches, in their order, from those of the batches that this process had."""
        own = [float(value) for value in _fetched(values)]
        if self.size == 1:
            return own
        counts = [torch.zeros(1, dtype=torch.int64, device=_where()) for _ in range(self.size)]
        torch.distributed.all_gather(counts, torch.tensor([len(own)], device=_where()))
        rounds = max(int(count.item()) for count in counts)
        padded = torch.zeros(rounds, dtype=torch.float64, device=_where())
        padded[: len(own)] = torch.tensor(own, dtype=torch.float64)
        parts = [torch.zeros_like(padded) for _ in range(self.size)]
        torch.distributed.all_gather(parts, padded)
        return [float(parts[rank][at]) for at in range(rounds) for rank in range(self.size)
                if at < int(counts[rank].item())]  # fmt: skip

    def of_all(self, own: object) -> list[Any]:
        """What each process has of its own, in their order."""
        if self.size == 1:
            return [own]
        everyone: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(everyone, own)
        return everyone

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            torch.distributed.barrier()


ALONE = Ranks()


def ranks(device: torch.device) -> Ranks:
    """This process among those that torchrun started, which it joins; alone, without torchrun.

    Raises `ArgumentError` when the environment speaks of processes in a way that torchrun does not.
    """
    if not torch.distributed.is_available():
        return ALONE
    if not torch.distributed.is_initialized():
        size = _of_environment("WORLD_SIZE", 1)
        if size == 1:
            return ALONE
        _of_environment("RANK", None)
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
        atexit.register(_leave)  # or gloo's threads may meet the end of the interpreter, and abort
    return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())


# ---- models that do not fit one device


def shard(model: nn.Module, device: torch.device) -> nn.Module:
    """Divide the weights, gradients and optimizer state of `model` over all processes (FSDP2), in place.

    To be called on every process, before the first `fit`. Each child of the model is gathered
    on its own when its turn comes, so a process never holds more than the largest. In one process nothing
    is done. Returns the model.
    """
    here = ranks(device)
    if here.size == 1 or is_sharded(model):
        return model
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model.to(device)
    for value in (*model.parameters(), *model.buffers()):  # all go on from the weights of process 0
        torch.distributed.broadcast(value.data, 0)
    mesh = init_device_mesh(device.type, (here.size,))
    for child in model.children():
        if any(True for _ in child.parameters()):
            fully_shard(child, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` has divided this model."""
    return any(hasattr(value, "full_tensor") for value in model.parameters())


def whole(value: object) -> Any:
    """A tensor that is divided over the processes, put together; all of them must ask. Others as they are."""
    return cast("Any", value).full_tensor() if hasattr(value, "full_tensor") else value


def divided_like(value: Any, here: Any) -> Any:
    """A whole tensor, divided as `here` is, if it is."""
    if not hasattr(here, "full_tensor") or hasattr(value, "full_tensor") or not isinstance(value, Tensor):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(here.device), here.device_mesh, here.placements)


# ---- how a run of several processes begins


def launch(function: Callable[..., Any], devices: int, *args: Any) -> None:
    """Run `function(*args)` in `devices` processes of this machine that train as one: for notebooks.

    Each process is a copy of this one (a fork), so what was defined in the notebook is there;
    CUDA must not have been used before. When one fails, the others are ended and a `ProcessError` says what it said.
    In a script, `torchrun --nproc-per-node=2 train.py` does the same.
    """
    if devices < 1:
        raise ArgumentError(f"devices is {devices}; expected 1 or more", try_="devices=2")
    if torch.cuda.is_available():
        if torch.cuda.is_initialized():
            raise ArgumentError(
                "CUDA has been used in this process already, and its copies could not use it",
                try_="restarting the kernel, and calling launch before anything is put on a GPU",
            )
        if devices > torch.cuda.device_count():
            raise ArgumentError(f"devices is {devices}; torch finds {torch.cuda.device_count()} GPUs")
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=devices, start_method="fork", max_restarts=0,
        run_id=str(uuid.uuid4()), rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0", monitor_interval=0.5,
    )  # fmt: skip
    try:
        elastic_launch(config, _told_last(function))(*args)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        told = cast("dict[str, Any] | str", failure.message)  # a sentence when a signal ended it
        raised = None if isinstance(told, str) else told
        said: Any = raised["message"] if raised else told
        wrong = ProcessError(f"process {rank} of {devices} failed, and the run was ended: {said}")
        if raised:
            wrong.add_note(str(raised["extraInfo"]["py_callstack"]))
        raise wrong from None


def _told_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, slow to complain that another process has gone: that one's own error is the one to hear."""

    def patient(*args: Any) -> Any:
        try:
            return function(*args)
        except RuntimeError as error:
            if "by peer" in str(error):
                time.sleep(5)
            raise

    return patient


def _of_environment(name: str, default: int | None) -> int:
    found = os.environ.get(name)
    if found is None and default is not None:
        return default
    if found is None or not found.isdigit():
        raise ArgumentError(
            f"the environment has WORLD_SIZE={os.environ.get('WORLD_SIZE')} and {name}={found}; expected a number, "
            "as torchrun sets it for each process",
            try_="torchrun --nproc-per-node=2 train.py, or unset WORLD_SIZE",
        )
    return int(found)


def _leave() -> None:
    """Leave the others in order.

    A thread of gloo's that puts away its last piece of work asks for the interpreter's lock; if the
    interpreter has begun to end by then, the thread aborts the process. It is given the time first.
    """
    gc.collect()
    time.sleep(0.1)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _divides_itself(batches: Any) -> bool:
    return type(getattr(batches, "sampler", None)).__name__ == "DistributedSampler"


def _where() -> torch.device:
    """Where tensors must be to travel between the processes."""
    if torch.distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _fetched(values: Sequence[Any]) -> list[Any]:
    if values and all(isinstance(value, Tensor) for value in values):
        return cast("list[Any]", torch.stack(list(values)).tolist())
    return list(values)
