"""Honest fills: after the decision, and at a price that came after it too."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.lookahead.play import Played
from envs.lookahead.report import Report
from grid.dataset import Dataset
from grid.venue import Venue, quotes_from_opens, quotes_from_trades

_WORSE_TICKS: Final = 2.0 + 1e-6  # slippage costs one, and what is beyond the quote's size another


def check_fills(dataset: Dataset, venue: Venue, played: Played, report: Report) -> None:
    """No order fills before it arrives, nor at a price that was on view when it was decided on."""
    times_ns = dataset.columns["ts_event"]
    quoted = _quotes(dataset, venue)
    slack = dataset.manifest.instrument.tick * _WORSE_TICKS
    for what in ("fill time", "fill price"):
        report.note(what, 0)
    for step, decided, fill in played.fills:
        where = f"at row {played.rows[min(step + 1, len(played.rows) - 1)]}: "
        decision_ns = int(times_ns[played.rows[decided]])
        after_ns = fill.ts_event_ns - decision_ns
        early = after_ns < venue.latency_ns or after_ns <= 0
        said = (
            f"{where}expected a fill later than its decision, by {venue.latency_ns / 1e6:g} ms "
            f"or more, found {after_ns / 1e6:g} ms"
        )
        report.note("fill time", 1, said if early else "")
        newest = int(np.searchsorted(quoted.times_ns, fill.ts_event_ns, side="right")) - 1
        first = int(np.searchsorted(quoted.times_ns, quoted.times_ns[newest], side="left"))
        touch = (quoted.ask if fill.signed_qty > 0 else quoted.bid)[first : newest + 1]
        worse = (fill.px - touch) * np.sign(fill.signed_qty)
        honest = ((worse > -1e-9 * fill.px) & (worse < slack)).any()
        if int(quoted.times_ns[newest]) <= decision_ns:
            said = f"{where}{fill.px:g} is of a quote that was on view at the decision"
        elif not honest:
            said = f"{where}expected {touch[-1]:g}, the market at the fill, found {fill.px:g}"
        else:
            said = ""
        report.note("fill price", 1, said)


class _Quoted(NamedTuple):
    times_ns: NDArray[np.int64]
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]


def _quotes(dataset: Dataset, venue: Venue) -> _Quoted:
    manifest, columns = dataset.manifest, dataset.columns
    if manifest.kind == "quotes":
        return _Quoted(columns["ts_event"], columns["bid_px"], columns["ask_px"])
    if manifest.kind == "trades":
        price, side = np.asarray(columns["price"]), np.asarray(columns["side"])
        made = quotes_from_trades(price, side, manifest.instrument, venue)
        return _Quoted(np.asarray(columns["ts_event"]), *made)
    return _Quoted(
        *quotes_from_opens(
            np.asarray(columns["ts_event"]),
            np.asarray(columns["open"]),
            manifest.bar,
            manifest.interval_ns,
            manifest.instrument,
            venue,
        )
    )
