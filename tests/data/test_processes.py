"""Worker processes and worker threads seen from outside: interrupted, left, killed, resumed in another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

SCRIPT = Path(__file__).with_name("loader_script.py")
PATIENCE_SECONDS = 120  # for a busy machine; what hangs takes longer


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}


def answers(*arguments: str) -> dict[str, Any]:
    """All that a run of the script tells, in one dict."""
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    told: dict[str, Any] = {}
    for line in run.stdout.splitlines():
        for key, value in json.loads(line).items():
            told.setdefault(key, []).append(value)
    return told


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """The script at work, and what it tells; killed at the end if it still is."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # so that Ctrl-C can be sent to it and its children alone
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout
        finally:
            process.kill()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # where there is none, what has ended is reaped soon
    try:
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, "a worker process outlives its loader"
        time.sleep(0.02)


# ---- processes


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """All that two worker processes go through, told once for all tests."""
    return answers("processes")


def test_two_processes_give_the_same_batches_as_none(told: dict[str, Any]) -> None:
    assert told["same"] == [True, True]
    assert told["batches"] == [6]


def test_processes_stay_from_one_whole_epoch_to_the_next(told: dict[str, Any]) -> None:
    assert told["kept"] == [True]


def test_processes_draw_nothing_from_the_global_generator(told: dict[str, Any]) -> None:
    assert told["drawn"] == [False]


def test_an_epoch_left_in_the_middle_ends_its_processes_and_goes_on_in_new_ones(told: dict[str, Any]) -> None:
    assert told["left"] == [[]]
    assert told["resumed"] == [True]


def test_one_iteration_inside_another(told: dict[str, Any]) -> None:
    assert told["inner"] == [[[0, 1], [2, 3], [4, 5]]]
    assert told["outer"] == [[[2, 3], [4, 5]]]


def test_an_error_in_a_process_comes_out_with_its_type_and_names_the_item(told: dict[str, Any]) -> None:
    (missing,) = told["missing"]
    assert missing["type"] == "FileNotFoundError"
    assert "FileNotFoundError: [Errno 2] gone: 'cat.jpg'\nwhile reading item 100 of Data" in missing["text"]
    assert 'in draw\n    raise FileNotFoundError(2, "gone", "cat.jpg")' in missing["text"]
    (none,) = told["none"]
    assert none["type"] == "DataError"
    assert "item 103 is None" in none["text"]


def test_an_error_that_cannot_be_made_again_is_told_all_the_same(told: dict[str, Any]) -> None:
    (clumsy,) = told["clumsy"]
    assert clumsy["type"] == "RuntimeError"
    assert "ClumsyError: clumsy: by nature\nwhile reading item 101 of Data" in clumsy["text"]


def test_a_killed_process_is_an_error_and_the_next_epoch_has_new_ones(told: dict[str, Any]) -> None:
    (killed,) = told["killed"]
    assert killed["type"] == "RuntimeError"
    assert killed["text"].startswith("DataLoader worker (pid")
    assert killed["notes"][0].startswith(
        "  Try processes=False (threads), fewer num_workers if memory ran out"
    )
    assert told["again"] == [[[0, 1], [2, 3]]]
    assert len(told["children"][0]) == 2


def test_processes_end_with_their_loader(told: dict[str, Any]) -> None:
    assert told["forgotten"] == [[], []]  # of one that has read, and of one that could not be started


def test_a_dataset_that_cannot_be_sent_is_refused(told: dict[str, Any]) -> None:
    assert told["unsendable"][0].startswith("list, or the collate_fn, cannot be sent to a process: ")
    assert told["unsendable"][0].endswith(
        "Try processes=False (threads), or classes and functions at the top level of a module"
    )


def test_a_script_without_a_main_guard_is_told_about_it(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from plainlearn.data.loader import DataLoader\n"
        "print(list(DataLoader(range(4), num_workers=1, processes=True)))\n"
    )
    run = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_SECONDS,
    )
    assert run.returncode == 1
    assert 'all of the script below `if __name__ == "__main__":`' in run.stderr


# ---- interrupted, left, killed


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_ctrl_c_while_a_slow_dataset_reads_ends_everything(kind: str) -> None:
    with running("middle", kind, "wait") as (process, out):
        pids = json.loads(out.readline())["children"]
        assert len(pids) == (kind == "processes")
        time.sleep(0.3)  # it is on its way to a batch that would take minutes
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the children too
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == -signal.SIGINT
        assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1, errors
        assert_gone(pids)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_the_interpreter_can_end_in_the_middle_of_an_epoch(kind: str) -> None:
    with running("middle", kind, "end") as (process, out):
        pids = json.loads(out.readline())["children"]
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, errors) == (0, "")
        assert_gone(pids)


def test_another_thread_may_read_on_when_the_main_thread_has_ended() -> None:
    assert answers("other thread", "lasting")["first"] == [0, 250, 500, 750]


def test_a_daemon_that_reads_does_not_keep_the_interpreter() -> None:
    assert answers("other thread", "daemon") == {}  # of an epoch that would take minutes


def test_worker_processes_end_when_the_interpreter_is_killed() -> None:
    with running("middle", "processes", "wait") as (process, out):
        (pid,) = json.loads(out.readline())["children"]
        assert is_running(pid)
        process.kill()
        process.communicate(timeout=PATIENCE_SECONDS)
        assert_gone([pid])


# ---- resumed in another process


def test_another_process_goes_on_with_the_same_batches() -> None:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import loader_script
    finally:
        sys.path.pop(0)
    loader = loader_script.loader_of(2, False)
    list(loader)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    state = loader.state_dict()
    told = answers("resume", json.dumps(state))
    rest = [[loader_script.plain(batch) for batch in epoch] for epoch in (batches, loader)]
    assert [len(epoch) for epoch in rest] == [3, 6]
    rest = json.loads(json.dumps(rest))
    assert told["rest"] == [rest, rest]  # by no threads, and by two
