"""Which executor `--on` names."""

from collections.abc import Callable

from agents.trials.config import TrainingGrid
from agents.trials.executor import Executor
from agents.trials.local import Local
from grid.errors import ConfigError
from grid.home import Home


def builder(where: str) -> Callable[[TrainingGrid, Home], Executor]:
    """Return what makes the executor: `local`, `ray`, or an address of Ray.

    Raises:
        ConfigError: there is no such executor, or Ray is not installed.
    """
    if where == "local":
        return lambda grid, home: Local(home, grid.workers)
    if where != "ray" and not where.startswith("ray://"):
        raise ConfigError(f"--on: expected local, ray or ray://HOST:PORT, found {where!r}")
    from agents.trials.ray_cluster import Cluster

    return lambda grid, home: Cluster(home, grid.workers, where)
