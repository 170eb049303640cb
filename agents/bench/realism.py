"""What each key of the venue changes: the same actions, one key at a time.

Three markets, since no key shows on all of them, and one fixed rule on each, which knows nothing of
costs: its actions are the same in every row, and only their execution differs.

`bars`: the demo's real hourly bars of a year; hold the sign of the last day's return.
`ticks`: quotes made by formula, one in ten seconds for a week; hold the sign of the last ten
minutes' return, decided on each minute.
`limits`: the same quotes with trades between them; bid or offer at the touch, every five minutes.

Values are returns in basis points of capital; the baseline is the return under the venue's
defaults, or what the row's name says.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import numpy as np

from agents.bench.report import Row
from envs.data.demo import import_demo
from envs.market import MarketEnv
from envs.pipeline import as_rows, fit
from envs.schemes import KINDS, Orders
from envs.synthetic_ticks import quotes, trades
from envs.trading import TradingEnv
from envs.views import Rows, View
from grid.dataset import Dataset
from grid.home import Home
from grid.spec import TargetRule
from grid.venue import Venue

CAPITAL: Final = 100_000.0
QTY: Final = 100_000.0
LIMIT_QTY: Final = 20_000.0
_TICKS: Final = 60_000
_DEFAULT: Final = Venue()

type Keys = Mapping[str, Any]
ON_BARS: Final[dict[str, Keys]] = {
    "no_fees": {"taker_fee_bps": 0.0},
    "no_spread": {"half_spread_bps": 0.0},
    "no_latency": {"latency_ms": 0.0},
    "slippage_half": {"slippage_prob": 0.5},
    "slippage_always": {"slippage_prob": 1.0},
    "depth_quarter": {"depth_qty": QTY / 4},
    "funding_1bp": {"funding_bps": 1.0},
    "borrow_5pct": {"borrow_bps": 500.0},
    "nothing_on": {"taker_fee_bps": 0.0, "half_spread_bps": 0.0, "latency_ms": 0.0},
    "twice_the_costs": {"taker_fee_bps": 1.0, "half_spread_bps": 1.0, "latency_ms": 500.0},
}
ON_TICKS: Final[dict[str, Keys]] = {
    "no_fees": {"taker_fee_bps": 0.0},
    "no_latency": {"latency_ms": 0.0},
    "latency_minute": {"latency_ms": 60_000.0},
    "latency_lognormal": {"latency_ms": 30_000.0, "latency_p99_ms": 200_000.0},
    "latency_measured": {"latency_quantiles_ms": (1_000.0, 5_000.0, 20_000.0, 120_000.0)},
    "slippage_half": {"slippage_prob": 0.5},
    "funding_1bp": {"funding_bps": 1.0},
    "borrow_5pct": {"borrow_bps": 500.0},
    "ruin_99_9pct": {"ruin": 0.999},
    "ruin_not_closed": {"ruin": 0.999, "liquidation": False},
}
ON_LIMITS: Final[dict[str, Keys]] = {
    "no_maker_fee": {"maker_fee_bps": 0.0},
    "fill_half": {"limit_fill_prob": 0.5},
    "fill_never": {"limit_fill_prob": 0.0},
    "consumed": {"liquidity_consumption": True},
    "queue": {"queue_position": True},
}


def run() -> list[Row]:
    """Measure; takes half a minute."""
    with TemporaryDirectory(prefix="argonaut-") as name:
        home = Home(Path(name))
        bars = Dataset.find(home.datasets, import_demo(home).name)
        rows = _rows("bars", ON_BARS, lambda venue: _hold(bars, venue, 24, 1))
    ticks = quotes(_TICKS)
    rows += _rows("ticks", ON_TICKS, lambda venue: _hold(ticks, venue, 60, 6))
    prints = trades(ticks)
    return rows + _rows("limits", ON_LIMITS, lambda venue: _quote(ticks, prints, venue))


def _rows(market: str, variants: Mapping[str, Keys], play: Any) -> list[Row]:
    default = play(_DEFAULT)
    rows = [Row.of(f"{market}_default", default, "bps", default)]
    for label, keys in variants.items():
        value = play(msgspec.structs.replace(_DEFAULT, **keys))
        rows.append(Row.of(f"{market}_{label}", value, "bps", default))
    return rows


def _hold(dataset: Dataset, venue: Venue, span: int, every: int) -> float:
    """Hold the sign of the return over `span` rows, decided on every so many."""
    rule = TargetRule(max_qty=QTY)
    features = (f"log_return:{span}",)
    spec = fit(
        dataset, (0, dataset.manifest.rows), features=features, window=1, target=rule,
        every=every, capital=CAPITAL,
    )  # fmt: skip
    close = as_rows(dataset.columns)["close"]
    moves = np.log(close[span:] / close[:-span])
    env = TradingEnv(dataset, spec, venue)
    try:
        _, info = env.reset(options={"row": span, "fill_seed": 1})
        over = False
        while not over:
            action = 2 if moves[info["row"] - span] > 0 else 0
            _, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        return _bps(info)
    finally:
        env.close()


def _quote(ticks: Dataset, prints: Dataset, venue: Venue) -> float:
    """Bid and offer in turn, a tick from the mid, and withdraw what has not filled."""
    view = View("quotes", ticks, ("spread",), train_rows=(0, 1_000), window=1)
    scheme = Orders(sizes=(LIMIT_QTY,), max_qty=5 * LIMIT_QTY, offsets_ticks=(1,))
    clock = Rows(every=15)
    env = MarketEnv([view], scheme, venue, markets=[ticks, prints], clock=clock, capital=CAPITAL)
    limit, cancel = KINDS.index("limit"), KINDS.index("cancel all")
    turn = ([limit, 0, 0, 0, 0], [cancel, 0, 0, 0, 0], [limit, 1, 0, 0, 0], [cancel, 0, 0, 0, 0])
    try:
        env.reset(seed=1)
        over, k = False, 0
        while not over:
            _, _, terminated, truncated, info = env.step(turn[k % len(turn)])
            over = terminated or truncated
            k += 1
        return _bps(info)
    finally:
        env.close()


def _bps(info: Mapping[str, Any]) -> float:
    return (float(info["equity"]) / CAPITAL - 1.0) * 1e4
