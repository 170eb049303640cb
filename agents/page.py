"""An HTML page that needs no network: its skeleton, its style, and what it is put together from."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from agents.plots.style import COLORS, FONT, GRID, INK
from agents.scorecard import AGENT


def page(title: str, parts: Iterable[str]) -> bytes:
    """Return a whole page, Plotly included."""
    return _PAGE.format(
        title=escape(title), style=_STYLE, plotly=get_plotlyjs(), body="\n".join(parts)
    ).encode()


def section(title: str, body: str, read: str = "", anchor: str = "") -> str:
    """Return a card with a heading.

    Args:
        title: the heading.
        body: HTML.
        read: how to read it, in a few sentences.
        anchor: to link to.
    """
    named = f' id="{anchor}"' if anchor else ""
    how = f'<p class="read">{escape(read)}</p>' if read else ""
    return f"<section{named}><h2>{escape(title)}</h2>{how}{body}</section>"


def contents(anchors: dict[str, str]) -> str:
    """Return links to sections: anchor to title."""
    links = "".join(f'<a href="#{a}">{escape(title)}</a>' for a, title in anchors.items())
    return f"<nav>{links}</nav>"


def folded(title: str, body: str, anchor: str = "") -> str:
    """Return what opens by a click."""
    named = f' id="{anchor}"' if anchor else ""
    return f"<details{named}><summary>{title}</summary>{body}</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], own: str = "") -> str:
    """Return a table of text; the first cell of a row is its label.

    Args:
        head: of the columns, an empty string above the labels.
        rows: as many cells each.
        own: heading of the column that stands out.
    """
    marks = [' class="own"' if own and name == own else "" for name in head]
    top = "".join(f"<th{m}>{escape(name)}</th>" for name, m in zip(head, marks, strict=True))
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>"
        + "".join(f"<td{m}>{escape(c)}</td>" for c, m in zip(row[1:], marks[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def pairs(found: dict[str, str]) -> str:
    """Return labels and texts as a table without a heading."""
    rows = "".join(
        f'<tr><th>{escape(k)}</th><td class="text">{escape(v)}</td></tr>' for k, v in found.items()
    )
    return f"<table><tbody>{rows}</tbody></table>" if rows else ""


def bullets(sentences: Iterable[str]) -> str:
    """Return sentences as a list."""
    return '<ul class="notes">' + "".join(f"<li>{escape(s)}</li>" for s in sentences) + "</ul>"


def picture(figure: go.Figure) -> str:
    """Return a figure as HTML."""
    html: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True},
    )
    return f'<div class="plot">{html}</div>'


def banner(grade: str, line: str, reasons: Sequence[str], kind: str) -> str:
    """Return a verdict as the first thing that a reader sees.

    Args:
        grade: in two or three words.
        line: the verdict in a sentence.
        reasons: a sentence each.
        kind: `good`, `open` or `bad`, for its color.
    """
    return (
        f'<section class="verdict {kind}"><h2>{escape(grade)}</h2><p>{escape(line)}</p>'
        f"{bullets(reasons)}</section>"
    )


_STYLE: Final = f"""
:root {{ color-scheme: light; }}
body {{ margin: 0; background: #f8fafc; color: {INK}; font: 15px/1.5 {FONT}; }}
main {{ max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }}
header h1 {{ font-size: 26px; font-weight: 650; letter-spacing: -0.01em; margin: 0 0 4px; }}
header p {{ margin: 0 0 24px; color: #475569; }}
section {{ background: #fff; border: 1px solid {GRID}; border-radius: 10px;
  padding: 20px 24px; margin: 0 0 20px; overflow-x: auto; }}
h2 {{ font-size: 17px; font-weight: 600; margin: 0 0 12px; }}
code {{ font: 0.9em ui-monospace, Menlo, Consolas, monospace; color: #475569; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0 0 12px; }}
th, td {{ padding: 5px 18px 5px 0; border-bottom: 1px solid #f1f5f9; text-align: right; }}
th {{ font-weight: 500; color: #475569; }}
tbody th, td.text {{ text-align: left; }}
tbody th {{ white-space: nowrap; vertical-align: top; }}
thead th {{ border-bottom: 1px solid #cbd5e1; }}
.own {{ color: {COLORS[AGENT]}; font-weight: 600; }}
.yes {{ color: #047857; font-weight: 600; }}
.no {{ color: #b91c1c; font-weight: 600; }}
.pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: 8px 24px; }}
.pair > * {{ min-width: 0; }}
@media (max-width: 820px) {{ .pair {{ grid-template-columns: 1fr; }} }}
h3 {{ font-size: 14px; font-weight: 600; color: #475569; margin: 12px 0 4px; }}
.verdict {{ border-left-width: 6px; }}
.verdict h2 {{ font-size: 14px; letter-spacing: 0.03em; text-transform: uppercase; margin: 0; }}
.verdict p {{ font-size: 19px; line-height: 1.4; margin: 4px 0 10px; }}
.verdict.good {{ border-left-color: #059669; }} .verdict.good h2 {{ color: #047857; }}
.verdict.open {{ border-left-color: #d97706; }} .verdict.open h2 {{ color: #b45309; }}
.verdict.bad {{ border-left-color: #64748b; }} .verdict.bad h2 {{ color: #475569; }}
.read {{ margin: -4px 0 14px; padding: 2px 0 2px 12px; border-left: 3px solid {GRID};
  color: #475569; font-size: 14px; max-width: 860px; }}
nav {{ position: sticky; top: 0; z-index: 9; background: #f8fafc; padding: 10px 0;
  margin: 0 0 8px; display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13.5px; }}
nav a, td a, th a {{ color: {COLORS[AGENT]}; text-decoration: none; }}
nav a:hover, td a:hover, th a:hover {{ text-decoration: underline; }}
section, details {{ scroll-margin-top: 64px; }}
.tiles {{ display: flex; flex-wrap: wrap; gap: 10px 36px; margin: 0 0 24px; }}
.tiles div {{ min-width: 92px; }}
.tiles b {{ display: block; font-size: 22px; font-weight: 600; letter-spacing: -0.01em; }}
.tiles span {{ color: #475569; font-size: 13px; }}
.verdict p.read {{ font-size: 14px; margin: 14px 0 2px; }}
.wide table {{ font-size: 13px; }}
.wide th, .wide td {{ white-space: nowrap; padding-right: 12px; }}
.wide td a {{ font-size: 12px; }}
.sheet {{ border: 1px solid {GRID}; border-radius: 8px; padding: 4px 16px 8px; margin: 10px 0; }}
.sheet table {{ font-size: 13px; }}
tr.own th, tr.own td {{ background: #eff6ff; color: {INK}; }}
tr.beside th, tr.beside td {{ color: #64748b; }}
tr.rule td, tr.rule th {{ border-top: 2px solid #cbd5e1; }}
details {{ border-top: 1px solid #f1f5f9; padding: 6px 0; }}
summary {{ cursor: pointer; font-size: 14px; }}
pre {{ background: #f8fafc; border: 1px solid {GRID}; border-radius: 6px; padding: 10px 14px;
  font: 12.5px/1.45 ui-monospace, Menlo, Consolas, monospace; overflow-x: auto; }}
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
</main>
<script>
function show() {{ // what a link leads to may be folded away
  const target = document.getElementById(location.hash.slice(1));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target) target.scrollIntoView();
}}
addEventListener("hashchange", show);
addEventListener("load", () => location.hash && show());
</script></body>
</html>
"""
