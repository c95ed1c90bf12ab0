"""What is lost by decoding a JPEG at 1/2, 1/4 or 1/8, by how much larger than its outcome it stays.

A picture is read through a turn of 4°, once from all of its pixels and once from a smaller decode, and both are held
against the ideal (see presizing_scenes.py). The figures are decibels of the smaller decode above the full one's: the
most spare size that loses nothing is `_SPARE_TO_LEARN` in images/decode.py. Photos are the pets' own JPEGs, harder than
a phone's, which are softer pixel for pixel; the drawn scenes are saved at quality 93, colours at full and at half size.

    python benchmarks/jpeg_scales.py [--data ../shared/data] [--photos 12]
"""

from __future__ import annotations

import argparse
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from harness import Report, add_data_option, pets_in, positive
from presizing_scenes import Array, drawn, ideal, in_view, photos, psnr, ssim

from plainlearn.augment.geometry import Maps, compose, crop, identity, rotate, scaled_jpeg_crop
from plainlearn.augment.sampling.sample import sample_images
from plainlearn.images.decode import DecodeOptions, decode
from plainlearn.images.files import EncodedImage

SPARES = (1.5, 2.0, 2.5, 3.0, 4.0)
MOST = 180  # output pixels a side: the ideal reads 36 times as many


class Case(NamedTuple):
    kind: str
    data: bytes
    world: Array
    size: tuple[int, int]


def cases(archive: Path, count: int) -> Iterator[Case]:
    with tarfile.open(archive) as tar:
        files = {
            Path(member.name).stem: member for member in tar.getmembers() if member.name.endswith(".jpg")
        }
        for scene in photos(archive, count):
            stream = tar.extractfile(files[scene.name])
            assert stream is not None
            yield Case("photos", stream.read(), scene.world, scene.picture.shape[:2])
    for scene in drawn(sizes=(2048,)):
        for colours in ("444", "420"):
            data = simplejpeg.encode_jpeg(scene.picture, quality=93, colorsubsampling=colours)
            yield Case(scene.kind, data, scene.world, scene.picture.shape[:2])


def scores(case: Case, spare: float, scale: int) -> Iterator[dict[str, float]]:
    """Of the full decode, then of the smaller one, read at `spare` of its pixels for one of the outcome's."""
    footprint, (height, width) = spare * scale, case.size
    side = min(MOST, int(min(case.size) / footprint))
    seen_side = side * footprint
    place = (1 - seen_side / width) / 2, (1 - seen_side / height) / 2
    maps = compose(crop(*place, seen_side / width, seen_side / height), rotate(4.0))
    wanted, view = ideal(case.world, maps, side), in_view([maps], side)
    frame = EncodedImage(case.data).frame
    assert frame is not None
    for each in (1, scale):
        pixels = decode(EncodedImage(case.data), DecodeOptions(scale=each))
        where: Maps = identity() if each == 1 else scaled_jpeg_crop(*frame, each, pixels.shape)
        read = sample_images([pixels], compose(where, maps), (side, side))
        out = (read[0].permute(1, 2, 0) * 255).numpy().clip(0, 255)
        yield {name: psnr(out, wanted[name], view) for name in ("lz", "box")} | {
            "ssim": ssim(out, wanted["lz"], view)
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--photos", type=positive, default=12)
    options = parser.parse_args()
    archive = pets_in(options.data)
    torch.set_num_threads(1)

    gained: dict[tuple[str, float, str], list[float]] = {}
    for case in cases(archive, options.photos):
        for spare in SPARES:
            for scale in (2, 4):
                if min(case.size) < 40 * spare * scale:
                    continue  # what is left would be too small to judge
                full, small = scores(case, spare, scale)
                for measure in full:
                    key = case.kind, spare, measure
                    gained.setdefault(key, []).append(small[measure] - full[measure])
        print(".", end="", flush=True)
    print()

    report = Report(
        "jpeg_scales", "JPEGs decoded smaller: what it costs against a full decode", peer="full decode",
        versions={name: version(name) for name in ("plainlearn", "torch", "numpy", "simplejpeg")}, threads=1,
        rounds={"photos": options.photos, "drawn scenes": 4},
    )  # fmt: skip
    for (kind, spare, measure), values in gained.items():
        name = {"lz": "Lanczos ideal, dB", "box": "box ideal, dB", "ssim": "SSIM"}[measure]
        asked = -0.1 if spare == 3 and measure == "lz" else None
        report.figure(
            f"{kind}, {spare:g} times as large, {name} gained", [float(np.mean(values))], at_least=asked
        )
    report.figures = {" ".join(map(str, key)): float(np.mean(values)) for key, values in gained.items()}
    report.close()


if __name__ == "__main__":
    main()
