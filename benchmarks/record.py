"""Writes results.md from the JSON lines that the comparisons end with. Nobody writes figures by hand.

    python benchmarks/import_time.py | tee import.log;  python benchmarks/record.py import.log
    python benchmarks/import_time.py | python benchmarks/record.py

The last line of each log that is a record is kept as results/NAME.json, and results.md is made
anew from all that are there. So one comparison can be repeated without the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import HERE, Row, table_of

RECORDS = HERE / "results"
PAGE = HERE / "results.md"
# What a reader wants first; comparisons that are not named here follow by name.
ORDER = (
    "digits_accuracy", "digits_speed", "step_overhead", "where_time_goes", "import_time", "reading_path",
    "presizing_quality", "presizing_speed", "pipeline_speed",
    "transfer_pets", "step_transfer", "ddp_overhead", "train_minutes", "predict_speed", "predict_start", "serve_throughput",
    "gpu_fit", "gpu_syncs", "step_overhead_cuda", "gpu_loader", "gpu_resnet",
)  # fmt: skip

PREFACE = """# What was measured

Made by `python benchmarks/record.py` from the JSON lines in `results/`; do not edit. See README.md for how to repeat it.
A figure is the median of its rounds (n). A ratio is ours over theirs, and the lowest and highest are those of single rounds,
or seeds. *short of* says that the figure asked for was not reached. CPU seconds count all threads and child processes.
"""


def main() -> None:
    logs = [Path(name).read_text() for name in sys.argv[1:]] or [_echoed(sys.stdin)]
    RECORDS.mkdir(exist_ok=True)
    for log in logs:
        for record in records_in(log):
            kept = RECORDS / f"{record['benchmark']}.json"
            kept.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n")
            print(f"recorded {kept.relative_to(HERE)}", file=sys.stderr)
    records = [json.loads(file.read_text()) for file in sorted(RECORDS.glob("*.json"))]
    records.sort(key=lambda record: _place(record["benchmark"]))
    PAGE.write_text("\n".join([PREFACE, *map(section, records)]))
    print(f"wrote {PAGE.name} of {len(records)} comparisons", file=sys.stderr)


def _echoed(stream: Iterable[str]) -> str:
    """All of `stream`, passed on while it comes, so that a pipe into here hides nothing."""
    lines: list[str] = []
    for line in stream:
        sys.stdout.write(line)
        sys.stdout.flush()
        lines.append(line)
    return "".join(lines)


def records_in(log: str) -> list[dict[str, Any]]:
    """The record of each comparison in a log: its last one, if it ran several times."""
    found: dict[str, dict[str, Any]] = {}
    for line in log.splitlines():
        if not line.startswith('{"benchmark"'):
            continue
        record = json.loads(line)
        found[record["benchmark"]] = record
    if not found:
        raise SystemExit(
            'no record in the log: expected a line that begins with {"benchmark". Did the script end early?'
        )
    return list(found.values())


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def section(record: dict[str, Any]) -> str:
    """One comparison: its table, then when, where and with what."""
    rows = [Row(**row) for row in record["rows"]]
    head, *lines = table_of(rows, record.get("peer", ""))
    table = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    table += ["| " + " | ".join(_marked(cell) for cell in line) + " |" for line in lines]
    notes = [f"- {note}" for note in record.get("notes", [])]
    return "\n".join([f"## {record['title']}", "", *table, "", *notes, *_circumstances(record), ""])


def _marked(cell: str) -> str:
    return f"**{cell}**" if cell == "short of" else cell.replace("|", "\\|")


def _circumstances(record: dict[str, Any]) -> list[str]:
    machine = record["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}"
    if machine.get("gpu"):
        where = f"{machine['gpu']}; {where}"
    load = machine.get("load_1_5_15_minutes")
    if load:
        where += f"; load at the end {', '.join(map(str, load))}"
    threads = f"; {record['threads']} threads" if record.get("threads") else ""
    rounds = ", ".join(f"{count} of {name}" for name, count in record.get("rounds", {}).items())
    return [
        f"- {record['date']}, commit {record['commit'] or 'unknown'}: `{record['command']}`",
        f"- {where}{threads}",
        f"- {_versions(record['versions'])}" + (f"; rounds: {rounds}" if rounds else ""),
    ]


def _versions(versions: dict[str, Any]) -> str:
    parts: list[str] = []
    for name, value in versions.items():
        if isinstance(value, dict):
            inner = {key: text for key, text in value.items() if isinstance(text, str)}
            parts.append(f"{name} ({', '.join(f'{key} {text}' for key, text in inner.items())})")
        else:
            parts.append(f"{name} {value}")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
