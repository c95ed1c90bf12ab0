"""Claims about the package as a whole: what importing it costs."""

import subprocess
import sys


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_core_loads_neither_torch_nor_numpy():
    loaded = modules_after("from plainlearn.core import L, Path\nL(1, 2)[[True, False]]\nPath('.').ls()")
    assert "plainlearn.core.lists" in loaded
    assert not loaded & {"torch", "numpy", "matplotlib", "PIL", "pandas"}


def test_the_torch_parts_load_no_picture_or_table_library():
    loaded = modules_after("import plainlearn.core.tensors, plainlearn.core.figures, plainlearn.core.seed")
    assert "torch" in loaded
    assert not loaded & {"matplotlib", "PIL", "pandas", "torchvision", "timm"}


def test_core_names_only_what_it_exports():
    import plainlearn.core as core

    assert core.__all__ == ["L", "Path"]
    assert all(hasattr(core, name) for name in core.__all__)
