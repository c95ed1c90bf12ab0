"""Fit the moving part of the cubic kernel (`augment/sampling/kernel.py`) and print it.

The numbers there come from here. What is fitted: over photos, text and a zone plate, each through a random
map, the sampled picture is to lie as near as it can to a point between the two ideals of `presizing_scenes`,
Lanczos and box; errors are measured in units of the ideals' own distance. The photos are not those that
presizing_quality.py measures. Gauss-Newton with differences, three rounds, some minutes.

    python benchmarks/presizing_kernel.py --data ../shared/data
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from harness import add_data_option, pets_in
from presizing_scenes import LARGE, SIZE, Scene, drawn, draws, ideal, in_view, photos

from plainlearn.augment.geometry import compose, fit, to_pixels
from plainlearn.augment.sampling.kernel import CUBIC, TERMS, Kernel
from plainlearn.augment.sampling.sample import sample_on_cpu

Vector = npt.NDArray[np.float64]
# Where between box (0) and Lanczos (1) to aim, and how much a scene counts.
AIM = {"photo": 0.53, "text": 0.6, "zone": 0.6}
WEIGHT = {"photo": 2.0, "text": 1.0, "zone": 1.0}


class Case:
    """One scene through one map: the picture, where to look, and what should be seen there."""

    def __init__(self, scene: Scene, stages: list[npt.NDArray[np.float64]], rng: np.random.Generator) -> None:
        whole = compose(fit(scene.picture.shape[:2], (LARGE, LARGE)), *stages)
        self.kind = scene.kind
        self.picture = np.ascontiguousarray(scene.picture)
        self.maps = to_pixels(whole, scene.picture.shape[:2], (SIZE, SIZE))
        seen = np.flatnonzero(in_view(stages, SIZE).ravel())
        self.where = rng.choice(seen, min(4000, len(seen)), replace=False)
        both = ideal(scene.world, whole, SIZE)
        self.lanczos, self.box = (both[name].reshape(-1, 3)[self.where] for name in ("lz", "box"))
        self.distance = float(np.sqrt(((self.lanczos - self.box) ** 2).mean()))

    def read(self, kernel: Kernel) -> npt.NDArray[np.float32]:
        out = np.empty((1, 3, SIZE, SIZE), np.float32)
        sample_on_cpu([self.picture], self.maps, out, kernel, "reflection", None, 1)
        return out[0].reshape(3, -1).T[self.where] * 255

    def error(self, kernel: Kernel) -> Vector:
        aim = AIM[self.kind] * self.lanczos + (1 - AIM[self.kind]) * self.box
        return WEIGHT[self.kind] * (self.read(kernel) - aim).ravel() / self.distance

    def decibels(self, kernel: Kernel) -> tuple[float, float]:
        read = self.read(kernel)
        return tuple(10 * np.log10(255**2 / ((read - to) ** 2).mean()) for to in (self.lanczos, self.box))


def resting() -> tuple[float, float]:
    """a₁ and a₂: least squares to the Lanczos kernel of 2½ lobes."""
    t = np.linspace(0, CUBIC.radius, 2000)
    q, u = t**2, (t / CUBIC.radius) ** 2
    base = (1 - q) * (1 - q / 4) * (1 - u) ** 2
    wanted = np.sinc(t) * np.sinc(t / CUBIC.radius)
    a, *_ = np.linalg.lstsq(np.stack([base * u, base * u * u], 1), wanted - base, rcond=None)
    return float(a[0]), float(a[1])


def shaped(values: Vector) -> Kernel:
    return replace(
        CUBIC, rest=resting(), moving=tuple(tuple(row) for row in values.reshape(3, TERMS).tolist())
    )


def fitted(cases: list[Case], rounds: int, ridge: float) -> Vector:
    values = np.zeros(3 * TERMS)
    step = 1e-2
    for _ in range(rounds):
        now = [case.error(shaped(values)) for case in cases]
        normal, slope = np.eye(len(values)) * ridge * sum(map(len, now)), np.zeros_like(values)
        for case, error in zip(cases, now, strict=True):
            moved = (case.error(shaped(values + step * unit)) for unit in np.eye(len(values)))
            jacobian = np.stack([(each - error) / step for each in moved], 1)
            normal += jacobian.T @ jacobian
            slope += jacobian.T @ error
        slope += ridge * sum(map(len, now)) * values
        values = values - np.linalg.solve(normal, slope)
    return values


def report(name: str, cases: list[Case], kernel: Kernel) -> None:
    for kind in AIM:
        pairs = np.array([case.decibels(kernel) for case in cases if case.kind == kind])
        if len(pairs):
            print(
                f"{name:>8} {kind:>6}: Lanczos {pairs[:, 0].mean():.2f} dB, box {pairs[:, 1].mean():.2f} dB"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ridge", type=float, default=1e-7)
    options = parser.parse_args()
    archive = pets_in(options.data)
    rng = np.random.default_rng(0)
    others = [scene for scene in drawn() for _ in range(3)]

    def cases(scenes: list[Scene], seed: int) -> list[Case]:
        made = draws(len(scenes), seed)
        return [Case(scene, draw.stages(), rng) for scene, draw in zip(scenes, made, strict=True)]

    learn = cases([*photos(archive, options.photos, between=True), *others], 1)
    held_out = cases(list(photos(archive, options.photos)), 2)
    values = fitted(learn, options.rounds, options.ridge)
    print("rest =", tuple(round(a, 4) for a in resting()))
    for row in values.reshape(3, TERMS):
        print("      ", tuple(round(b, 4) for b in row.tolist()))
    for kernel_name, kernel in (("fitted", shaped(values.round(4))), ("in use", CUBIC)):
        print(kernel_name)
        report("fitted on", learn, kernel)
        report("held out", held_out, kernel)


if __name__ == "__main__":
    main()
