"""What a grid's report says: all of its figures, as `report.json` holds them.

`Findings` depend on trials and data alone: a grid that was killed and resumed has the same ones as
a grid that nobody touched. When, where, and how often something was tried again is in
`Circumstances`.
"""

from typing import Any

import msgspec

from agents.config import Span
from agents.diagnostics.diagnosis import Diagnosis
from agents.metrics import Metrics
from agents.scorecard import Case
from agents.statistics.blocks import Interval
from agents.statistics.verdict import Verdict
from agents.trials.trial import Dates, Scores


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration or a baseline on the test spans.

    Attributes:
        name: key of the configuration, or name of the baseline.
        said: its point of the axes in short; empty of a baseline.
        params: its point of the axes.
        trials: status -> how many.
        scores: annualized Sharpe ratio of each trial that is done, by fold and seed.
        validation: the objective on the validation spans, mean over folds and seeds.
        sharpe: interquartile mean of `scores` with its stratified interval; None without all.
        record: annualized Sharpe ratio of the joined folds, seeds averaged.
        total_return: of that record, after all costs.
        max_drawdown: of that record.
        deflated: probability that the record's true ratio exceeds what luck gives the best of all.
        better: probability of a higher Sharpe ratio than the chosen one's in a fold (Agarwal et al.
            2021); None of the chosen one itself.
        turnover_per_year: notional traded over equity, mean over trials.
        cost_bps: fees and worse prices, of what was traded; None without a trade.
        trades: in a trial, on average.
    """

    name: str
    said: str = ""
    params: dict[str, Any] = {}
    trials: dict[str, int] = {}
    scores: tuple[tuple[int, int, float], ...] = ()
    validation: float | None = None
    sharpe: Interval | None = None
    record: float | None = None
    total_return: float | None = None
    max_drawdown: float | None = None
    deflated: float | None = None
    better: float | None = None
    turnover_per_year: float | None = None
    cost_bps: float | None = None
    trades: float | None = None


class TrialRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trial, whatever became of it.

    Attributes:
        name: of the trial.
        configuration: its key.
        fold: index.
        seed: of everything random in it.
        status: `done`, `pruned`, `failed`, `waiting` or `running`.
        steps: decisions in training.
        digest: of the final checkpoint, empty without one.
        validation: figures on the validation span.
        test: figures on the test span.
        why: it was pruned or failed.
        log: its last lines, of one that failed.
    """

    name: str
    configuration: str
    fold: int
    seed: int
    status: str
    steps: int
    digest: str = ""
    validation: Scores = {}
    test: Scores = {}
    why: str = ""
    log: str = ""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration that the validation spans chose, more closely.

    Attributes:
        key: of the configuration.
        said: its point of the axes in short.
        trials: names of its trials of the newest fold: what would be traded.
        seed: of the trials that `diagnosis` and `worlds` are of: the middle one by its return.
        diagnosis: how that seed came to its result on the joined test spans.
        worlds: that seed under other costs and delays; nothing where that was not played.
        training: that seed on the last rows that it learned from.
    """

    key: str
    said: str
    trials: tuple[str, ...]
    seed: int
    diagnosis: Diagnosis
    worlds: tuple[Case, ...] = ()
    training: Metrics | None = None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What a grid has found.

    Attributes:
        name: of the grid.
        objective: figure of the validation spans that chose.
        verdict: None where nothing can be judged yet; `unjudged` says why.
        unjudged: empty with a verdict.
        tried: configurations with a trial begun; failed and stopped ones count.
        statuses: trials by status.
        excluded: points that the grid excludes.
        invalid: points that make no valid run, with the reason.
        folds: spans in time.
        holdout: span that no trial has seen, if any.
        opened: key of the configuration that the holdout was opened for, empty before.
        seeds: of each configuration.
        configurations: best first, by the validation spans.
        baselines: on the same test spans under the same costs.
        trials: all of them.
        chosen: None before a configuration is done.
        best_on_test: key of the configuration with the highest ratio on the test spans: nobody may
            choose by these, so it is told and not judged.
        logits: counts of the logits of the best one's rank on the other half of time, in bins of
            `logit_edges`.
        logit_edges: one more than bins.
        notes: what a reader must know, a sentence each.
        data: dataset -> fingerprint of what the trials read.
        sources: dataset -> fingerprint of the whole.
        config: of the grid, complete.
    """

    name: str
    objective: str
    verdict: Verdict | None
    unjudged: str
    tried: int
    statuses: dict[str, int]
    excluded: int
    invalid: dict[str, str]
    folds: tuple[Dates, ...]
    holdout: Span | None
    opened: str
    seeds: tuple[int, ...]
    configurations: tuple[Row, ...]
    baselines: tuple[Row, ...]
    trials: tuple[TrialRow, ...]
    chosen: Chosen | None
    best_on_test: str
    logits: tuple[int, ...]
    logit_edges: tuple[float, ...]
    notes: tuple[str, ...]
    data: dict[str, str]
    sources: dict[str, str]
    config: dict[str, Any]

    def row(self, key: str) -> Row | None:
        """Return the row of a configuration, None where there is no such."""
        return next((row for row in self.configurations if row.name == key), None)


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """When, where and with what a grid was run.

    Attributes:
        state: `complete`, `budget`, `interrupted`, another reason, or `running`.
        steps: decisions in training.
        hours: that launchers ran.
        launches: how often it was begun or gone on with.
        again: trials' attempts beyond the first.
        by: who planned it.
        commits: of the source, one for each launch, without repetition.
        versions: of packages.
        platform: of the trials.
        first: time of the first line of the journal.
        last: time of the last one.
    """

    state: str
    steps: float
    hours: float
    launches: int
    again: int
    by: str
    commits: tuple[str, ...]
    versions: dict[str, str]
    platform: str
    first: str
    last: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`report.json`: a grid's findings, and those of the one that it is compared with."""

    findings: Findings
    circumstances: Circumstances
    other: Findings | None = None
