"""Every backend computes the same picture: numba and Triton are held to plain torch, within a level of 255.

Triton runs in its interpreter here, in a process of its own since the choice is made at import, and its kernel
is compiled for a GPU that need not be there; on one it runs where the tests are marked gpu.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plainlearn.augment.geometry import Maps, compose, fit, flip, identity, rotate, warp, zoom
from plainlearn.augment.sampling.kernel import Mode, PadMode
from plainlearn.augment.sampling.sample import level_curves, sample_images

LEVEL = 1 / 255
needs_numba = pytest.mark.skipif(not find_spec("numba"), reason="no numba here")
needs_triton = pytest.mark.skipif(not find_spec("triton"), reason="no triton here")

# What the interpreter is asked for, and this process computes as well; small, for it is slow.
CASES: list[tuple[tuple[int, int, int], tuple[int, int], Mode, PadMode]] = [
    ((23, 31, 3), (9, 14), "cubic", "reflection"),
    ((23, 31, 3), (9, 14), "bilinear", "zeros"),
    ((40, 17, 1), (7, 7), "cubic", "border"),
    ((12, 12, 5), (24, 5), "cubic", "zeros"),
    ((9, 8, 2), (5, 6), "cubic", "reflection"),
    ((9, 8, 4), (5, 6), "cubic", "border"),
    ((9, 8, 13), (5, 6), "cubic", "reflection"),
    ((1, 1, 3), (3, 2), "cubic", "reflection"),
    ((6, 5, 37), (3, 4), "bilinear", "border"),
    ((23, 31, 3), (9, 14), "nearest", "reflection"),
]


def drawn(shape: tuple[int, int, int], seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (2, *shape), dtype=np.uint8))


def maps_for(shape: tuple[int, int, int], size: tuple[int, int]) -> Maps:
    hard = compose(fit(shape[:2], size), rotate(30), zoom(0.7), warp(0.2, 0.1), flip())
    return np.concatenate([hard, identity()])


@needs_numba
@given(
    height=st.integers(1, 60), width=st.integers(1, 60), channels=st.sampled_from([1, 2, 3, 4, 5, 13]),
    h=st.integers(1, 40), w=st.integers(1, 40), mode=st.sampled_from(["cubic", "bilinear", "nearest"]),
    pad_mode=st.sampled_from(["reflection", "border", "zeros"]), turn=st.floats(-180, 180), scale=st.floats(0.4, 4),
    tilt=st.floats(-0.2, 0.2), seed=st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=40)
def test_numba_computes_what_torch_does(
    height: int, width: int, channels: int, h: int, w: int, mode: Mode, pad_mode: PadMode,
    turn: float, scale: float, tilt: float, seed: int,
) -> None:  # fmt: skip
    image = drawn((height, width, channels), seed)[:1]
    maps = compose(fit((height, width), (h, w)), rotate(turn), zoom(scale, 0.3, 0.8), warp(tilt, -tilt / 2))
    a, b = (
        sample_images(image, maps, (h, w), mode=mode, pad_mode=pad_mode, backend=each)
        for each in ("numba", "torch")
    )
    assert (a - b).abs().max() < 0.1 * LEVEL


@needs_numba
def test_a_large_picture_made_small_agrees() -> None:
    """Taps by the hundred: the scratch memory grows with them."""
    image = drawn((350, 450, 3), 0)[:1]
    maps = compose(rotate(17, 9 / 7), zoom(0.9))
    a, b = (sample_images(image, maps, (5, 7), backend=each) for each in ("numba", "torch"))
    assert (a - b).abs().max() < 0.1 * LEVEL


@needs_numba
def test_many_python_threads_can_sample_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    images = drawn((50, 60, 3), 3)
    maps = maps_for((50, 60, 3), (40, 40))
    wanted = sample_images(images, maps, (40, 40), threads=1)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(sample_images, images, maps, (40, 40), threads=1 + k % 3) for k in range(40)]
        assert all(torch.equal(job.result(), wanted) for job in jobs)


@needs_numba
def test_importing_plainlearn_and_its_sampler_leaves_numba_alone() -> None:
    code = "import sys, plainlearn, plainlearn.augment.sampling.sample; print('numba' in sys.modules, 'triton' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]


@needs_numba
def test_without_a_folder_to_write_to_it_compiles_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from plainlearn.augment.sampling import numba_loops as sampling_numba

    tried: list[bool] = []

    def refuses(*, cache: bool = False, **options: object) -> object:
        tried.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(sampling_numba, "njit", refuses)
    assert sampling_numba.compiled(len) is len
    assert tried == [True, False]


GUARDED = """
import ctypes, mmap, sys
import numpy as np
from plainlearn.augment.geometry import compose, identity, rotate, zoom
from plainlearn.augment.sampling.sample import sample_images
page = mmap.PAGESIZE
held = mmap.mmap(-1, 3 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(held))
libc = ctypes.CDLL(None, use_errno=True)
for edge in (start, start + 2 * page):  # whoever touches the pages around the picture dies
    assert libc.mprotect(ctypes.c_void_p(edge), page, 0) == 0
for channels in (1, 2, 3, 4, 5):
    height, width = 9, page // 9 // channels
    size = height * width * channels
    for offset in (page, 2 * page - size):
        image = np.frombuffer(held, np.uint8, size, offset).reshape(height, width, channels)
        for mode in ("cubic", "bilinear", "nearest"):
            for pad in ("reflection", "border", "zeros"):
                for maps in (identity(), zoom(0.4), zoom(3.0, 1.0, 1.0), compose(rotate(170), zoom(0.9))):
                    sample_images([image], maps, (20, 37), mode=mode, pad_mode=pad, backend="numba", threads=1)
print("unharmed")
"""


@needs_numba
@pytest.mark.skipif(sys.platform != "linux", reason="guards its memory the way Linux does")
def test_nothing_outside_a_picture_is_read() -> None:
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", GUARDED], capture_output=True, text=True)
    assert told.stdout.strip() == "unharmed", f"exit code {told.returncode}: {told.stderr[-500:]}"


# Triton

INTERPRET = """
import sys, json, torch
sys.path.insert(0, {here!r})
from test_backends import CASES, drawn, maps_for
from plainlearn.augment.sampling.sample import level_curves, sample_images
for k, (shape, size, mode, pad_mode) in enumerate(CASES):
    images, curves = drawn(shape, k), level_curves(2, shape[2]) * torch.tensor([1.0, 3.0])[:, None, None] - 0.5
    batch = sample_images(images, maps_for(shape, size), size, mode=mode, pad_mode=pad_mode, curves=curves, backend="triton")
    planar = [image.permute(2, 0, 1).contiguous() for image in images]
    listed = sample_images(planar, maps_for(shape, size), size, mode=mode, pad_mode=pad_mode, curves=curves,
                           layout="chw", backend="triton")
    print(json.dumps([batch.tolist(), torch.equal(batch, listed)]), flush=True)
"""


@pytest.fixture(scope="module")
def interpreted() -> Iterator[list[tuple[Tensor, bool]]]:
    """What Triton's interpreter makes of the cases, and whether a list of planar pictures gave the same."""
    here = str(Path(__file__).parent)
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERPRET.format(here=here)],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    yield [(torch.tensor(values), same) for values, same in map(json.loads, told.stdout.splitlines())]


@needs_triton
@pytest.mark.parametrize("k", range(len(CASES)))
def test_triton_computes_what_torch_does(k: int, interpreted: list[tuple[Tensor, bool]]) -> None:
    shape, size, mode, pad_mode = CASES[k]
    curves = level_curves(2, shape[2]) * torch.tensor([1.0, 3.0])[:, None, None] - 0.5
    wanted = sample_images(
        drawn(shape, k),
        maps_for(shape, size),
        size,
        mode=mode,
        pad_mode=pad_mode,
        curves=curves,
        backend="torch",
    )
    values, same_from_list = interpreted[k]
    assert (values - wanted).abs().max() < 0.1 * LEVEL
    assert same_from_list


@needs_triton
@pytest.mark.parametrize("capability", [75, 90])
def test_the_triton_kernel_compiles_for_gpus(capability: int) -> None:
    """No GPU is needed for it; a kernel that only the interpreter takes would be worth nothing."""
    code = COMPILE.format(capability=capability)
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert int(told.stdout) > 1000


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from plainlearn.augment.sampling import triton_kernel as sampling_triton
kernel = sampling_triton._sample
pointers = dict(source="*u8", numbers="*fp32", places="*i64", tables="*fp32", out="*fp32")
fixed = dict(channels=3, triangle=False, pad=2, with_tables=True, pixels=sampling_triton.PIXELS, lanes=sampling_triton.LANES)
types = {{name: pointers.get(name, "constexpr" if name in fixed else "i32") for name in kernel.arg_names}}
constants = {{(kernel.arg_names.index(name),): value for name, value in fixed.items()}}
made = triton.compile(ASTSource(kernel, types, constexprs=constants), target=GPUTarget("cuda", {capability}, 32))
print(len(made.asm["cubin"]))
"""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("pad_mode", ["reflection", "border", "zeros"])
@pytest.mark.parametrize("mode", ["cubic", "bilinear", "nearest"])
def test_a_gpu_computes_what_the_cpu_does(mode: Mode, pad_mode: PadMode) -> None:
    images, size = drawn((233, 180, 3), 0), (96, 112)
    maps = maps_for((233, 180, 3), size)
    curves = level_curves() * 2 - 0.5
    wanted = sample_images(images, maps, size, mode=mode, pad_mode=pad_mode, curves=curves, backend="torch")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        for given_images in (images.cuda(), list(images.cuda())):
            out = sample_images(given_images, maps, size, mode=mode, pad_mode=pad_mode, curves=curves)
            assert out.dtype == torch.float32
            assert (out.cpu() - wanted).abs().max() < LEVEL


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_never_waited_for() -> None:
    images, maps = drawn((233, 180, 3), 0).cuda(), maps_for((233, 180, 3), (96, 112))
    sample_images(images, maps, (96, 112))  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        sample_images(images, maps, (96, 112))
    finally:
        torch.cuda.set_sync_debug_mode("default")
