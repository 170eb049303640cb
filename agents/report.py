"""An evaluation as one HTML file that needs no network: what was found, and how sure that is."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.diagnosed import pictures
from agents.diagnostics.diagnosis import Diagnosis
from agents.diagnostics.words import said
from agents.page import banner, bullets, page, pairs, picture, section, table
from agents.plots import curves, latency
from agents.plots.intervals import forest
from agents.scorecard import AGENT, Evaluation, Facts, figures
from agents.statistics.verdict import HOLDS, LUCK, WORTH, Verdict
from grid.durable import write_atomic

type Floats = NDArray[np.float64]
type Parity = Sequence[tuple[str, bool, str]]

_KINDS: Final = {HOLDS: "good", WORTH: "good", LUCK: "open"}


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a recorded session adds to a report.

    Attributes:
        name: of the session.
        latency_us: label, such as `market event to order accepted`, to float64 [n] microseconds.
        facts: label to value, as they are to be read.
    """

    name: str
    latency_us: dict[str, Floats] = {}
    facts: dict[str, str] = {}


def write_report(
    path: Path,
    evaluation: Evaluation,
    *,
    session: SessionFacts | None = None,
    parity: Parity | None = None,
) -> Path:
    """Write the report of an evaluation, and of a session if there was one; return its path.

    Args:
        path: of the HTML file; its folder is made if there is none.
        evaluation: curves and figures.
        session: latencies and facts of the live run.
        parity: for each comparison its name, whether it held, and what was compared.
    """
    facts, tracks = evaluation.facts, evaluation.tracks
    parts = [
        _header(facts),
        "" if facts.verdict is None else _verdict(facts.verdict),
        section("What was measured", _measured(facts)),
        section("Equity and drawdown", picture(curves.equity(tracks))),
        section("How sure the Sharpe ratios are", _intervals(facts)),
        section("Positions on price", picture(curves.positions(tracks[AGENT]))),
        "" if facts.diagnosis is None else _diagnosis(facts.diagnosis, facts.currency),
        section("In a less kind world", _sensitivity(facts)) if facts.sensitivity else "",
    ]
    if session is not None:
        body = pairs(session.facts)
        if session.latency_us:
            body += _latency_table(session.latency_us)
            body += picture(latency.latency(session.latency_us))
        parts.append(section(f"Session {session.name}", body))
    if parity is not None:
        parts.append(section("Do replay, live and env agree?", _parity_table(parity)))
    parts.append(section("Costs and circumstances", pairs(_circumstances(facts))))
    title = f"{facts.instrument_id}: {facts.algo} agent {facts.checkpoint[:8]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page(title, filter(None, parts)))
    return path


def _header(f: Facts) -> str:
    return (
        f"<header><h1>{escape(f.instrument_id)}, {escape(f.algo.upper())} agent "
        f"<code>{f.checkpoint[:8]}</code></h1>"
        f"<p>{escape(f.start)} to {escape(f.end)} UTC, {f.metrics[AGENT].steps:,} decisions on "
        f"{escape(f.dataset)}. Learned from {escape(f.trained[0])} to {escape(f.trained[1])}.</p>"
        "</header>"
    )


def _verdict(v: Verdict) -> str:
    return banner(v.grade, v.line, v.reasons, _KINDS.get(v.grade, "bad"))


def _measured(f: Facts) -> str:
    columns = f.columns()
    rows = ([k, *(text(*c) for c in columns.values())] for k, text in figures().items())
    return table(["", *columns], rows, own=AGENT) + bullets(f.notes)


def _intervals(f: Facts) -> str:
    found = {name: c.sharpe for name, c in f.confidence.items() if c.sharpe is not None}
    if not found:
        return bullets(["No policy's equity moved."])
    many = f.verdict is not None and f.verdict.tried > 1
    luck = f.verdict.luck_sharpe if f.verdict is not None and many else None
    return picture(forest(found, luck))


def _diagnosis(d: Diagnosis, currency: str) -> str:
    return section("How it came about", f"{pictures(d, currency)}{pairs(said(d, currency))}")


def _sensitivity(f: Facts) -> str:
    shown = ("total return", "Sharpe, annual", "max drawdown", "trades", "fees")
    texts = figures()
    rows = [
        [c.name, *(texts[k](c.metrics, None) for k in shown)]
        if c.metrics is not None
        else [c.name, c.note, *("" for _ in shown[1:])]
        for c in f.sensitivity
    ]
    return table(["", *shown], rows)


def _latency_table(latency_us: dict[str, Floats]) -> str:
    shown = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    rows = []
    for label, values in latency_us.items():
        points = np.percentile(values, list(shown.values())).tolist() if len(values) else []
        cells = [f"{p:,.0f}" for p in points] or [""] * len(shown)
        rows.append([label, f"{len(values):,}", *cells])
    return table(["microseconds", "count", *shown], rows)


def _parity_table(parity: Parity) -> str:
    rows = "".join(
        f'<tr><th>{escape(name)}</th><td class="{"yes" if held else "no"}">'
        f'{"equal" if held else "different"}</td><td class="text">{escape(detail)}</td></tr>'
        for name, held, detail in parity
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _circumstances(f: Facts) -> dict[str, str]:
    v = f.venue
    return {
        "taker fee": f"{v.taker_fee_bps:g} bps of notional",
        "half spread": f"{v.half_spread_bps:g} bps of price, where quotes are made from bars",
        "latency": f"{v.latency_text}, from decision to arrival",
        "account": f"{v.account}, leverage up to {v.leverage:g}, {f.capital:,.0f} {f.currency}",
        "fills": "whole, on the next quote after arrival; no market impact, no financing",
        "dataset": f"{f.dataset}, fingerprint {f.fingerprint}",
        "rows": f"{f.rows[0]:,} to {f.rows[1]:,}",
        "checkpoint": f.checkpoint,
    }
