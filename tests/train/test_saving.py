"""Weights are saved with what they mean, and come back into a learner of the same making, or not at all."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, MissingFileError, StorageError
from plainlearn.core.tensorfile import read_tensorfile, write_tensorfile
from plainlearn.optim import SGD, Adam
from plainlearn.train import Learner


def make(
    path: Path, vocab: Any = ("cat", "dog"), model: nn.Module | None = None, opt_func: Any = Adam
) -> Learner:
    torch.manual_seed(0)
    batch = (torch.randn(4, 3), torch.tensor([0, 1, 0, 1]))
    dls = SimpleNamespace(train=[batch], valid=[batch], vocab=vocab)
    model = model or nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    return Learner(dls, model, nn.functional.cross_entropy, opt_func=opt_func, path=path, device="cpu")


def trained(path: Path, **given: Any) -> Learner:
    learner = make(path, **given)
    with learner.no_logging():
        learner.fit(2, 0.1)
    return learner


def test_weights_and_what_the_optimizer_remembers_come_back(tmp_path: Path) -> None:
    learner = trained(tmp_path)
    assert learner.save("stage-1") == tmp_path / "models" / "stage-1.safetensors"
    other = make(tmp_path)
    assert other.load("stage-1") is other
    for old, new in zip(learner.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(old, new)
        for key, value in learner.optimizer.state[old].items():
            assert torch.equal(value, other.optimizer.state[new][key])
    with learner.no_logging(), other.no_logging():
        learner.fit(2, 0.1)
        other.fit(2, 0.1)
    assert learner.recorder.losses == other.recorder.losses


def test_without_the_optimizer_only_the_weights_come_back(tmp_path: Path) -> None:
    learner = trained(tmp_path)
    learner.save("a", with_opt=False)
    other = make(tmp_path).load("a")
    assert other.optimizer is None
    learner.save("b")
    assert make(tmp_path).load("b", with_opt=False).optimizer is None


def test_what_is_frozen_stays_so_and_the_rest_remembers(tmp_path: Path) -> None:
    learner = trained(tmp_path)
    learner.save("a")
    other = make(tmp_path)
    other.model[0].requires_grad_(False)
    other.load("a")
    assert not other.model[0].weight.requires_grad
    assert torch.equal(other.model[0].weight, learner.model[0].weight)
    old, new = learner.model[2].weight, other.model[2].weight
    assert torch.equal(learner.optimizer.state[old]["exp_avg"], other.optimizer.state[new]["exp_avg"])
    assert other.model[0].weight not in other.optimizer.state


@pytest.mark.parametrize("name", ["stage 1", "näme 🐈", "resnet18-0.95", "runs/today/a", "b.safetensors"])
def test_a_name_may_hold_anything_that_a_file_may(name: str, tmp_path: Path) -> None:
    learner = trained(tmp_path)
    path = learner.save(name)
    assert path.is_file()
    assert path.suffixes[-1:] == [".safetensors"]
    make(tmp_path).load(name)


@pytest.mark.parametrize("name", ["", ".", "..", "runs/", "a\0b", "/"])
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="is no name for a file"):
        make(tmp_path).save(name)


def test_a_file_object_is_no_name(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="expected a name"):
        make(tmp_path).save(3)  # type: ignore[arg-type]


def deeper() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Linear(2, 2))


def smoother() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"vocab": ("cat", "cow")}, ["classes: only in the file: dog", "classes: only here: cow"]),
        ({"vocab": ("dog", "cat")}, ["classes in another order: cat, dog in the file, dog, cat here"]),
        ({"vocab": None}, ["classes: ['cat', 'dog'] in the file, nothing here"]),
        ({"model": deeper()}, ["layers: only here: 3", "weights: only here: 3.weight, 3.bias"]),
        ({"model": smoother()}, ["layers, 1: ReLU in the file, GELU here"]),
        (
            {"model": deeper()[:3].double()},
            ["weights, 0.weight: float32 (4, 3) in the file, float64 (4, 3) here"],
        ),
        ({"opt_func": SGD}, ["optimizer: Adam in the file, SGD here (with_opt=False leaves it out)"]),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_changed(
    given: Any, said: list[str], tmp_path: Path
) -> None:
    trained(tmp_path).save("a")
    other = make(tmp_path, **given)
    before = [parameter.clone() for parameter in other.model.parameters()]
    with pytest.raises(DataError) as caught:
        other.load("a")
    assert f"{tmp_path / 'models' / 'a.safetensors'} does not fit this learner:" in str(caught.value)
    for line in said:
        assert f"\n    {line}" in str(caught.value)
    assert all(torch.equal(a, b) for a, b in zip(before, other.model.parameters(), strict=True))


def test_what_fits_is_taken_when_asked_and_the_rest_is_named(tmp_path: Path) -> None:
    learner = trained(tmp_path)
    learner.save("a")
    other = make(tmp_path, model=deeper())
    with pytest.warns(UserWarning, match="weights: only here: 3.weight, 3.bias"):
        other.load("a", strict=False)
    assert torch.equal(other.model[0].weight, learner.model[0].weight)


# ---- files that are no file of ours


def empty(path: Path) -> None:
    path.write_bytes(b"")


def a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": 1}))


def a_pickle_of_torch(path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, path)


def another_s_safetensors(path: Path) -> None:
    save_file({"weight": torch.ones(1)}, path)


def from_the_future(path: Path) -> None:
    write_tensorfile(path, {}, None)
    path.write_bytes(path.read_bytes().replace(b'"plainlearn":"1"', b'"plainlearn":"9"'))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (empty, "is damaged: it is empty"),
        (a_pickle, "is a pickle, as torch.save writes them, which can run code"),
        (a_pickle_of_torch, "is a pickle"),
        (another_s_safetensors, "none that plainlearn wrote"),
        (from_the_future, "from a newer version of plainlearn: its format is 9"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_by_name(
    write: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "models" / "a.safetensors"
    path.parent.mkdir()
    write(path)
    with pytest.raises(DataError, match=said) as caught:
        make(tmp_path).load("a")
    assert str(path) in str(caught.value)


def test_a_folder_in_the_file_s_place_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "models" / "a.safetensors").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"a\.safetensors cannot be written: a folder has that name"):
        make(tmp_path).save("a")
    with pytest.raises(StorageError, match=r"a\.safetensors cannot be read: it is a folder"):
        make(tmp_path).load("a")


def test_a_file_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    trained(tmp_path).save("stage-1")
    with pytest.raises(MissingFileError, match=r"stage-2\.safetensors; .* holds stage-1\.safetensors"):
        make(tmp_path).load("stage-2")


def test_a_path_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="expected a folder that this user may write"):
        make(Path("/proc/plainlearn")).save("a")


# ---- weights of other libraries


def test_foreign_weights_are_read_when_asked(tmp_path: Path) -> None:
    learner = trained(tmp_path)
    (tmp_path / "models").mkdir()
    torch.save(learner.model.state_dict(), tmp_path / "models" / "plain.pth")
    torch.save({"model": learner.model.state_dict(), "opt": {"lr": 1}}, tmp_path / "models" / "nested.pth")
    save_file(learner.model.state_dict(), tmp_path / "models" / "other.safetensors")
    for name in ("plain.pth", "nested.pth", "other.safetensors"):
        other = make(tmp_path, vocab=None).load(name, foreign=True)
        assert torch.equal(other.model[2].weight, learner.model[2].weight)


class Harmful:
    def __reduce__(self) -> Any:
        return os.mkdir, ("harm",)


def test_a_foreign_file_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    torch.save({"weight": Harmful()}, tmp_path / "models" / "a.pth")
    with pytest.raises(DataError, match=r"a\.pth holds more than weights, or is damaged, and was not read"):
        make(tmp_path).load("a.pth", foreign=True)
    assert not (tmp_path / "harm").exists()


def test_foreign_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    torch.save(deeper().state_dict(), tmp_path / "models" / "a.pth")
    with pytest.raises(DataError, match=r"weights: only in the file: 3\.weight, 3\.bias"):
        make(tmp_path).load("a.pth", foreign=True)


@pytest.mark.parametrize("method", [Learner.save, Learner.load])
def test_a_pickle_s_name_is_refused_unless_foreign(method: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"a\.pth is a name for a pickle") as caught:
        method(make(tmp_path), "a.pth")
    assert "foreign=True" in str(caught.value)


def test_the_file_says_what_the_weights_are_of(tmp_path: Path) -> None:
    _, meta = read_tensorfile(trained(tmp_path).save("a"))
    assert meta["tree"]["facts"]["classes"] == ["cat", "dog"]
    assert meta["tree"]["facts"]["architecture"] == "Sequential"
    assert meta["tree"]["about"] == {
        "loss": "cross_entropy",
        "metrics": [],
        "trainable": ["0.weight", "0.bias", "2.weight", "2.bias"],
    }


def test_a_file_of_somebody_s_own_is_replaced_only_by_force(tmp_path: Path) -> None:
    learn = make(tmp_path)
    file = tmp_path / "models" / "stage-1.safetensors"
    file.parent.mkdir()
    save_file({"w": torch.zeros(2)}, file)
    before = file.read_bytes()
    with pytest.raises(
        StorageError, match=r"is there already, and plainlearn did not make it[\s\S]*force=True"
    ):
        learn.save("stage-1")
    assert file.read_bytes() == before
    learn.save("stage-1", force=True)
    learn.save("stage-1")  # over its own
    assert file.read_bytes() != before
