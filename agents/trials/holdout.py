"""The holdout is opened once: for the configuration that was chosen without it."""

import contextlib
from typing import Final

import msgspec

from agents.checkpoint import Checkpoint
from agents.metrics import Track
from agents.trials import data, judging
from agents.trials.events import Finalized
from agents.trials.folder import Folder
from agents.trials.journal import Journal
from agents.trials.launcher import whoami
from agents.trials.results import GridResults, load
from agents.trials.trial import Scores
from grid.dataset import Dataset, to_ns
from grid.durable import write_atomic
from grid.errors import TrialsError
from grid.home import Home

REPORT: Final = "holdout.json"
TRACKS: Final = "holdout.safetensors"


def finalize(home: Home, name: str, key: str = "", at_ns: int = 0) -> Finalized:
    """Judge a configuration on the holdout, and write down that it was done.

    That it will be done is written first: who looks, and then loses power, has looked, and may go
    on with the same configuration and no other.

    Args:
        home: where the grid and the whole datasets are.
        name: of the grid.
        key: of the configuration; the best by validation score without one.
        at_ns: now, UNIX ns.

    Raises:
        TrialsError: it was done before, the grid has no holdout or runs, or there is no such
            configuration.
        DataError: the dataset does not begin with the rows that the trials have seen.
    """
    folder = Folder(home, name)
    folder.events()
    folder.lock()
    try:
        results = load(folder.path)
        chosen = _chosen(results, key)
        sources = {n: _same(home, n, results) for n in results.planned.datasets}
        opened = Finalized(configuration=chosen, by=whoami(), at_ns=at_ns)
        with contextlib.closing(Journal(folder.journal)) as journal:
            journal.append(opened)
            scores, tracks = _judge(results, chosen, home, sources)
            reports = folder.home.reports
            reports.mkdir(parents=True, exist_ok=True)
            write_atomic(reports / TRACKS, judging.to_bytes(tracks))
            opened = msgspec.structs.replace(opened, scores=scores)
            raw = msgspec.json.format(msgspec.json.encode(opened), indent=1)
            write_atomic(reports / REPORT, raw)
            journal.append(opened)
        return opened
    finally:
        folder.unlock()


def _chosen(results: GridResults, key: str) -> str:
    name = results.grid.name
    f = results.finalized
    if f is not None and not f.scores and key in ("", f.configuration):
        return f.configuration  # it was not carried through
    if f is not None:
        raise TrialsError(
            f"grid {name!r}: the holdout was opened by {f.by} for configuration {f.configuration} "
            "before, and is worth nothing a second time"
        )
    if results.holdout is None:
        raise TrialsError(f"grid {name!r}: expected a holdout, key folds.holdout is not set")
    if not key:
        best = results.best()
        if best is None:
            raise TrialsError(f"grid {name!r}: no configuration is done on all folds and seeds")
        return best.key
    own = [t for t in results.trials if t.trial.configuration == key]
    if not own:
        known = ", ".join(c.key for c in results.configurations[:8])
        raise TrialsError(f"grid {name!r}: no configuration {key!r}; there are {known}")
    if any(t.status != "done" for t in own):
        raise TrialsError(f"grid {name!r}: the trials of configuration {key} are not all done")
    return key


def _same(home: Home, name: str, results: GridResults) -> Dataset:
    whole = data.find(home, name)
    want = results.planned.sources[name]
    if whole.manifest.fingerprint != want:
        raise TrialsError(
            f"{whole.path}: the grid was planned on fingerprint {want}, "
            f"found {whole.manifest.fingerprint}"
        )
    return whole


def _judge(
    results: GridResults, key: str, home: Home, sources: dict[str, Dataset]
) -> tuple[dict[str, Scores], dict[str, Track]]:
    # of the newest fold: what would be traded from then on
    last = len(results.planned.folds) - 1
    scores: dict[str, Scores] = {}
    tracks: dict[str, Track] = {}
    for t in results.trials:
        if (t.trial.configuration, t.trial.fold) != (key, last):
            continue
        checkpoint = Checkpoint.open(t.folder)
        span = results.holdout
        assert span is not None
        assert to_ns(checkpoint.manifest.data.test[1]) <= to_ns(span[0])
        track = judging.judge(checkpoint, home, span, lambda: None)
        tracks[t.trial.id] = track
        scores[t.trial.id] = judging.scores(track)
    return scores, tracks
