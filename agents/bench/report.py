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


def result(bench: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what `--json` prints: bench, machine, commit, rows."""
    return {
        "bench": bench,
        "machine": machine(),
        "commit": provenance.commit(),
        "rows": [msgspec.to_builtins(row) for row in rows],
    }


def machine() -> str:
    """Return cores and processor, memory, kernel and Python of this machine."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} x {_processor()}, {memory_gib:.0f} GiB,"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def table(bench: str, rows: Sequence[Row]) -> str:
    """Return the same as a text."""
    lines = [
        f"{bench} on {machine()}",
        f"{'':<14} {'value':>14} {'baseline':>14} {'ratio':>7}  unit",
    ]
    lines += [
        f"{row.name:<14} {row.value:>14,.1f} {row.baseline:>14,.1f} {row.ratio:>7.2f}  {row.unit}"
        for row in rows
    ]
    return "\n".join(lines)


def _processor() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
