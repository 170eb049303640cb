"""Where things lie on disk: one folder, `.argonaut` unless told otherwise."""

from pathlib import Path

DEFAULT = Path(".argonaut")


class Home:
    """The folder of datasets, runs, checkpoints, sessions and reports.

    Args:
        root: the folder; made when first written to.
    """

    def __init__(self, root: Path = DEFAULT) -> None:
        self.root = root

    @property
    def datasets(self) -> Path:
        """One folder a dataset: see `grid.dataset`."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """One folder a training run: config, TensorBoard events, checkpoints."""
        return self.root / "runs"

    @property
    def sessions(self) -> Path:
        """One folder a recorded run of a grid: see `grid.session`."""
        return self.root / "sessions"

    @property
    def reports(self) -> Path:
        """HTML reports."""
        return self.root / "reports"

    @property
    def logs(self) -> Path:
        """Logs of the processes of a grid, one file each."""
        return self.root / "logs"

    @property
    def epochs(self) -> Path:
        """Counters of process starts: see `grid.epoch`."""
        return self.root / "epochs"

    @property
    def halts(self) -> Path:
        """Halts in force, one file a grid: see `grid.halt`."""
        return self.root / "halts"

    @property
    def venues(self) -> Path:
        """Journals of paper venues, one file a grid: see `grid.paper`."""
        return self.root / "venues"

    @property
    def keys(self) -> Path:
        """Keys, and who may do what with them: see `grid.keys` and `grid.access`."""
        return self.root / "keys"

    @property
    def audit(self) -> Path:
        """Audit logs, one file a grid: see `grid.audit`."""
        return self.root / "audit"

    @property
    def models(self) -> Path:
        """The registry of checkpoints: see `agents.registry`."""
        return self.root / "models"

    @property
    def lakes(self) -> Path:
        """Events as tables, one folder a grid: see `grid.bridges.lake`."""
        return self.root / "lakes"

    @property
    def bridges(self) -> Path:
        """Positions of bridges, one file each: see `grid.bridges.position`."""
        return self.root / "bridges"
