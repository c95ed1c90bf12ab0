"""`learn.export('pets.plain')`: a learner as one file that holds no code, with a card that tells what it is."""

from __future__ import annotations

import copy
import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import torch
from torch import Tensor, nn

from plainlearn._version import __version__
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.paths import Path
from plainlearn.core.tensorfile import TENSORFILE
from plainlearn.core.wholefile import check_replaceable
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.blocks import CategoryBlock, MultiCategoryBlock
from plainlearn.data.dataset import describe_item
from plainlearn.inference import ood
from plainlearn.inference.drift import usual_of
from plainlearn.inference.modelfile import ModelFile, read_model_file, write_model_file
from plainlearn.inference.output_spec import output_spec_of, probabilities
from plainlearn.inference.reading import KINDS
from plainlearn.inference.serialize import to_plain
from plainlearn.metrics.evaluation import measured
from plainlearn.models.model import VisionModel
from plainlearn.train.calibration import fit_calibration
from plainlearn.train.learner import Learner
from plainlearn.train.state import bare, model_state
from plainlearn.train.step import loss_name
from plainlearn.vision.file_loaders import FileLoaders, reading_of, spec_of

if TYPE_CHECKING:
    from plainlearn.inference.onnx_export import Proof

__all__ = ["Validated", "content_of", "export", "export_onnx", "some_items", "validated"]

_SHOWN_AT: Final = 16
_LAST_ROWS: Final = 20  # of the history in a card


def export(
    learn: Learner,
    file: str | os.PathLike[str] = "export.plain",
    *,
    calibrate: bool = True,
    about: str = "",
    graph: bool = False,
    force: bool = False,
) -> Path:
    """Write the model, the way of its inputs, its labels and a card into one file below `learn.path`. Returns its path.

    The file holds no code: the transforms of validation go in as data, functions that label do not.
    `calibrate` finds the temperature that makes probabilities honest on the validation set, for this learner too;
    `about` is a sentence or more for the card. A file of plainlearn's at that path is replaced at once, or stays; any
    other is only with `force`.
    `graph` puts the network in as an ONNX graph too, if it proves to say the same on validation items, so that
    `plainlearn predict` and the server need no torch; it takes 5 to 10 seconds, and 1 % more of the file. The card says
    what was proved, or why there is none.

    Raises `ArgumentError` naming what cannot be data, such as a `Function` among the transforms that predictions need,
    or a block of your own; `StorageError` when the file cannot be written, or is another's; `MissingExtraError` for `graph` without
    `plainlearn[onnx]`.
    """
    path = learn.path / file
    if path.suffix in (".pkl", ".pth", ".pt"):
        raise ArgumentError(
            f"{path.name} is a name for a pickle, and this file is none",
            try_=f"learn.export('{path.stem}.plain')",
        )
    check_replaceable(path, TENSORFILE, force=force)
    content = content_of(learn, calibrate=calibrate, about=about)
    if learn.ranks.is_main:
        if graph:
            from plainlearn.inference.onnx_graph import with_graph

            content = with_graph(content, bare(learn.model), some_items(learn))
        write_model_file(path, content, force=force)
    learn.ranks.wait()
    return path


def export_onnx(
    source: Any,
    file: str | os.PathLike[str],
    *,
    images: Sequence[Any] = (),
    weights: Literal["fp32", "fp16", "int8"] = "fp32",
    tolerance: float = 1e-3,
    force: bool = False,
) -> Proof:
    """Write `source`, a learner or a model file, as ONNX, if onnxruntime then says what plainlearn says.

    Both are run on `images`, real ones such as the model will see; of a learner, on some of its validation items
    if none are given. All else is as in `inference.onnx_export.write_onnx`, and so are the errors.
    """
    from plainlearn.inference.onnx_export import write_onnx

    own: nn.Module | None = None
    if isinstance(source, (str, os.PathLike)):
        content = read_model_file(cast("str", source))
    else:
        content, images = content_of(source), images or some_items(source)
        if "custom" in content.architecture:
            own = copy.deepcopy(bare(source.model)).cpu()
    return write_onnx(
        content, file, images=images, model=own, weights=weights, tolerance=tolerance, force=force
    )


def some_items(learn: Learner) -> list[Any]:
    """A few validation items from all over, to prove by that two ways to predict say the same."""
    items: list[Any] = list(cast(BlockLoaders, learn.dls).datasets.valid.values(0))
    return items[:: max(1, len(items) // _SHOWN_AT)][:_SHOWN_AT]


def content_of(
    learn: Learner, *, calibrate: bool = True, about: str = "", seen: Validated | None = None
) -> ModelFile:
    """What `export` writes. `seen` is what `validated` gives, for who has it already."""
    dls = learn.dls
    if not isinstance(dls, BlockLoaders):
        raise ArgumentError(
            f"{type(dls).__name__} do not say how an input becomes a batch, nor what an output means",
            try_="loaders of a DataBlock or of ImageDataLoaders",
        )
    targets = dls.blocks[cast(int, dls.n_inp) :]
    if len(targets) != 1:
        named = " and ".join(block.name for block in targets) or "none"
        raise ArgumentError(
            f"there are {len(targets)} targets, {named}; a model file holds one, whose answers it can decode",
            try_="a learner for each target, or learn.save(file), which keeps the weights",
        )
    pipeline, target = reading_of(dls).as_plain(), to_plain(spec_of(targets[0]), KINDS)
    output_spec = output_spec_of(learn.loss_func)
    seen = validated(learn) if seen is None else seen
    calibration: dict[str, float] = {}
    fitted: dict[str, Tensor] = {}
    if seen is not None and calibrate and isinstance(targets[0], (CategoryBlock, MultiCategoryBlock)):
        calibration = fit_calibration(learn.loss_func, seen.outputs, seen.targets)
    limit: float | None = None
    if (
        seen is not None
        and seen.features is not None
        and isinstance(targets[0], CategoryBlock)
        and output_spec.activation == "softmax"
    ):
        fitted, limit = ood.fit(bare(learn.model), seen.features)
    output_spec = output_spec_of(learn.loss_func, ood_above=limit)
    usual: dict[str, Any] = {}
    if seen is not None and isinstance(targets[0], CategoryBlock) and output_spec.activation == "softmax":
        confidences, answers = probabilities(seen.outputs, output_spec).max(dim=1)
        scores = None
        if fitted and seen.features is not None:
            scores = ood.scores(seen.features.numpy(), ood.arrays_of(fitted))
        usual = usual_of(confidences, answers, len(targets[0].vocab), scores)
    model = bare(learn.model)
    state = model_state(model)
    return ModelFile(
        architecture=_architecture(model),
        weights=dict(state["weights"]),
        aside=dict(state["aside"]),
        pipeline=pipeline,
        target=target,
        output_spec=output_spec,
        ood=fitted,
        card={
            **_card(learn, seen, calibration, about),
            "usual": usual,
        },
    )


@dataclass(frozen=True)
class Validated:
    """Outputs, targets and, where they are known, features of the validation set."""

    outputs: Any
    targets: Any
    features: Tensor | None

    def __len__(self) -> int:
        return len(cast("Any", self.targets[0]) if isinstance(self.targets, tuple) else self.targets)


def validated(learn: Learner) -> Validated | None:
    """One pass over the validation set; None if there is none."""
    if learn.dls.valid is None or isinstance(learn.dls, FileLoaders):
        return None
    model = bare(learn.model)
    split = ood.parts(model) if isinstance(model, VisionModel) or type(model) is nn.Sequential else None
    caught: list[Tensor] = []
    hook = None if split is None else split[1][0].register_forward_pre_hook(
        lambda _layer, given: caught.append(given[0].float().cpu())
    )  # fmt: skip
    try:
        outputs, targets = learn.get_preds(act=lambda outputs: outputs)
    finally:
        if hook is not None:
            hook.remove()
    features = torch.cat(caught) if caught and all(each.ndim == 2 for each in caught) else None
    return Validated(outputs, targets, features)


def _architecture(model: nn.Module) -> dict[str, Any]:
    recipe = getattr(model, "recipe", None)
    if recipe is None:
        return {"custom": f"{type(model).__module__}.{type(model).__qualname__}"}
    expects = getattr(model, "expects", None)
    return {"recipe": asdict(recipe), "expects": None if expects is None else asdict(expects)}


def _card(
    learn: Learner, validated: Validated | None, calibration: dict[str, float], about: str
) -> dict[str, Any]:
    """All that can be told of a learner, as plain data."""
    model = bare(learn.model)
    expects = getattr(model, "expects", None)
    rows = learn.recorder.values
    return {
        "about": about,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": getattr(getattr(model, "recipe", None), "network", type(model).__name__),
        "parameters": sum(each.numel() for each in model.parameters()),
        "weights_from": None if expects is None else expects.name,
        "licence": "" if expects is None else expects.licence,
        "loss": loss_name(learn.loss_func),
        "data": _data(cast("BlockLoaders", learn.dls)),
        "metrics": []
        if validated is None
        else [
            {**measured(meter, validated.outputs, validated.targets)._asdict(), "items": len(validated)}
            for meter in learn.meters
        ],
        "calibration": calibration,
        "history": {
            "names": list(learn.recorder.metric_names),
            "epochs": len(rows),
            "rows": rows[-_LAST_ROWS:],
        },
        "versions": {
            "plainlearn": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "torchvision", "timm")},
        },
    }


def _data(dls: BlockLoaders) -> dict[str, Any]:
    """How many items, of which classes, and a fingerprint: a hash over the names of the items, side by side."""
    digest = hashlib.sha256()
    for side in (dls.datasets.train, dls.datasets.valid):
        for item in side.items:
            digest.update(describe_item(item).encode("utf-8", "surrogateescape") + b"\0")
        digest.update(b"\1")
    try:
        counts = [[label, count] for label, count in dls.datasets.train.counts().items()]
    except DataError:  # of a target without classes
        counts = []
    return {
        "train": len(dls.datasets.train),
        "valid": len(dls.datasets.valid),
        "counts": counts,
        "fingerprint": digest.hexdigest(),
    }
