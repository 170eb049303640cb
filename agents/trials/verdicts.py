"""The verdict of a grid for who looks on: from its report, or worked out without baselines."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

from agents.statistics.judge import judge
from agents.trials.results import GridResults
from agents.trials.returns import returns
from grid.errors import ArgonautError, DataError
from grid.gateway.training import TrainingVerdict

log = logging.getLogger(__name__)

_REPORT: Final = Path("reports", "report.json")
_KEPT: Final = 32


class _Judged(msgspec.Struct):
    grade: str
    line: str
    reasons: tuple[str, ...]


class _Findings(msgspec.Struct):
    verdict: _Judged | None
    unjudged: str = ""


class _Report(msgspec.Struct):
    findings: _Findings


def reported(folder: Path, since_ns: int) -> TrainingVerdict | None:
    """Return what the report of a grid says; None if there is none after `since_ns`."""
    file = folder / _REPORT
    try:
        made_ns = file.stat().st_mtime_ns
        if made_ns < since_ns:
            return None
        found = msgspec.json.decode(file.read_bytes(), type=_Report).findings
    except (OSError, msgspec.MsgspecError):
        return None
    if found.verdict is None:
        return TrainingVerdict(
            "none", f"No verdict: {found.unjudged}.", source="report", made_ns=made_ns
        )
    v = found.verdict
    return TrainingVerdict("told", v.line, v.grade, v.reasons, "report", made_ns)


def quick(results: GridResults) -> TrainingVerdict:
    """Return the verdict on what a grid chose, without baselines: an episode of none is played.

    It is what `grid report --quick` says. A holdout that was opened is for the report to judge.
    """
    name = results.grid.name
    if results.finalized is not None:
        said = f"The holdout was opened: `grid report {name}` says what it found."
        return TrainingVerdict("none", said)
    try:
        table = returns(results)
        best = results.best()
        verdict = judge(
            table.returns,
            table.per_year,
            tried=max(results.count, len(table.keys)),
            chosen=table.keys.index(best.key) if best is not None else 0,
            seeds=len(results.planned.seeds),
        )
    except DataError as e:
        return TrainingVerdict("none", f"No verdict: {e}.")
    return TrainingVerdict("told", verdict.line, verdict.grade, verdict.reasons, "quick")


class Verdicts:
    """Works verdicts out, one at a time, in a thread of its own: a large grid takes seconds."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="judge")
        self._lock = threading.Lock()
        self._found: dict[str, Future[TrainingVerdict]] = {}

    def of(
        self, key: str, folder: Path, since_ns: int, results: Callable[[], GridResults]
    ) -> TrainingVerdict:
        """Return the verdict on a grid as it stands; `judging` while it is worked out.

        Args:
            key: of the grid and its state.
            folder: of the grid.
            since_ns: a report that is older does not count.
            results: reads the grid.
        """
        if (found := reported(folder, since_ns)) is not None:
            return found
        with self._lock:
            under_way = self._found.get(key)
            if under_way is None:
                under_way = self._found[key] = self._pool.submit(_safely, results)
                while len(self._found) > _KEPT:
                    self._found.pop(next(iter(self._found))).cancel()
        if not under_way.done():
            return TrainingVerdict("judging", "The verdict is being worked out.")
        return under_way.result()

    def close(self) -> None:
        """Wait for the one that is under way; the others are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _safely(results: Callable[[], Any]) -> TrainingVerdict:
    try:
        return quick(results())
    except ArgonautError as e:
        return TrainingVerdict("none", f"No verdict: {e}.")
    except Exception:
        log.exception("a verdict could not be worked out")
        return TrainingVerdict("none", "No verdict: a fault of the gateway; its log says more.")
