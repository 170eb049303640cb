"""What commands share: the command line, options, the start of a child, a progress bar."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from grid.cli import Args, CommandLine, flag, option, whole
from grid.home import Home

COMMAND: Final = (sys.executable, str(Path(__file__).resolve().parents[2] / "launch.py"))

cli: Final = CommandLine(
    "argonaut",
    "Train RL agents in the engine that trades them, run them on a ZeroMQ grid,\n"
    "record and replay what happened.",
    {
        "data": "import, list and describe market data",
        "bridge": "events of a grid in other systems",
        "check": "look for what would fool you",
        "grid": "many trainings of one file, and what became of each",
        "models": "checkpoints under names, promoted and rolled back",
        "sessions": "look at recorded sessions",
        "keys": "who may do what on a grid that other machines can reach",
    },
)
command: Final = cli.command

NAME: Final = option("--name", "of the dataset", required=True)
REPLACE: Final = flag("--replace", "replace a dataset of that name")
SEED: Final = option("--seed", "of what is random", type=whole, default=0)
SET: Final = option(
    "--set", "override a key of the file", action="append", default=[], metavar="KEY=VALUE"
)
CHECKPOINT: Final = option("checkpoint", "a checkpoint, or a run for its latest", type=Path)
KEY: Final = option("--key", "to come with (default: the config's)", default="")
SESSION: Final = option("session", "id, folder, file, or `latest`")
CHILD: Final = (
    option("--config", "TOML file of the grid", type=Path, required=True),
    option("--name", "of the process (default: the supervisor's name for it)"),
    SET,
    option("--lifeline", "set by the supervisor", type=whole, metavar="FD"),
)


def child(args: Args, role: str) -> tuple[Any, str, Any]:
    """Begin a process of a grid: its config, its name, its lifeline."""
    from grid import identity, process
    from grid.config import convert, load
    from grid.topology import GridConfig, Name, seen_from

    name: str = convert(args.name or role, Name, "--name")
    life = process.start(name, args.lifeline)
    config = load(args.config, GridConfig, args.set)
    identity.enter(config.security, config.bus, args.home.keys, config.bind)
    return seen_from(role, config), name, life


def show(home: Home, name: str, *, verify: bool = False) -> None:
    """Print what a dataset holds."""
    from envs.data.show import describe
    from grid.dataset import Dataset

    print(describe(Dataset.find(home.datasets, name), verify=verify))


class Progress:
    """A bar for functions that report (done, total), from the first report on, on a terminal."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, unit=f" {self._unit}", leave=False, disable=None)
        self._bar.update(done - self._bar.n)
