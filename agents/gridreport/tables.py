"""The tables of a grid's report: configurations beside baselines, trials, tearsheets."""

from collections.abc import Iterable, Sequence
from html import escape

from agents.gridreport.finding import Curves
from agents.gridreport.findings import Findings, Row, TrialRow
from agents.page import folded, pairs, table
from agents.plots.records import spark
from agents.statistics.blocks import Interval
from agents.statistics.words import percent
from agents.trials.trial import Scores

_HEAD = (
    "", "trials", "validation", "Sharpe", "95 %", "record", "deflated", "beats chosen",
    "return", "drawdown", "turnover", "cost, bps",
)  # fmt: skip
_SHOWN = (
    "log_return", "sharpe", "sortino", "max_drawdown", "turnover", "trades", "fees", "exposure",
    "in_market",
)  # fmt: skip


def configurations(f: Findings) -> str:
    """Return the configurations, best first, and the baselines below them."""
    rows = [_row(row, "own" if f.chosen and row.name == f.chosen.key else "") for row in
            f.configurations]  # fmt: skip
    rows += [_row(r, "beside rule" if i == 0 else "beside") for i, r in enumerate(f.baselines)]
    head = "".join(f"<th>{escape(name)}</th>" for name in _HEAD)
    return _wide(head, "".join(rows))


def trials(f: Findings) -> str:
    """Return every trial, with a link to its tearsheet."""
    head = ("trial", "fold", "seed", "state", "steps", "validation", "test", "test return")
    rows = "".join(
        f'<tr><th><a href="#{t.name}"><code>{t.name}</code></a></th>'
        + _cells(
            t.fold, t.seed, t.status, f"{t.steps:,}", ratio(t.validation.get("sharpe")),
            ratio(t.test.get("sharpe")), _signed(t.test.get("log_return")),
        )
        + "</tr>"
        for t in f.trials
    )  # fmt: skip
    top = "".join(f"<th>{h}</th>" for h in head)
    return _wide(top, rows)


def tearsheets(f: Findings, curves: Curves) -> str:
    """Return a sheet for each trial, those of a configuration together behind a click."""
    return "".join(
        folded(
            f"<code>{row.name}</code> {escape(row.said)}",
            "".join(_sheet(t, curves) for t in f.trials if t.configuration == row.name),
        )
        for row in f.configurations
    )


def failures(found: Iterable[TrialRow]) -> str:
    """Return what failed or was stopped, and its last lines."""
    return "".join(
        f"<p><code>{t.name}</code> {escape(t.status)}: {escape(t.why)}</p>"
        + (f"<pre>{escape(t.log)}</pre>" if t.log else "")
        for t in found
    )


def ratio(value: float | None) -> str:
    """Return a ratio, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def between(found: Interval | None) -> str:
    """Return an interval, or nothing where there is one value alone."""
    return (
        "" if found is None or found.low == found.high else f"{found.low:.1f} to {found.high:.1f}"
    )


def tiles(found: Iterable[tuple[str, str]]) -> str:
    """Return figures with what they are below them."""
    cells = "".join(f"<div><b>{escape(v)}</b><span>{escape(k)}</span></div>" for v, k in found)
    return f'<div class="tiles">{cells}</div>'


def _row(row: Row, kind: str) -> str:
    name = f"<code>{escape(row.name)}</code> {escape(row.said)}" if row.said else escape(row.name)
    states = ", ".join(
        str(n) if status == "done" else f"{n} {status}" for status, n in row.trials.items()
    )
    turnover = "-" if row.turnover_per_year is None else f"{row.turnover_per_year:,.0f} x"
    return (
        f'<tr class="{kind}"><th>{name}</th>'
        + _cells(
            states,
            ratio(row.validation),
            ratio(row.sharpe.value if row.sharpe else None),
            between(row.sharpe),
            ratio(row.record),
            "-" if row.deflated is None else percent(row.deflated),
            "-" if row.better is None else f"{row.better:.0%}",
            _signed(row.total_return),
            "-" if row.max_drawdown is None else f"{row.max_drawdown:.1%}",
            turnover,
            "-" if row.cost_bps is None else f"{row.cost_bps:.2f}",
        )
        + "</tr>"
    )


def _wide(head: str, body: str) -> str:
    whole = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{whole}</table></div>'


def _sheet(t: TrialRow, curves: Curves) -> str:
    facts = {"state": t.status, "checkpoint": t.digest or "none", "decisions": f"{t.steps:,}"}
    if t.why:
        facts["why"] = t.why
    body = pairs(facts) + (f"<pre>{escape(t.log)}</pre>" if t.log else "")
    tracks = curves.tracks.get(t.name)
    if tracks is not None:
        rows = [[k.replace("_", " "), _figure(t.validation, k), _figure(t.test, k)] for k in _SHOWN]
        drawn = "".join(
            f"<h3>equity, {name}</h3>{spark(tracks[name].ts_ns, tracks[name].equity)}"
            for name in ("validation", "test")
            if name in tracks
        )
        figures = table(["", "validation", "test"], rows)
        body = f'<div class="pair"><div>{body}{drawn}</div><div>{figures}</div></div>'
    return (
        f'<div class="sheet" id="{t.name}"><h3>fold {t.fold}, seed {t.seed} '
        f"<code>{t.name}</code></h3>{body}</div>"
    )


def _figure(scores: Scores, key: str) -> str:
    value = scores.get(key)
    return "-" if value is None else f"{value:,.4g}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2%}"


def _cells(*texts: object) -> str:
    return "".join(f"<td>{escape(str(text))}</td>" for text in texts)


__all__: Sequence[str] = (
    "between", "configurations", "failures", "ratio", "tearsheets", "tiles", "trials"
)  # fmt: skip
