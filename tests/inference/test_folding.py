"""A network that was made ready says the same, whatever its layers are called and however they are wired."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from plainlearn.inference.folding import ready_to_predict


def trained(model: nn.Module, example: Tensor) -> nn.Module:
    """With averages that are not those of the start."""
    model.train()
    for _ in range(3):
        model(3 * example + 1)
    return model.eval().requires_grad_(False)


class Crossed(nn.Module):
    """Layers in another order than that of their calls; one convolution is used twice, one norm comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.first_norm, self.a, self.shared = (
            nn.BatchNorm2d(3),
            nn.Conv2d(3, 4, 3, bias=False),
            nn.Conv2d(4, 4, 1),
        )
        self.norm_of_shared, self.norm_of_a = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.both, self.norm_of_both = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_of_a(self.a(self.first_norm(x)))
        x = self.shared(self.norm_of_shared(self.shared(x)))
        straight = self.both(x)
        return straight + self.norm_of_both(straight)


def norms(model: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


def test_a_network_says_the_same_with_fewer_layers() -> None:
    torch.manual_seed(0)
    example = torch.rand(2, 3, 16, 16)
    model = trained(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3)), example
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ready = ready_to_predict(model, example)
    assert norms(model) == 1 and norms(ready) == 0
    assert torch.allclose(ready(example * 0.3), model(example * 0.3), atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_norms_with_an_activation_inside_keep_it() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    example = torch.rand(2, 3, 32, 32)
    model = trained(timm.create_model("test_efficientnet", num_classes=3), example)
    ready = ready_to_predict(model, example)
    assert norms(model) > 5 and norms(ready) == 0
    assert torch.allclose(ready(example * 0.5), model(example * 0.5), atol=1e-5)


def test_what_cannot_be_folded_alone_is_left_and_nothing_changes() -> None:
    torch.manual_seed(0)
    example = torch.rand(2, 3, 8, 8)
    model = trained(Crossed(), example)
    ready = ready_to_predict(model, example)
    assert torch.allclose(ready(example * 0.5), model(example * 0.5), atol=1e-5)
    # A sum of what went into a norm and what came out cannot be told from outside: the check undoes it all.
    assert ready is model
    model.both, model.norm_of_both = nn.Identity(), nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    ready = ready_to_predict(model, example)
    assert ready is not model and norms(model) - norms(ready) == 1


def test_norms_that_look_at_their_batch_are_left_alone() -> None:
    example = torch.rand(2, 3, 8, 8)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert norms(ready_to_predict(model, example)) == 1
    training = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert ready_to_predict(training, example) is training


def test_a_network_without_batch_norm_is_no_copy() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1)).eval()
    assert ready_to_predict(model, torch.rand(1, 3, 4, 4)) is model
