"""Pictures for docs/sharpness.md: the same parts of the same scenes as each library presizes them, side by side.

Drawn scenes (fur, text, a zone plate, a star) go into docs/images. With `--photo` photos of the pets instead, into
build/sharpness, for your own eyes: photos are not ours to hand on. The same draws give the same files.

    python benchmarks/presizing_pictures.py [--photo] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from harness import HERE, ROOT, Worker, add_data_option, pets_in
from peers import peers_python
from PIL import Image, ImageDraw, ImageFont
from presizing_quality import Case, from_the_original
from presizing_scenes import SIZE, Array, Draw, Scene, drawn, gradient_energy, photos, psnr, ssim

THEIRS = {"fastai": "fastai", "kornia": "kornia", "torchvision": "torchvision v2"}
# Everything at once, none of it extreme.
DRAW = Draw(
    flip=False, degrees=7.0, zoom=1.05, zoom_at=(0.4, 0.6), warp=(0.1, -0.08), left=14, top=20, side=424
)
# Far enough for a corner to look beyond the picture.
BEYOND = Draw(
    flip=False, degrees=10.0, zoom=1.0, zoom_at=(0.5, 0.5), warp=(0.2, -0.2), left=0, top=0, side=400
)
PART, TIMES = 80, 3  # pixels of the output that are shown, and how many times enlarged
GAP, HEAD, FOOT = 10, 30, 30
INK, PALE = (30, 30, 34), (110, 110, 118)


class Shown(NamedTuple):
    """A scene, and the top left corner of the part of its 224 × 224 pixels that is shown.

    `whole`: measured over all of them, not only where the footprint stays in the frame.
    """

    name: str
    scene: Scene
    left: int
    top: int
    draw: Draw = DRAW
    whole: bool = False


def fur(width: int = 4096, seed: int = 5) -> Scene:
    """Hairs of many widths along a swirl, dark and light in bands: what presizing makes felt of."""
    height, rng = width * 3 // 4, np.random.default_rng(seed)
    page = Image.new("RGB", (width, height), (120, 92, 66))
    pen = ImageDraw.Draw(page)
    for thick, count in ((40, 2500), (20, 7000), (10, 16000), (5, 26000)):
        x, y = rng.uniform(0, width, count), rng.uniform(0, height, count)
        length, shade = rng.uniform(90, 240, count), rng.normal(0, 1, count)
        for x0, y0, reach, light in zip(x, y, length, shade, strict=True):
            band = np.sin((x0 * 0.6 + y0) / 210 + 2.2 * np.sin(x0 / 700) + 1.4 * np.cos(y0 / 500))
            tone = np.array([134, 100, 70]) + 62 * band * np.array([1.1, 1, 0.9]) + 30 * light
            angle = 0.9 + 0.8 * np.sin(x0 / 900) + 0.7 * np.cos(y0 / 650) + 0.12 * light
            bend = angle + 0.35
            middle = x0 + reach / 2 * np.cos(angle), y0 + reach / 2 * np.sin(angle)
            end = middle[0] + reach / 2 * np.cos(bend), middle[1] + reach / 2 * np.sin(bend)
            ink = tuple(int(v) for v in tone.clip(12, 244))
            pen.line(
                [(x0, y0), middle, end],
                fill=ink,
                width=max(1, round(thick * (0.7 + 0.1 * light))),
                joint="curve",
            )
    world, k = np.asarray(page, np.float32), width // 1024
    mean = world.reshape(height // k, k, 1024, k, 3).mean((1, 3))
    return Scene("fur", "fur", world, np.rint(mean).clip(0, 255).astype(np.uint8))


def read_by_peers(shown: list[Shown]) -> dict[str, Array]:
    """By library, what it makes of each picture."""
    made: dict[str, Array] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Worker(peers_python(), HERE / "presizing_peers.py", threads=1) as worker,
    ):
        held, out = Path(folder, "pictures.npz"), Path(folder, "out.npy")
        np.savez(
            held, **{f"{k:04d}": picture for k, picture in enumerate(each.scene.picture for each in shown)}
        )  # type: ignore[arg-type]
        worker.ask("load", file=str(held))
        for recipe, name in THEIRS.items():
            draws = [each.draw.for_peers(k) for k, each in enumerate(shown)]
            worker.ask("read", recipe=recipe, draws=draws, out=str(out))
            made[name] = np.load(out)
    return made


def strip(shown: Shown, outs: dict[str, Array]) -> Image.Image:
    """One scene: each library's reading above, its error below (grey is none), and what was measured of the whole."""
    case = Case(shown.scene, shown.draw)
    case.prepare(False)
    ideal, seen = case.ideals[False]["lz"], case.views[False] | shown.whole
    side = PART * TIMES
    columns = {"the ideal": ideal, **outs}
    wide = len(columns) * (side + GAP) + GAP
    sheet = Image.new("RGB", (wide, HEAD + 2 * side + GAP + FOOT + GAP), "white")
    pen, large, small = ImageDraw.Draw(sheet), ImageFont.load_default(17), ImageFont.load_default(14)
    part = (slice(shown.top, shown.top + PART), slice(shown.left, shown.left + PART))
    for column, (name, out) in enumerate(columns.items()):
        left = GAP + column * (side + GAP)
        pen.text((left + side / 2, HEAD / 2), name, INK, large, anchor="mm")
        sheet.paste(enlarged(out[part]), (left, HEAD))
        below = HEAD + side + GAP
        if name == "the ideal":
            words = "in this row\nwhat is wrong,\ntwice as strong\n\ngrey: nothing"
            pen.multiline_text(
                (left + side / 2, below + side / 2), words, PALE, large, anchor="mm", align="center"
            )
            continue
        sheet.paste(enlarged(127.5 + 2 * (out - ideal)[part]), (left, below))
        out = out.clip(0, 255)
        sharp = gradient_energy(out, seen) / gradient_energy(ideal, seen)
        figures = f"{psnr(out, ideal, seen):.1f} dB   SSIM {ssim(out, ideal, seen):.3f}   sharp {sharp:.2f}"
        pen.text((left + side / 2, below + side + FOOT / 2), figures, INK, small, anchor="mm")
        print(f"{shown.name:<12} {name:<16} {figures}")
    return sheet


def enlarged(part: Array) -> Image.Image:
    pixels = np.rint(part).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((PART * TIMES, PART * TIMES), Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--photo", action="store_true", help="photos instead, into build/sharpness")
    options = parser.parse_args()
    if options.photo:
        folder = ROOT / "build" / "sharpness"
        found = photos(pets_in(options.data), 6)
        scenes = [Shown(scene.name, scene, (SIZE - PART) // 2, (SIZE - PART) // 2) for scene in found]
    else:
        folder = ROOT / "docs" / "images"
        made = {scene.name: scene for scene in drawn()}
        hairs = fur()
        scenes = [
            Shown("fur", hairs, 72, 72),
            Shown("text", made["text1024"], 60, 96),
            Shown("zone", made["zone1024"], 8, 70),
            Shown("corner", hairs, 0, 0, BEYOND, whole=True),
        ]
    folder.mkdir(parents=True, exist_ok=True)
    theirs = read_by_peers(scenes)
    for number, shown in enumerate(scenes):
        outs = {"plainlearn": from_the_original(shown.scene.picture, shown.draw)}
        outs |= {name: every[number] for name, every in theirs.items()}
        file = folder / f"sharpness-{shown.name}.png"
        strip(shown, outs).save(file, optimize=True)
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
