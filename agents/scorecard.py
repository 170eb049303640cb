"""What an evaluation found: figures, circumstances and curves, and how a person reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from agents.metrics import Metrics, Track
from grid.venue import Venue

AGENT: Final = "agent"


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
    lines = [
        f"{facts.instrument_id}, {facts.dataset}, {facts.start} to {facts.end}, "
        f"{facts.metrics[AGENT].steps:,} decisions",
        "",
        f"{'':<22}" + "".join(f"{name:>12}" for name in facts.metrics),
    ]
    for label, text in figures().items():
        cells = "".join(f"{text(m):>12}" for m in facts.metrics.values())
        lines.append(f"{label:<22}{cells}")
    return "\n".join([*lines, "", *(f"- {note}" for note in facts.notes)])


def figures() -> dict[str, Callable[[Metrics], str]]:
    """Return the rows of a table of metrics: label, and how to write its cell."""

    def ratio(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    return {
        "total return": lambda m: f"{m.total_return:+.2%}",
        "log return": lambda m: f"{m.log_return:+.4f}",
        "Sharpe, annual": lambda m: ratio(m.sharpe),
        "Sortino, annual": lambda m: ratio(m.sortino),
        "P(true Sharpe > 0)": lambda m: ratio(m.psr),
        "max drawdown": lambda m: f"{m.max_drawdown:.2%}",
        "turnover": lambda m: f"{m.turnover:,.1f} x",
        "trades": lambda m: f"{m.trades:,}",
        "fees": lambda m: f"{m.fees:,.2f}",
        "mean exposure": lambda m: f"{m.exposure:.2f} x",
        "time in market": lambda m: f"{m.in_market:.1%}",
    }
