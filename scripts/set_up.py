"""Make `.venv` hold what `make demo` (run) or `make test` (dev) needs; do nothing when it does already.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Each group contains those before it: an environment for the tests can also run the demo.
GROUPS = {"run": "", "dev": "[dev]"}
USES = {"run": "the demo", "dev": "tests and checks"}

# Measured on Linux, where PyTorch comes with CUDA: 6.3 GB installed; pip takes 9.2 GB while it works.
NEEDED_GB = 8.0 if sys.platform == "linux" else 3.0
NEEDED_GB_BY_PIP = 10.0 if sys.platform == "linux" else 3.0
NEEDED_GB_FOR_UPDATE = 1.0

# What pip and uv print when the network is at fault, not the package.
NETWORK_SIGNS = re.compile(
    r".*(?:dns error|lookup address|name resolution|Name or service not known|getaddrinfo|refused|unreachable"
    r"|No route to host|timed out|TimeoutError|NewConnectionError|error sending request|reset by peer"
    r"|ProxyError|Failed to establish|certificate|SSLError).*",
    re.IGNORECASE,
)
DISK_SIGNS = re.compile(r"No space left|disk quota exceeded|os error 28", re.IGNORECASE)

# Settings of the caller's that would send the packages somewhere other than `.venv`.
MISLEADING = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PYTHONHOME",
    "UV_SYSTEM_PYTHON",
    "UV_TARGET",
    "UV_PREFIX",
)


class SetUpError(Exception):
    """The set-up cannot go on; the message is one sentence for the person at the terminal."""


def say(text: str) -> None:
    print(f"plainlearn: {text}", flush=True)


# ---------------------------------------------------------------- is there anything to do?


def fingerprint(root: Path) -> str:
    """Everything that an environment depends on; its place too, since scripts in it hold absolute paths."""
    digest = hashlib.sha256()
    for part in (root / "pyproject.toml", root / "constraints.txt", Path(__file__)):
        digest.update(part.read_bytes() + b"\0")
    digest.update(f"{sys.version}\0{root}".encode())
    return digest.hexdigest()


def stamp_of(root: Path, group: str) -> Path:
    return root / ".venv" / f"set-up-{group}.stamp"


def is_ready(root: Path, group: str) -> bool:
    """Whether a finished set-up of this group, or of a larger one, matches the files as they are now."""
    names = list(GROUPS)
    stamps = [stamp_of(root, name) for name in names[names.index(group) :]]
    written = [stamp.read_text() for stamp in stamps if stamp.is_file()]
    return bool(written) and fingerprint(root) in written


# ---------------------------------------------------------------- the steps


@contextmanager
def only_one(venv: Path) -> Generator[int]:
    """Let one set-up at a time work on `venv`; the lock goes with the process, even when it is killed."""
    if venv.is_dir() and any(venv.iterdir()) and not (venv / "set-up.lock").exists():
        raise SetUpError(
            f"{venv} is there already, and make did not make it; nothing in it was changed: move it away, then type the same again."
        )
    venv.mkdir(exist_ok=True)
    with (venv / "set-up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is setting up .venv; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def free_gb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 1e9


def check_disk(venv: Path, needed: float) -> None:
    if any(venv.glob("lib/python3*/site-packages/torch")):  # most of it is there
        needed = NEEDED_GB_FOR_UPDATE
    if (free := free_gb(venv)) < needed:
        raise SetUpError(
            f"the disk of {venv} has {free:.1f} GB free, the set-up needs about {needed:.0f} GB: make room."
        )


def works(venv: Path) -> bool:
    """Whether the Python of `venv` starts, is of our version, and has pip, in the place it was made for."""
    place = venv / "set-up-place"
    if not place.is_file() or place.read_text() != str(
        venv
    ):  # the commands in bin/ name it in their first line
        return False
    python = venv / "bin" / "python"
    script = "import sys, pip; print(sys.version)"
    try:
        answer = subprocess.run(
            [python, "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except OSError:  # absent, or its interpreter has gone
        return False
    return answer.returncode == 0 and answer.stdout.strip() == sys.version


def clear(venv: Path) -> None:
    """Remove whatever is in `venv` but our lock."""
    for child in venv.iterdir():
        if child.name == "set-up.lock":
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()


def create(venv: Path) -> None:
    """An environment with nothing but pip in it."""
    # We may be running by a Python that `clear` has just removed, so start the one behind it.
    base = getattr(sys, "_base_executable", None) or sys.executable
    made = subprocess.run(
        [base, "-m", "venv", venv], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if made.returncode:
        raise failure(made.stdout + made.stderr, venv)
    (venv / "set-up-place").write_text(str(venv))


def run(command: Sequence[str | Path], what: str, *, venv: Path, lock: int, **settings: str) -> str | None:
    """Run an installer, telling now and then that it lives; None if it succeeded, else what it printed."""
    environment = {key: value for key, value in os.environ.items() if key not in MISLEADING}
    environment |= {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "2", **settings}
    live = sys.stdout.isatty()
    start, free_at_start = time.monotonic(), free_gb(venv)
    with tempfile.TemporaryFile("w+", dir=venv, errors="replace") as output:
        # The child holds the lock too: if we are killed, nobody else starts before it is gone.
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment, pass_fds=[lock]
        )
        while True:
            try:
                status = process.wait(timeout=1 if live else 20)
                break
            except subprocess.TimeoutExpired:
                written = max(0.0, free_at_start - free_gb(venv))
                line = f"plainlearn: {what}: {time.monotonic() - start:.0f} s, {written:.1f} GB written"
                print(f"\r{line}\033[K" if live else line, end="" if live else "\n", flush=True)
            except BaseException:  # Ctrl-C: let the child end before the lock goes
                process.terminate()
                process.wait()
                raise
        if live:
            print("\r\033[K", end="", flush=True)
        output.seek(0)
        printed = output.read()
    return printed if status else None


def reason(printed: str) -> str:
    """The line that says most about what went wrong."""
    # pip hides the system's own words, [Errno 111] Connection refused, in the repr of an exception.
    sign = re.search(r"\[Errno -?\d+\] [\w ]+", printed) or NETWORK_SIGNS.search(printed)
    line = sign.group() if sign else (printed.strip().splitlines() or ["no message"])[-1]
    return line.strip()[:160]


def failure(printed: str, venv: Path) -> SetUpError:
    """One sentence for what an installer printed, after the last lines of it."""
    if DISK_SIGNS.search(printed) or free_gb(venv) < 0.05:
        return SetUpError(
            f"the disk of {venv} is full: make room (about {NEEDED_GB:.0f} GB), then type the same again."
        )
    if NETWORK_SIGNS.search(printed):
        return SetUpError(
            "the package index cannot be reached: connect to the internet, or set PIP_INDEX_URL and "
            f"UV_INDEX_URL to a mirror, then type the same again ({reason(printed)})."
        )
    for line in printed.strip().splitlines()[-15:]:
        print(f"  {line}", file=sys.stderr)
    return SetUpError("the packages could not be installed; the lines above say why.")


def install(root: Path, group: str, lock: int) -> None:
    """The pinned packages and plainlearn itself (editable), by uv, or by pip where uv fails."""
    venv = root / ".venv"
    python = venv / "bin" / "python"
    wanted = ["--constraint", root / "constraints.txt", "--editable", f"{root}{GROUPS[group]}"]
    pip = [python, "-m", "pip", "install", "--quiet"]
    fetch_uv = [*pip, "--timeout", "30", "--constraint", root / "constraints.txt", "uv"]
    uv_missing = run(fetch_uv, "fetching uv, which installs", venv=venv, lock=lock)
    if uv_missing is None:
        uv_failed = install_by_uv(venv, wanted, lock)
        if uv_failed is None:
            return
        if DISK_SIGNS.search(uv_failed):
            raise failure(uv_failed, venv)
        say(f"uv could not install the packages ({reason(uv_failed)}); trying pip, which takes some minutes")
    elif NETWORK_SIGNS.search(uv_missing) or DISK_SIGNS.search(uv_missing):
        raise failure(uv_missing, venv)
    else:
        say(f"uv cannot be had here ({reason(uv_missing)}); using pip, which takes some minutes")

    check_disk(venv, NEEDED_GB_BY_PIP)
    # Downloads go beside the environment: /tmp is often too small, and a cache would hold them twice.
    with tempfile.TemporaryDirectory(dir=venv) as scratch:
        command = [*pip, "--no-cache-dir", *wanted]
        pip_failed = run(command, "installing", venv=venv, lock=lock, TMPDIR=scratch)
    if pip_failed is not None:
        raise failure(pip_failed, venv)


def install_by_uv(venv: Path, wanted: Sequence[str | Path], lock: int) -> str | None:
    """None if uv has installed what is wanted, else what it printed."""
    python = venv / "bin" / "python"
    # uv leaves bytecode to the first import; where Python may not keep it, every import would pay.
    bytecode = ["--compile-bytecode"] if sys.dont_write_bytecode else []
    command = [venv / "bin" / "uv", "pip", "install", "--python", python, *bytecode, *wanted]
    settings = {"UV_NO_PROGRESS": "1", **cache_beside(venv)}
    failed = run(command, "installing", venv=venv, lock=lock, **settings)
    if failed is not None and "certificate" in failed:
        # uv trusts a list of its own; behind a company's proxy only the system's knows the issuer.
        failed = run(command, "installing", venv=venv, lock=lock, **settings, UV_SYSTEM_CERTS="1")
    shutil.rmtree(venv / "uv-cache", ignore_errors=True)
    return failed


def cache_beside(venv: Path) -> dict[str, str]:
    """Where uv should unpack, if its usual cache lies on another disk that has no room for it."""
    usual = Path(os.environ.get("UV_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    while not usual.exists():
        usual = usual.parent
    if usual.stat().st_dev == venv.stat().st_dev or free_gb(usual) >= NEEDED_GB:
        return {}
    return {"UV_CACHE_DIR": str(venv / "uv-cache")}


def set_up(root: Path, group: str) -> None:
    """Bring `.venv` to the state that `pyproject.toml` and `constraints.txt` describe."""
    venv = root / ".venv"
    with only_one(venv) as lock:
        if is_ready(root, group):  # by the one that we have waited for
            return
        start = time.monotonic()
        unfinished = venv / "set-up-unfinished"
        # After an interruption a package may be there by name and lack files: begin anew.
        fresh = unfinished.exists() or not works(venv)
        version = sys.version.split()[0]
        if fresh:
            clear(venv)
        check_disk(venv, NEEDED_GB)
        unfinished.touch()
        if fresh:
            say(f"making an environment in {venv} (Python {version}); once, a minute or more by your network")
            create(venv)
        else:
            say(f"bringing {venv} up to date for {USES[group]}")
        for name in GROUPS:
            stamp_of(root, name).unlink(missing_ok=True)
        install(root, group, lock)
        stamp = stamp_of(root, group)
        partial = stamp.with_suffix(".partial")
        partial.write_text(fingerprint(root))
        partial.replace(stamp)
        unfinished.unlink()
        say(f"ready in {time.monotonic() - start:.0f} s")


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in GROUPS:
        print(f"usage: set_up.py {'|'.join(GROUPS)}", file=sys.stderr)
        return 2
    try:
        if not is_ready(ROOT, arguments[0]):
            set_up(ROOT, arguments[0])
    except SetUpError as error:
        print(f"plainlearn: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        hint = "make room" if error.errno == errno.ENOSPC else "this folder must be one that you may write to"
        print(
            f"plainlearn: the set-up cannot write to {ROOT / '.venv'} ({error.strerror}): {hint}.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nplainlearn: the set-up was stopped; the next make starts it anew.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
