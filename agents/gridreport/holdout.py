"""What an opened holdout holds: the record of the chosen configuration, and of its baselines."""

from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from agents.gridreport.playing import Tell, beside
from agents.metrics import Ints, Track
from agents.trials import holdout, judging
from agents.trials.results import GridResults
from agents.trials.returns import between
from grid.dataset import Dataset
from grid.errors import DataError
from grid.home import Home

type Floats = NDArray[np.float64]


@dataclass
class Held:
    """Returns on the holdout, seeds averaged.

    Attributes:
        returns: of the chosen configuration, float64 [n]; None before the holdout was opened.
        baselines: name -> float64 [n].
        notes: what a reader must know.
    """

    returns: Floats | None = None
    baselines: dict[str, Floats] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def opened(results: GridResults, home: Home, tell: Tell, *, play: bool) -> Held:
    """Return what is on the holdout; nothing if it is still shut.

    Args:
        results: of the grid.
        home: where the whole datasets are.
        tell: called before each episode that is played.
        play: the baselines there.

    Raises:
        CheckpointError: the file of its tracks is damaged.
    """
    f, file = results.finalized, results.home.reports / holdout.TRACKS
    if f is None or not f.scores or not file.is_file():
        return Held()
    tracks = judging.from_bytes(file.read_bytes(), file)
    ts: Ints = reduce(np.intersect1d, [t.ts_ns for t in tracks.values()])
    held = Held(_mean(list(tracks.values()), ts))
    own = [t for t in results.trials if t.trial.id in tracks]
    if not play:
        return held
    if not _there(results, home):
        held.notes.append(
            "The datasets that the grid was planned on are gone or changed: no baselines on the "
            "holdout."
        )
        return held
    played = beside(own, tracks, home, results.holdout, tell)
    for name, seeds in played.baselines.items():
        held.baselines[name] = _mean([t for of_seed in seeds.values() for t in of_seed], ts)
    return held


def _mean(tracks: list[Track], ts: Ints) -> Floats:
    return np.asarray(np.mean([between(t, ts) for t in tracks], axis=0))


def _there(results: GridResults, home: Home) -> bool:
    try:
        return all(
            Dataset.find(home.datasets, name).manifest.fingerprint == fingerprint
            for name, fingerprint in results.planned.sources.items()
        )
    except DataError:
        return False
