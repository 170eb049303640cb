"""What an evaluation found: figures, circumstances and curves, and how a person reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from agents.diagnostics.diagnosis import Diagnosis
from agents.diagnostics.words import said
from agents.metrics import Metrics, Track
from agents.statistics.blocks import Interval
from agents.statistics.confidence import Confidence
from agents.statistics.verdict import Verdict
from grid.venue import Venue

AGENT: Final = "agent"
TRAINING: Final = "in training"

type Figure = Callable[[Metrics, Confidence | None], str]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint under changed circumstances.

    Attributes:
        name: what was changed.
        metrics: None where it was not run.
        note: why it was not.
    """

    name: str
    metrics: Metrics | None
    note: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All of an evaluation but its curves: what `evaluation.json` holds.

    Attributes:
        checkpoint: digest.
        algo: of the agent.
        dataset: name.
        fingerprint: of the dataset.
        instrument_id: what was traded.
        currency: of the account.
        rows: half-open range of the dataset's rows.
        start: time of the first decision.
        end: time of the last row.
        trained: the span that the agent learned from.
        capital: starting balance.
        venue: costs.
        seed: of the random baseline.
        metrics: of the agent and each baseline.
        notes: what a reader must know, a sentence each.
        confidence: intervals of the agent's and each baseline's figures.
        verdict: None on rows that the agent learned from, or too few.
        training: figures of the agent on the last rows that it learned from; their distance from
            those on unseen rows is what it learned by heart.
        diagnosis: how the agent came to its result.
        sensitivity: under other costs, delays and seeds; nothing where that was not asked for.
    """

    checkpoint: str
    algo: str
    dataset: str
    fingerprint: str
    instrument_id: str
    currency: str
    rows: tuple[int, int]
    start: str
    end: str
    trained: tuple[str, str]
    capital: float
    venue: Venue
    seed: int
    metrics: dict[str, Metrics]
    notes: tuple[str, ...]
    confidence: dict[str, Confidence] = {}
    verdict: Verdict | None = None
    training: Metrics | None = None
    diagnosis: Diagnosis | None = None
    sensitivity: tuple[Case, ...] = ()

    def columns(self) -> dict[str, tuple[Metrics, Confidence | None]]:
        """Return the columns of a table: the agent, each baseline, the agent in training."""
        found = {name: (m, self.confidence.get(name)) for name, m in self.metrics.items()}
        return found if self.training is None else {**found, TRAINING: (self.training, None)}


@dataclass(frozen=True)
class Evaluation:
    """Facts and curves.

    Attributes:
        facts: figures and circumstances.
        tracks: of the agent and each baseline, the agent first.
        out: folder that holds `evaluation.json`, `curves.csv` and the engine's reports.
    """

    facts: Facts
    tracks: dict[str, Track]
    out: Path


def render(evaluation: Evaluation) -> str:
    """Return the figures as a text table, a column for each policy, and what they rest on."""
    facts = evaluation.facts
    columns = facts.columns()
    lines = [
        f"{facts.instrument_id}, {facts.dataset}, {facts.start} to {facts.end}, "
        f"{facts.metrics[AGENT].steps:,} decisions",
        "",
        f"{'':<22}" + "".join(f"{name:>16}" for name in columns),
    ]
    for label, text in figures().items():
        cells = "".join(f"{text(*column):>16}" for column in columns.values())
        lines.append(f"{label:<22}{cells}".rstrip())
    if facts.diagnosis is not None:
        lines += ["", *_pairs(said(facts.diagnosis, facts.currency))]
    if facts.sensitivity:
        lines += ["", f"{'':<22}{'total return':>16}{'Sharpe, annual':>16}{'max drawdown':>16}"]
        lines += [_case(case) for case in facts.sensitivity]
    if facts.verdict is not None:
        lines += ["", facts.verdict.line, *(f"- {reason}" for reason in facts.verdict.reasons)]
    return "\n".join([*lines, "", *(f"- {note}" for note in facts.notes)])


def figures() -> dict[str, Figure]:
    """Return the rows of a table of figures: label, and how to write its cell."""

    def ratio(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    def between(found: Interval | None, text: str) -> str:
        return "" if found is None else f"{found.low:{text}} to {found.high:{text}}"

    def years(value: float | None) -> str:
        return "-" if value is None else f"{value:,.1f} years" if value < 1e4 else "for ever"

    return {
        "total return": lambda m, c: f"{m.total_return:+.2%}",
        "  return, 95 %": lambda m, c: between(c and c.total_return, "+.1%"),
        "log return": lambda m, c: f"{m.log_return:+.4f}",
        "Sharpe, annual": lambda m, c: ratio(m.sharpe),
        "  Sharpe, 95 %": lambda m, c: between(c and c.sharpe, ".1f"),
        "Sortino, annual": lambda m, c: ratio(m.sortino),
        "P(true Sharpe > 0)": lambda m, c: ratio(m.psr),
        "  95 % sure after": lambda m, c: "" if c is None else years(c.min_years),
        "max drawdown": lambda m, c: f"{m.max_drawdown:.2%}",
        "turnover": lambda m, c: f"{m.turnover:,.1f} x",
        "trades": lambda m, c: f"{m.trades:,}",
        "fees": lambda m, c: f"{m.fees:,.2f}",
        "mean exposure": lambda m, c: f"{m.exposure:.2f} x",
        "time in market": lambda m, c: f"{m.in_market:.1%}",
    }


def _pairs(pairs: dict[str, str]) -> list[str]:
    return [f"{label:<22}{text}" for label, text in pairs.items()]


def _case(case: Case) -> str:
    m = case.metrics
    if m is None:
        return f"{case.name:<22}{case.note}"
    ratio = "-" if m.sharpe is None else f"{m.sharpe:.2f}"
    return f"{case.name:<22}{m.total_return:>+16.2%}{ratio:>16}{m.max_drawdown:>16.2%}"
