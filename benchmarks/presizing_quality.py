"""How sharp presized pictures are: ours and the peers' against what a perfect camera would have made.

The ideal is built here (see presizing_scenes.py): photos, text of several sizes, a zone plate with a star, each
read 36 times an output pixel through the exact map. Every pipeline gets the same pictures and the same draws of
the lesson's augmentation (460, then flip, turn, zoom, tilt and crop to 224), and is compared with the ideal of the
map that it means to follow.

lz, box   decibels (PSNR) against the ideal filtered by Lanczos-3, and by the output pixel's box, where the
          footprint stays in the frame at every stage; full: over the whole output, borders included (Lanczos)
ssim      structural similarity to the Lanczos ideal
sharp     gradient energy over the Lanczos ideal's: 1 is neither blurred nor aliased, below .6 visibly soft
alias     where the zone plate is finer than the output can show: what is left of it, in decibels (read it
          beside sharp: a blurred pipeline scores well)
shift     how far pixels are out of place, in output pixels, shown by soft dots (0.02 is the measure's own)

    python benchmarks/presizing_quality.py [--data ../shared/data] [--photos 24] [--no-peers]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from harness import HERE, Report, Worker, add_data_option, pets_in, positive
from peers import peers_python, versions_in
from presizing_scenes import (
    LARGE,
    SIZE,
    Array,
    Draw,
    Scene,
    displacement,
    dots,
    drawn,
    draws,
    gradient_energy,
    ideal,
    in_view,
    photos,
    psnr,
    ssim,
    too_fine,
)

from plainlearn.augment.geometry import Maps, compose, fit
from plainlearn.augment.sampling.kernel import Mode
from plainlearn.augment.sampling.sample import sample_images

Picture = npt.NDArray[np.uint8]
OURS = "plainlearn"
KINDS = {"photo": "photos", "text": "text", "zone": "zone plate and star"}
MEASURES = ("lz", "box", "ssim", "sharp", "full", "alias")


def from_the_original(picture: Picture, draw: Draw, mode: Mode = "cubic") -> Array:
    """Read once, straight from what was decoded: what plainlearn does by itself on the CPU."""
    whole = compose(fit(picture.shape[:2], (LARGE, LARGE)), *draw.stages())
    return finished(sample_images([picture], whole, (SIZE, SIZE), mode=mode))


def presized(picture: Picture, draw: Draw) -> Array:
    """The course's two steps: a square of 460 in 8 bits, then the batch's maps in one reading."""
    square = sample_images([picture], fit(picture.shape[:2], (LARGE, LARGE)), (LARGE, LARGE))
    square = (square * 255).round().to(torch.uint8)
    return finished(sample_images(square, compose(*draw.stages()), (SIZE, SIZE), layout="chw"))


def finished(batch: torch.Tensor) -> Array:
    return (batch[0].permute(1, 2, 0) * 255).numpy()


MINE: dict[str, Callable[[Picture, Draw], Array]] = {
    OURS: from_the_original,
    "plainlearn, from 460": presized,
    "plainlearn, bilinear": lambda picture, draw: from_the_original(picture, draw, "bilinear"),
}
THEIRS = ("one bilinear grid", "fastai", "kornia", "torchvision", "torchvision crop first")


@dataclass
class Case:
    """A picture, a draw, and what should be seen; cropping first is another map with another ideal."""

    scene: Scene
    draw: Draw
    ideals: dict[bool, dict[str, Array]] = field(default_factory=dict)
    views: dict[bool, npt.NDArray[np.bool_]] = field(default_factory=dict)
    fine: dict[bool, npt.NDArray[np.bool_]] = field(default_factory=dict)

    def prepare(self, crop_first: bool) -> None:
        stages = self.draw.stages(crop_first=crop_first)
        whole: Maps = compose(fit(self.scene.picture.shape[:2], (LARGE, LARGE)), *stages)
        self.ideals[crop_first] = ideal(self.scene.world, whole, SIZE)
        self.views[crop_first] = in_view(stages, SIZE)
        if self.scene.kind == "zone":
            self.fine[crop_first] = too_fine(self.scene.world.shape[:2], whole, SIZE) & self.views[crop_first]

    def score(self, out: Array, crop_first: bool) -> dict[str, float]:
        out = out.clip(0, 255)
        wanted, seen = self.ideals[crop_first], self.views[crop_first]
        scores = {
            "lz": psnr(out, wanted["lz"], seen),
            "box": psnr(out, wanted["box"], seen),
            "ssim": ssim(out, wanted["lz"], seen),
            "sharp": gradient_energy(out, seen) / gradient_energy(wanted["lz"], seen),
            "full": psnr(out, wanted["lz"]),
        }
        fine = self.fine.get(crop_first)
        if fine is not None and fine.any():
            scores["alias"] = 10 * np.log10(max(float(out[fine].var()), 1e-6) / (102**2 / 2))
        return scores


def gather(options: argparse.Namespace) -> list[Case]:
    scenes: list[tuple[Scene, int]] = []
    archive = pets_in(options.data)
    made = iter(draws(options.photos + 12, options.seed))
    cases: list[Case] = []
    scenes += [(scene, 1) for scene in photos(archive, options.photos)]
    scenes += [(scene, 2) for scene in drawn()]
    for scene, count in scenes:
        for draw in (next(made) for _ in range(count)):
            case = Case(scene, draw)
            for crop_first in (False, True) if options.peers else (False,):
                case.prepare(crop_first)
            cases.append(case)
        print(f"\rideals: {len(cases)}", end="", flush=True)
    print()
    return cases


def read_by_peers(
    cases: list[Case], squares: list[tuple[Picture, Draw]]
) -> tuple[dict[str, Array], dict[str, str]]:
    """What each peer makes of every case, and of the dots that come after them."""
    python = peers_python()
    pictures = [case.scene.picture for case in cases] + [picture for picture, _ in squares]
    orders = [case.draw for case in cases] + [draw for _, draw in squares]
    results: dict[str, Array] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Worker(python, HERE / "presizing_peers.py", threads=1) as worker,
    ):
        held, out = Path(folder, "pictures.npz"), Path(folder, "out.npy")
        np.savez(held, **{f"{k:04d}": picture for k, picture in enumerate(pictures)})  # type: ignore[arg-type]
        able = worker.ask("load", file=str(held))["recipes"]
        for recipe in (name for name in THEIRS if name in able):
            asked = [draw.for_peers(k, crop_first="crop first" in recipe) for k, draw in enumerate(orders)]
            worker.ask("read", recipe=recipe, draws=asked, out=str(out))
            results[recipe] = np.load(out)
    return results, versions_in(python)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--photos", type=positive, default=24)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    options = parser.parse_args()
    torch.set_num_threads(1)

    cases = gather(options)
    dotted = [(dots(LARGE), draw) for draw in draws(6, options.seed + 1)]
    scores: dict[str, list[dict[str, float]]] = {}
    shifts: dict[str, list[float]] = {}
    for name, read in MINE.items():
        scores[name] = [case.score(read(case.scene.picture, case.draw), False) for case in cases]
        shifts[name] = [
            displacement(read(picture, draw), compose(*draw.stages())) for picture, draw in dotted
        ]
    versions: dict[str, object] = {
        name: version(name) for name in ("plainlearn", "torch", "numpy", "numba", "pillow")
    }
    if options.peers:
        results, versions["peers"] = read_by_peers(cases, dotted)
        for name, outs in results.items():
            first = "crop first" in name
            scores[name] = [
                case.score(out, first) for case, out in zip(cases, outs[: len(cases)], strict=True)
            ]
            pairs = zip(outs[len(cases) :], dotted, strict=True)
            shifts[name] = [
                displacement(out, compose(*draw.stages(crop_first=first))) for out, (_, draw) in pairs
            ]

    report = Report(
        "presizing_quality",
        "Presizing: to 224 through one draw of the lesson's augmentation, against the ideal",
        peer="fastai",
        versions=versions,
        threads=1,
        rounds={"photos": options.photos, "drawn scenes": 12},
    )
    means = {name: mean_by_kind(cases, each) for name, each in scores.items()}
    report.figures = {name: {**each, "shift": float(np.mean(shifts[name]))} for name, each in means.items()}
    print_all(report.figures)

    def figure(what: str, kind: str, measure: str, **asked: float) -> None:
        values = [means[OURS][kind][measure]]
        peer = [means["fastai"][kind][measure]] if "fastai" in means else []
        report.figure(what, values, peer=peer, **asked)  # type: ignore[arg-type]

    figure("photos, Lanczos ideal, dB", "photo", "lz", at_least=48)
    figure("photos, box ideal, dB", "photo", "box", at_least=48)
    figure("photos, SSIM", "photo", "ssim", at_least=0.995)
    figure("photos, sharpness, lowest allowed", "photo", "sharp", at_least=0.85)
    figure("photos, sharpness, highest allowed", "photo", "sharp", at_most=1.05)
    figure("photos, the full frame, dB", "photo", "full", at_least=47)
    figure("text, Lanczos ideal, dB", "text", "lz", at_least=33)
    figure("zone plate and star, Lanczos ideal, dB", "zone", "lz", at_least=32.5)
    figure("zone plate, what aliases, dB", "zone", "alias")
    report.notes += [
        f"{name}: photos {each['photo']['lz']:.1f} / {each['photo']['box']:.1f} dB, text {each['text']['lz']:.1f}, "
        f"zone {each['zone']['lz']:.1f}, full {each['photo']['full']:.1f}, sharp {each['photo']['sharp']:.2f}, "
        f"out of place by {np.mean(shifts[name]):.2f} px"
        for name, each in means.items()
    ]
    report.close()


def mean_by_kind(cases: list[Case], scores: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    means: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        chosen = [score for case, score in zip(cases, scores, strict=True) if case.scene.kind == kind]
        means[kind] = {
            measure: float(np.mean([score[measure] for score in chosen if measure in score]))
            for measure in MEASURES
            if any(measure in score for score in chosen)
        }
    return means


def print_all(figures: dict[str, dict[str, object]]) -> None:
    for kind, title in KINDS.items():
        print(f"\n{title:<24}" + "".join(f"{measure:>8}" for measure in MEASURES))
        for name, each in figures.items():
            row = each[kind]
            assert isinstance(row, dict)
            cells = (
                f"{row[m]:8.3f}" if m in ("ssim", "sharp") else f"{row[m]:8.1f}" if m in row else " " * 8
                for m in MEASURES
            )
            print(f"{name:<24}" + "".join(cells))


if __name__ == "__main__":
    main()
