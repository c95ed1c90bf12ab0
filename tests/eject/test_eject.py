"""An ejected script, run by itself without plainlearn, ends with the learner's weights and prints the learner's table."""

from __future__ import annotations

import ast
import errno
import linecache
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import plainlearn
from plainlearn.core.errors import ArgumentError, StorageError
from plainlearn.core.seed import set_seed
from plainlearn.data import DataLoader, DataLoaders
from plainlearn.eject import eject
from plainlearn.eject.network import code_of
from plainlearn.eject.source import Copied
from plainlearn.eject.write import library_name
from plainlearn.optim import SGD, Adam
from plainlearn.train import Callback, Learner

# A package of that name that cannot be imported, in front of the one that is installed.
ALONE = "raise ImportError('an ejected script needs no plainlearn')"


def mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """How far the squashed predictions are from their targets of 0 and 1, on average."""
    predictions = predictions.sigmoid()
    return torch.where(targets == 1, 1 - predictions, predictions).mean()


def batch_accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """The share of predictions on the right side of one half, after the sigmoid."""
    return ((predictions.sigmoid() > 0.5) == targets).float().mean()


def run_alone(script: Path, *arguments: str) -> str:
    """What the script prints in a process that cannot import plainlearn."""
    empty = script.parent / "without"
    (empty / "plainlearn").mkdir(parents=True, exist_ok=True)
    (empty / "plainlearn" / "__init__.py").write_text(ALONE)
    answer = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(empty)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def without_time(table: str) -> list[str]:
    """The rows of a table without their last column."""
    return [line.rpartition(" ")[0].rstrip() for line in table.splitlines()]


def prove(learn: Learner, script: Path, capsys: Any, **run: Any) -> str:
    """Eject, train, run the script: equal weights, bit for bit, and equal tables. Returns the script's text."""
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    random_before = torch.get_rng_state()
    eject(learn, script, **run)
    assert torch.equal(torch.get_rng_state(), random_before)
    assert all(torch.equal(before[name], value) for name, value in learn.model.state_dict().items())
    if "seed" in run:
        set_seed(run["seed"])
    settings = {name: value for name, value in run.items() if name not in ("recipe", "epochs", "lr", "seed")}
    rate = [run["lr"]] if "lr" in run else []
    capsys.readouterr()
    getattr(learn, run.get("recipe", "fit"))(run["epochs"], *rate, **settings)
    table = without_time(capsys.readouterr().out)
    assert without_time(run_alone(script)) == table
    after = learn.model.state_dict()
    with np.load(script.with_name(f"{script.stem}-trained.npz")) as trained:
        assert sorted(trained) == sorted(after)
        for name, value in after.items():
            assert np.array_equal(trained[name], value.numpy()), name
    text = script.read_text("utf-8")
    assert "import plainlearn" not in text
    assert "from plainlearn" not in text
    assert "plainlearn" not in imported(script.with_name(f"{library_name(script)}.py"))
    check_style(script)
    return text


def weights(learn: Learner) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in learn.model.state_dict().items()}


def weights_of(script: Path) -> dict[str, bytes]:
    """The same, of what the script left when it ran."""
    with np.load(script.with_name(f"{script.stem}-trained.npz")) as trained:
        return {name: trained[name].tobytes() for name in trained}


def check_style(script: Path) -> None:
    """What ruff asks of any file, and the formatting of ours."""
    library = script.with_name(f"{library_name(script)}.py")
    for file, rules, length in ((script, "E,F,I,B,UP,RUF100", 120), (library, "E,F,I,B,UP", 132)):
        for command in (
            ["check", "--select", rules, "--line-length", str(length)],
            ["format", "--check", "--line-length", "110"],
        ):
            answer = subprocess.run(
                [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", file.name],
                cwd=script.parent,
                capture_output=True,
                text=True,
            )
            assert answer.returncode == 0, answer.stdout + answer.stderr


def imported(script: Path) -> set[str]:
    """The packages that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [each.name for each in node.names]
            )
            found |= {name.partition(".")[0] for name in names}
    return found


def digits(count: int = 300) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    x = torch.rand(count, 784, generator=drawn)
    return x, (x[:, :392].mean(1, keepdim=True) > x[:, 392:].mean(1, keepdim=True)).long()


def loaders(bs: int = 64, **training: Any) -> DataLoaders:
    x, y = digits()
    train = DataLoader(list(zip(x[:200], y[:200], strict=True)), bs=bs, **training)
    return DataLoaders(train, DataLoader(list(zip(x[200:], y[200:], strict=True)), bs=bs), device="cpu")


def simple_net() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 1))


def test_the_linear_model_of_the_lesson_ends_equal(tmp_path: Path, capsys: Any) -> None:
    learn = Learner(loaders(), nn.Linear(784, 1), mnist_loss, SGD, metrics=batch_accuracy)
    text = prove(learn, tmp_path / "linear.py", capsys, epochs=3, lr=1.0)
    assert len(text.splitlines()) < 150


def test_the_simple_net_ends_equal_with_a_shuffled_order(tmp_path: Path, capsys: Any) -> None:
    learn = Learner(loaders(shuffle=True), simple_net(), mnist_loss, SGD, metrics=batch_accuracy)
    text = prove(learn, tmp_path / "net.py", capsys, recipe="fit", epochs=3, lr=0.1, seed=42)
    assert len(text.splitlines()) < 150
    assert "torch.manual_seed(42)" in text


def test_one_cycle_of_adam_ends_equal_whatever_the_generator_stood_at(tmp_path: Path, capsys: Any) -> None:
    torch.rand(7)
    net = nn.Sequential(nn.Linear(784, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(0.2), nn.Linear(30, 1))
    learn = Learner(loaders(shuffle=True, drop_last=True), net, mnist_loss, Adam, metrics=batch_accuracy)
    prove(learn, tmp_path / "cycle.py", capsys, recipe="fit_one_cycle", epochs=3, lr=0.01)


def test_depths_momentum_and_a_seeded_loader_are_kept(tmp_path: Path, capsys: Any) -> None:
    net = simple_net()
    learn = Learner(
        loaders(shuffle=True, seed=3), net, mnist_loss, partial(SGD, mom=0.9), wd=0.1,
        splitter=lambda model: [list(model[0].parameters()), list(model[2].parameters())],
    )  # fmt: skip
    list(learn.dls.train)  # an epoch that somebody looked at
    prove(learn, tmp_path / "depths.py", capsys, recipe="fit_one_cycle", epochs=2, lr=slice(0.01, 0.1))


@pytest.mark.parametrize("opt_func", [Adam, partial(SGD, mom=0.9)])
def test_an_optimizer_goes_on_with_what_it_remembers(opt_func: Any, tmp_path: Path, capsys: Any) -> None:
    learn = Learner(loaders(shuffle=True), simple_net(), mnist_loss, opt_func, metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(1, 0.01)
    text = prove(learn, tmp_path / "on.py", capsys, recipe="fit_one_cycle", epochs=2, lr=0.02)
    assert "goes on with what it remembers" in text


def test_the_package_itself_can_be_called(tmp_path: Path) -> None:
    learn = a_learner()
    script = plainlearn.eject(learn, tmp_path / "called.py", lr=0.1)
    assert script.read_text() == eject(learn, tmp_path / "called.py", lr=0.1).read_text()
    assert plainlearn.eject.eject is eject
    assert "eject" in plainlearn.__all__


def test_a_new_optimizer_starts_with_an_empty_memory(tmp_path: Path, capsys: Any) -> None:
    learn = Learner(loaders(shuffle=True), simple_net(), mnist_loss, Adam, metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(1, 0.01)
    text = prove(learn, tmp_path / "new.py", capsys, recipe="fit", epochs=2, lr=0.02, wd=0.3)
    assert "remembers" not in text


def test_ejecting_leaves_the_optimizer_as_it_is(tmp_path: Path) -> None:
    learn = Learner(loaders(), simple_net(), mnist_loss, Adam)
    with learn.no_logging():
        learn.fit(1, 0.01)
    before = learn.optimizer
    eject(learn, tmp_path / "train.py", lr=0.5)
    assert learn.optimizer is before
    assert {group["lr"] for group in before.param_groups} == {0.01}


def test_the_handle_alone_writes_one_epoch_of_what_suits_the_learner(tmp_path: Path, capsys: Any) -> None:
    learn = Learner(loaders(shuffle=True), simple_net(), mnist_loss, SGD, lr=0.1)
    script = eject(learn, tmp_path / "train.py")
    assert script.read_text("utf-8").startswith('"""fit(1, 0.1): ')
    learn.fit(1)
    capsys.readouterr()
    run_alone(script)
    assert weights_of(script) == weights(learn)


LAYERS = [
    nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.Conv1d(3, 4, 5), nn.ConvTranspose2d(3, 4, 2, 2), nn.LayerNorm((8, 8)),
    nn.LayerNorm(9), nn.Unflatten(1, (4, 4)), nn.Unflatten(1, (4,)), nn.BatchNorm2d(4, affine=False), nn.PReLU(),
    nn.InstanceNorm2d(3, affine=True), nn.GroupNorm(2, 4), nn.AdaptiveAvgPool2d((1, 1)), nn.MaxPool2d(2), nn.Flatten(),
    nn.Embedding(10, 3), nn.GELU("tanh"), nn.Upsample(scale_factor=2), nn.Linear(3, 4, bias=False), nn.ZeroPad2d(1),
    nn.Hardtanh(-2, 2), nn.LeakyReLU(0.1), nn.PixelShuffle(2), nn.Bilinear(2, 3, 4), nn.Softmax(1), nn.Dropout(0.2),
]  # fmt: skip


def test_the_code_of_a_layer_makes_the_same_layer() -> None:
    for layer in LAYERS:
        code = code_of(layer, Copied())
        made = eval(code, {"nn": nn})
        assert repr(made) == repr(layer), code
        shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (made, layer)]
        assert shapes[0] == shapes[1], code


class Net(nn.Module):
    """A model of somebody's own."""

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(784, hidden), nn.Linear(hidden, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)))


def flat_cross_entropy(predictions: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(predictions, targets[:, 0])


def test_a_class_of_ones_own_is_copied(tmp_path: Path, capsys: Any) -> None:
    learn = Learner(loaders(shuffle=True), Net(), flat_cross_entropy, torch.optim.Adagrad)
    text = prove(learn, tmp_path / "own.py", capsys, epochs=2, lr=0.01)
    assert "class Net(nn.Module):" in text


def test_the_same_learner_gives_the_same_text(tmp_path: Path) -> None:
    learn = Learner(loaders(shuffle=True), simple_net(), mnist_loss, SGD, metrics=batch_accuracy)
    first = eject(learn, tmp_path / "train.py", epochs=1, lr=0.1).read_text()
    arrays = (tmp_path / "train.npz").read_bytes()
    assert eject(learn, tmp_path / "train.py", epochs=1, lr=0.1).read_text() == first
    assert (tmp_path / "train.npz").read_bytes() == arrays


# ---------------------------------------------------------------- what is refused


class Watcher(Callback):
    def on_epoch(self, learner: Learner, epoch: Any) -> None: ...


def outer(factor: float) -> Any:
    def scaled_loss(predictions: Tensor, targets: Tensor) -> Tensor:
        return factor * mnist_loss(predictions, targets)

    return scaled_loss


class Asks(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(784, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def a_learner(
    model: nn.Module | None = None, loss: Any = mnist_loss, dls: Any = None, **more: Any
) -> Learner:
    return Learner(loaders() if dls is None else dls, model or simple_net(), loss, SGD, **more)


REFUSED = {
    "a lambda": (lambda: a_learner(loss=lambda p, t: (p - t).abs().mean()), "the loss is a lambda"),
    "a closure": (lambda: a_learner(loss=outer(2.0)), "uses factor of the function around it"),
    "a callback": (lambda: a_learner(cbs=Watcher()), "the callback Watcher"),
    "a class with arguments": (lambda: a_learner(Asks(1)), "Asks asks for width"),
    "a changed class": (lambda: a_learner(Net(9), flat_cross_entropy), "makes another model"),
    "another loader": (
        lambda: a_learner(dls=DataLoaders([(torch.zeros(4, 784), torch.ones(4, 1))], [(torch.zeros(4, 784), torch.ones(4, 1))])),
        "from a DataLoader of plainlearn; found: a list",
    ),
    "bf16": (lambda: a_learner().to_bf16(), "computes in bf16"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_down_is_refused_by_name(name: str, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ArgumentError, match=message):
        eject(make(), tmp_path / "train.py", epochs=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["train.py", "train.npz"])
def test_a_file_of_somebodys_own_is_not_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("print('mine')\n")
    with pytest.raises(StorageError, match=rf"{name} is there already, and plainlearn did not make it"):
        eject(a_learner(), tmp_path / "train.py", epochs=1)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "print('mine')\n"
    eject(a_learner(), tmp_path / "train.py", epochs=1, force=True)
    eject(a_learner(), tmp_path / "train.py", epochs=1)  # over its own


@pytest.mark.parametrize("stem", ['it\'s "so":\n\\Bär 狗 🐕.v2', "x" * 200], ids=["odd", "long"])
def test_a_script_of_any_name_in_a_folder_of_any_name_runs(stem: str, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / stem
    folder.mkdir()
    learn = Learner(loaders(shuffle=True), simple_net(), mnist_loss, SGD, metrics=batch_accuracy)
    prove(learn, folder / f"{stem}.py", capsys, epochs=1, lr=0.1)


def metric_called(name: str) -> Any:
    source = f"def {name}(predictions: Tensor, targets: Tensor) -> Tensor:\n    return predictions.mean()\n"
    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names: dict[str, Any] = {"Tensor": Tensor}
    exec(compile(source, file, "exec"), names)
    return names[name]


def test_many_metrics_with_long_names_are_laid_out(tmp_path: Path, capsys: Any) -> None:
    metrics = [metric_called(f"the_mean_of_all_predictions_number_{number}") for number in range(6)]
    learn = Learner(loaders(), simple_net(), mnist_loss, SGD, metrics=metrics)
    prove(learn, tmp_path / "train.py", capsys, epochs=1, lr=0.1)


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    assert eject(a_learner(), tmp_path / "not" / "there" / "train.py").is_file()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match=r"train\.npz cannot be written: .*taken is a file"):
        eject(a_learner(), tmp_path / "taken" / "train.py")


def test_a_full_disk_leaves_the_old_script_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = eject(a_learner(), tmp_path / "train.py", lr=0.1)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(StorageError, match=r"no room to write .*train\.npz"):
        eject(a_learner(), script, lr=0.2)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_two_that_eject_to_one_path_leave_a_whole_script(tmp_path: Path) -> None:
    learners = [a_learner() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        scripts = [pool.submit(eject, learn, tmp_path / "train.py", lr=0.1) for learn in learners]
    assert {script.result() for script in scripts} == {tmp_path / "train.py"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["train.npz", "train.py", "train_library.py"]
    run_alone(tmp_path / "train.py")


@pytest.mark.parametrize(
    ("path", "run", "message"),
    [
        ("train.txt", {}, "name of a Python file"),
        ("train.py", {"recipe": "fit_sgdr"}, "recipe is 'fit_sgdr'"),
        ("train.py", {"epochs": 0}, "n_epoch is 0"),
    ],
)
def test_a_run_that_cannot_be_is_refused(
    path: str, run: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=message):
        eject(a_learner(), tmp_path / path, **{"epochs": 1} | run)
