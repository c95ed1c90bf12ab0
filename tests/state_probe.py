"""What do modules change by being imported? Run by test_architecture.py in a fresh interpreter.

Each argument holds names of modules; what importing them changes is printed as JSON.
What they may import in turn is imported first, because other people's libraries do
as they like; what differs afterwards is ours.
"""

import atexit
import builtins
import importlib
import json
import logging
import os
import pathlib
import random
import signal
import sys
import threading
import warnings

import matplotlib.pyplot
import numpy
import pandas
import PIL.Image
import torch
import torch.export

SERVING = (
    "fastapi",
    "prometheus_client",
    "python_multipart.multipart",
    "uvicorn.protocols.http.httptools_impl",
)
for library in ("rich.console", "timm", "torchvision", "tqdm.auto", "typer", *SERVING):
    importlib.import_module(library)

CLASSES = [
    *(list, dict, str, pathlib.PurePath, pathlib.Path, pathlib.PosixPath, pathlib.PurePosixPath),
    *(
        torch.Tensor,
        torch.nn.Module,
        torch.nn.Parameter,
        torch.nn.Linear,
        torch.nn.Sequential,
        torch.Generator,
    ),
    *(torch.optim.Optimizer, torch.utils.data.DataLoader, torch.utils.data.Dataset),
    *(numpy.ndarray, pandas.DataFrame, PIL.Image.Image),
]


def state() -> dict[str, object]:
    loggers = logging.root.manager.loggerDict.items()
    return {
        "logging_handlers": repr(logging.root.handlers),
        "logging_levels": {
            name: logger.level for name, logger in loggers if isinstance(logger, logging.Logger)
        },
        "logging_root": (logging.root.level, logging.root.manager.disable),
        "warnings_filters": repr(warnings.filters),
        "warnings_display": (id(warnings.showwarning), id(warnings.formatwarning)),
        "signals": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "exception_hooks": (id(sys.excepthook), id(sys.displayhook), id(threading.excepthook)),
        "tracing": (repr(sys.gettrace()), repr(sys.getprofile())),
        "import_hooks": (len(sys.meta_path), len(sys.path_hooks), list(sys.path)),
        "at_exit": atexit._ncallbacks(),
        "environment": dict(os.environ),
        "folder": str(pathlib.Path.cwd()),
        "threads": threading.active_count(),
        "builtins": {name: id(value) for name, value in vars(builtins).items() if name != "_"},
        "streams": (id(sys.stdin), id(sys.stdout), id(sys.stderr)),
        "random": hash(random.getstate()),
        "numpy_random": repr(numpy.random.get_state()),
        "numpy_settings": (repr(numpy.get_printoptions()), repr(numpy.geterr())),
        "torch": torch_settings(),
        "pillow": (PIL.Image.MAX_IMAGE_PIXELS, {name: id(value) for name, value in vars(PIL.Image).items()}),
        "matplotlib": repr(sorted((name, repr(value)) for name, value in dict.items(matplotlib.rcParams))),
        "classes": {
            kind.__qualname__: {name: id(value) for name, value in vars(kind).items()} for kind in CLASSES
        },
    }


def torch_settings() -> list[str]:
    ask = [
        *(torch.initial_seed, torch.get_num_threads, torch.is_grad_enabled, torch.is_anomaly_enabled),
        *(torch.get_default_dtype, torch.get_default_device, torch.get_float32_matmul_precision),
        *(torch.are_deterministic_algorithms_enabled, torch.multiprocessing.get_sharing_strategy),
    ]
    printing, benchmark = torch._tensor_str.PRINT_OPTS, torch.backends.cudnn.benchmark
    return [*(repr(function()) for function in ask), repr(printing), repr(benchmark)]


def difference(before: object, after: object) -> object:
    """The two values, or of two dicts only the entries that differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        changed = [name for name in before | after if before.get(name) != after.get(name)]
        return {name: difference(before.get(name), after.get(name)) for name in changed}
    return [repr(before)[:300], repr(after)[:300]]


assert state() == (now := state()), difference(now, state())  # looking changes nothing
found: list[object] = []
for names in sys.argv[1:]:
    before = state()
    for name in names.split():
        importlib.import_module(name)
    found.append(difference(before, state()))
print(json.dumps(found))
