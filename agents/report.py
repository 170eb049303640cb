"""An evaluation as one HTML file that needs no network: what was measured, under which costs."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from agents.durable import write_atomic
from agents.metrics import Track, drawdown
from agents.scorecard import AGENT, Evaluation, figures

type Floats = NDArray[np.float64]
type Parity = Sequence[tuple[str, bool, str]]

_COLORS: Final = {
    AGENT: "#1d4ed8",
    "flat": "#94a3b8",
    "hold": "#b45309",
    "random": "#7c3aed",
    "momentum": "#047857",
}
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
_INK, _GRID = "#1e293b", "#e2e8f0"
_MOST_POINTS: Final = 20_000  # of a curve; more are thinned, for no screen shows them
_BINS: Final = 60


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
    facts = evaluation.facts
    sections = [
        _header(evaluation),
        _section("What was measured", _metrics_table(evaluation) + _notes(facts.notes)),
        _section("Equity and drawdown", _plot(_equity(evaluation.tracks))),
        _section("Positions on price", _plot(_positions(evaluation.tracks[AGENT]))),
    ]
    if session is not None:
        body = _pairs(session.facts)
        if session.latency_us:
            body += _latency_table(session.latency_us) + _plot(_latency(session.latency_us))
        sections.append(_section(f"Session {session.name}", body))
    if parity is not None:
        sections.append(_section("Do replay, live and env agree?", _parity_table(parity)))
    sections.append(_section("Costs and circumstances", _pairs(_circumstances(evaluation))))
    title = f"{facts.instrument_id}: {facts.algo} agent {facts.checkpoint[:8]}"
    page = _PAGE.format(
        title=escape(title), style=_STYLE, plotly=get_plotlyjs(), body="\n".join(sections)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page.encode())
    return path


def _equity(tracks: dict[str, Track]) -> go.Figure:
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.05
    )
    for name, track in tracks.items():
        at = _thin(len(track.equity))
        x = _times(track.ts_ns[at])
        line = {"color": _COLORS.get(name, "#475569"), "width": 2.4 if name == AGENT else 1.3}
        change = 100.0 * (track.equity / track.equity[0] - 1.0)
        common: dict[str, Any] = {
            "x": x, "name": name, "line": line, "legendgroup": name, "mode": "lines",
        }  # fmt: skip
        figure.add_scatter(y=change[at], hovertemplate="%{y:+.2f} %", **common, row=1, col=1)
        figure.add_scatter(
            y=-100.0 * drawdown(track.equity)[at],
            hovertemplate="%{y:.2f} %",
            showlegend=False,
            **common,
            row=2,
            col=1,
        )
    figure.update_yaxes(title_text="change of equity, %", row=1, col=1)
    figure.update_yaxes(title_text="drawdown, %", row=2, col=1)
    return _styled(figure, 520)


def _positions(track: Track) -> go.Figure:
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.05
    )
    at = _thin(len(track.price))
    figure.add_scatter(
        x=_times(track.ts_ns[at]),
        y=track.price[at],
        name="price",
        mode="lines",
        line={"color": "#64748b", "width": 1.2},
        hovertemplate="%{y}",
        row=1,
        col=1,
    )
    for name, sign, color, symbol in (
        ("bought", 1.0, "#059669", "triangle-up"),
        ("sold", -1.0, "#dc2626", "triangle-down"),
    ):
        fills = track.fills[track.fills[:, 1] * sign > 0]
        figure.add_scatter(
            x=_times(fills[:, 0].astype(np.int64)),
            y=fills[:, 2],
            name=name,
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 8, "line": {"width": 0}},
            customdata=np.abs(fills[:, 1]),
            hovertemplate="%{customdata:,} at %{y}",
            row=1,
            col=1,
        )
    figure.add_scatter(
        x=_times(track.ts_ns[at]),
        y=track.position_qty[at],
        name="position",
        mode="lines",
        line={"color": _COLORS[AGENT], "width": 1.2, "shape": "hv"},
        fill="tozeroy",
        fillcolor="rgba(29, 78, 216, 0.12)",
        hovertemplate="%{y:,}",
        showlegend=False,
        row=2,
        col=1,
    )
    start, end = _times(track.ts_ns[[0, -1]])
    figure.update_xaxes(range=[start, end])
    figure.update_yaxes(title_text="price", row=1, col=1)
    figure.update_yaxes(title_text="position, units", row=2, col=1)
    return _styled(figure, 520)


def _latency(latency_us: dict[str, Floats]) -> go.Figure:
    figure = make_subplots(
        rows=len(latency_us),
        cols=1,
        subplot_titles=[f"{escape(label)}" for label in latency_us],
        vertical_spacing=0.32 / len(latency_us),
    )
    for row, values in enumerate(latency_us.values(), start=1):
        # the worst hundredth would flatten the rest into one bar: it is counted in the last bin
        p50, p99 = np.percentile(values, [50, 99]) if len(values) else (0.0, 0.0)
        top = max(float(p99) * 1.15, 1.0)
        counts, edges = np.histogram(np.minimum(values, top), bins=_BINS, range=(0.0, top))
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2.0,
            y=counts,
            width=np.diff(edges),
            marker={"color": "#93c5fd", "line": {"color": "#ffffff", "width": 0.5}},
            hovertemplate="%{x:,.0f} us: %{y}",
            showlegend=False,
            name="",
            row=row,
            col=1,
        )
        for label, at, color in (("p50", p50, _COLORS[AGENT]), ("p99", p99, "#b91c1c")):
            figure.add_vline(
                x=float(at),
                line={"color": color, "width": 1.6, "dash": "dot"},
                annotation={
                    "text": f"{label} {at:,.0f} us",
                    "font": {"color": color, "size": 12},
                    "bgcolor": "rgba(255, 255, 255, 0.85)",
                },
                row=row,
                col=1,
            )
    figure.update_xaxes(title_text="microseconds", row=len(latency_us), col=1)
    figure.update_yaxes(title_text="decisions")
    return _styled(figure, 60 + 260 * len(latency_us), hover="closest")


def _styled(figure: go.Figure, height: int, hover: str = "x unified") -> go.Figure:
    figure.update_layout(
        height=height,
        template="plotly_white",
        font={"family": _FONT, "size": 13, "color": _INK},
        margin={"l": 70, "r": 20, "t": 40, "b": 40},
        hovermode=hover,
        legend={"orientation": "h", "y": 1.03, "yanchor": "bottom", "x": 0},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        bargap=0,
    )
    figure.update_xaxes(gridcolor=_GRID, zeroline=False)
    figure.update_yaxes(gridcolor=_GRID, zerolinecolor="#cbd5e1")
    return figure


def _plot(figure: go.Figure) -> str:
    html: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True},
    )
    return f'<div class="plot">{html}</div>'


def _header(evaluation: Evaluation) -> str:
    f = evaluation.facts
    agent = f.metrics[AGENT]
    return (
        f"<header><h1>{escape(f.instrument_id)}, {escape(f.algo.upper())} agent "
        f"<code>{f.checkpoint[:8]}</code></h1>"
        f"<p>{escape(f.start)} to {escape(f.end)} UTC, {agent.steps:,} decisions on "
        f"{escape(f.dataset)}. Learned from {escape(f.trained[0])} to {escape(f.trained[1])}.</p>"
        "</header>"
    )


def _metrics_table(evaluation: Evaluation) -> str:
    metrics = evaluation.facts.metrics
    head = "".join(
        f'<th class="{"own" if name == AGENT else ""}">{escape(name)}</th>' for name in metrics
    )
    rows = "".join(
        f"<tr><th>{escape(label)}</th>"
        + "".join(
            f'<td class="{"own" if name == AGENT else ""}">{escape(text(m))}</td>'
            for name, m in metrics.items()
        )
        + "</tr>"
        for label, text in figures().items()
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _latency_table(latency_us: dict[str, Floats]) -> str:
    shown = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    head = "".join(f"<th>{name}</th>" for name in shown)
    rows = ""
    for label, values in latency_us.items():
        points = np.percentile(values, list(shown.values())).tolist() if len(values) else []
        cells = "".join(f"<td>{p:,.0f}</td>" for p in points)
        rows += f"<tr><th>{escape(label)}</th><td>{len(values):,}</td>{cells}</tr>"
    return (
        "<table><thead><tr><th>microseconds</th><th>count</th>"
        f"{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _parity_table(parity: Parity) -> str:
    rows = "".join(
        f'<tr><th>{escape(name)}</th><td class="{"yes" if held else "no"}">'
        f'{"equal" if held else "different"}</td><td class="text">{escape(detail)}</td></tr>'
        for name, held, detail in parity
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _circumstances(evaluation: Evaluation) -> dict[str, str]:
    f = evaluation.facts
    v = f.venue
    return {
        "taker fee": f"{v.taker_fee_bps:g} bps of notional",
        "half spread": f"{v.half_spread_bps:g} bps of price, where quotes are made from bars",
        "latency": f"{v.latency_text} from decision to arrival",
        "account": f"{v.account}, leverage up to {v.leverage:g}, {f.capital:,.0f} {f.currency}",
        "fills": "whole, on the next quote after arrival; no market impact, no financing",
        "dataset": f"{f.dataset}, fingerprint {f.fingerprint}",
        "rows": f"{f.rows[0]:,} to {f.rows[1]:,}",
        "checkpoint": f.checkpoint,
    }


def _pairs(pairs: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><th>{escape(k)}</th><td class="text">{escape(v)}</td></tr>' for k, v in pairs.items()
    )
    return f"<table><tbody>{rows}</tbody></table>" if rows else ""


def _notes(notes: tuple[str, ...]) -> str:
    return '<ul class="notes">' + "".join(f"<li>{escape(n)}</li>" for n in notes) + "</ul>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _thin(n: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_POINTS)).astype(np.int64))


def _times(ts_ns: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return ts_ns.astype("datetime64[ns]").astype("datetime64[ms]")


_STYLE: Final = f"""
:root {{ color-scheme: light; }}
body {{ margin: 0; background: #f8fafc; color: {_INK}; font: 15px/1.5 {_FONT}; }}
main {{ max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }}
header h1 {{ font-size: 26px; font-weight: 650; letter-spacing: -0.01em; margin: 0 0 4px; }}
header p {{ margin: 0 0 24px; color: #475569; }}
section {{ background: #fff; border: 1px solid {_GRID}; border-radius: 10px;
  padding: 20px 24px; margin: 0 0 20px; overflow-x: auto; }}
h2 {{ font-size: 17px; font-weight: 600; margin: 0 0 12px; }}
code {{ font: 0.9em ui-monospace, Menlo, Consolas, monospace; color: #475569; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0 0 12px; }}
th, td {{ padding: 5px 18px 5px 0; border-bottom: 1px solid #f1f5f9; text-align: right; }}
th {{ font-weight: 500; color: #475569; }}
tbody th, td.text {{ text-align: left; }}
thead th {{ border-bottom: 1px solid #cbd5e1; }}
.own {{ color: {_COLORS[AGENT]}; font-weight: 600; }}
.yes {{ color: #047857; font-weight: 600; }}
.no {{ color: #b91c1c; font-weight: 600; }}
.notes {{ margin: 4px 0 0; padding-left: 18px; color: #475569; font-size: 14px; }}
"""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<script>{plotly}</script>
</head>
<body><main>
{body}
</main></body>
</html>
"""
