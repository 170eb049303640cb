"""What a benchmark gives: rows of a value beside its baseline."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agents import provenance


class Row(msgspec.Struct, frozen=True):
    """One result; `ratio` is value / baseline."""

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float

    @classmethod
    def of(cls, name: str, value: float, unit: str, baseline: float) -> "Row":
        """Return a row with its ratio."""
        return cls(name, value, unit, baseline, value / baseline if baseline else float("nan"))


def result(bench: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return what `--json` prints: bench, machine, commit, rows, and notes if there are any."""
    found: dict[str, Any] = {
        "bench": bench,
        "machine": machine(),
        "commit": provenance.commit(),
        "rows": [msgspec.to_builtins(row) for row in rows],
    }
    return found | ({"notes": list(notes)} if notes else {})


def machine() -> str:
    """Return cores and processor, memory, kernel and Python of this machine."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} x {_processor()}, {memory_gib:.0f} GiB,"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def table(bench: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """Return the same as a text."""
    width = max(14, *(len(row.name) for row in rows))
    lines = [
        f"{bench} on {machine()}",
        f"{'':<{width}} {'value':>14} {'baseline':>14} {'ratio':>7}  unit",
    ]
    lines += [
        f"{r.name:<{width}} {r.value:>14,.1f} {r.baseline:>14,.1f} {r.ratio:>7.2f}  {r.unit}"
        for r in rows
    ]
    return "\n".join([*lines, *notes])


def markdown(rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """Return the same as a table for `docs/benchmarks.md`."""
    lines = ["| row | value | baseline | ratio | unit |", "|---|---|---|---|---|"]
    lines += [
        f"| {r.name} | {_figure(r.value)} | {_figure(r.baseline)} | {_ratio(r.ratio)} | {r.unit} |"
        for r in rows
    ]
    return "\n".join(lines) + (f"\n\n{'; '.join(notes)}" if notes else "")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def _processor() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
