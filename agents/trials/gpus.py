"""The GPUs of a machine, asked without touching CUDA in this process."""

import shutil
import subprocess

import msgspec


class Gpu(msgspec.Struct, frozen=True):
    """A GPU: its index, and its memory in MB, all of it and what is free."""

    index: int
    total_mb: float
    free_mb: float


def found() -> list[Gpu]:
    """Return the GPUs that the driver's own tool lists, none where there is no such tool."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = "--query-gpu=index,memory.total,memory.free"
    try:
        done = subprocess.run(
            [tool, query, "--format=csv,noheader,nounits"],
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse(done.stdout)


def parse(text: str) -> list[Gpu]:
    """Read the tool's lines of `index, total, free` in MiB; lines of another form are none."""
    gpus = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and all(cell.replace(".", "", 1).isdecimal() for cell in cells):
            index, total, free = cells
            gpus.append(Gpu(int(index), float(total) * 1.048576, float(free) * 1.048576))
    return gpus


def places(gpus: list[Gpu], memory_mb: float) -> list[int]:
    """Return positions in `gpus`, one for each trial that fits by memory, spread evenly."""
    if not memory_mb:
        return []
    fitting = [int(gpu.free_mb // memory_mb) for gpu in gpus]
    rounds = range(max(fitting, default=0))
    return [i for turn in rounds for i, room in enumerate(fitting) if turn < room]
