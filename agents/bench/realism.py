"""What each cost and chance of the venue changes: one fixed rule on the demo's real bars.

The rule holds the sign of the last day's return; it knows nothing of costs, so that its decisions
are the same in every row and only their execution differs. Values are its return over the year,
in basis points of capital; the baseline is the return under the venue's defaults.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import numpy as np

from agents.bench.report import Row
from envs.data.demo import import_demo
from envs.pipeline import fit
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.home import Home
from grid.spec import TargetRule
from grid.venue import Venue

CAPITAL: Final = 100_000.0
QTY: Final = 100_000.0
_DEFAULT: Final = Venue()
VARIANTS: Final[dict[str, Venue]] = {
    "default": _DEFAULT,
    "no_fees": msgspec.structs.replace(_DEFAULT, taker_fee_bps=0.0),
    "no_spread": msgspec.structs.replace(_DEFAULT, half_spread_bps=0.0),
    "no_latency": msgspec.structs.replace(_DEFAULT, latency_ms=0.0),
    "slippage_half": msgspec.structs.replace(_DEFAULT, slippage_prob=0.5),
    "slippage_always": msgspec.structs.replace(_DEFAULT, slippage_prob=1.0),
    "depth_quarter": msgspec.structs.replace(_DEFAULT, depth_qty=QTY / 4),
    "nothing_on": msgspec.structs.replace(
        _DEFAULT, taker_fee_bps=0.0, half_spread_bps=0.0, latency_ms=0.0
    ),
    "twice_the_costs": msgspec.structs.replace(
        _DEFAULT, taker_fee_bps=1.0, half_spread_bps=1.0, latency_ms=500.0
    ),
}


def run() -> list[Row]:
    """Measure; takes a few seconds."""
    with TemporaryDirectory(prefix="argonaut-") as name:
        home = Home(Path(name))
        dataset = Dataset.find(home.datasets, import_demo(home).name)
        found = {label: _return_bps(dataset, venue) for label, venue in VARIANTS.items()}
    return [Row.of(label, bps, "bps", found["default"]) for label, bps in found.items()]


def _return_bps(dataset: Dataset, venue: Venue) -> float:
    rule = TargetRule(max_qty=QTY)
    rows = (0, dataset.manifest.rows)
    spec = fit(dataset, rows, features=("log_return:24",), window=1, target=rule, capital=CAPITAL)
    day = np.log(dataset.columns["close"][24:] / dataset.columns["close"][:-24])
    env = TradingEnv(dataset, spec, venue)
    try:
        _, info = env.reset(options={"row": 24, "fill_seed": 1})
        over = False
        while not over:
            action = 2 if day[info["row"] - 24] > 0 else 0
            _, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        equity: float = info["equity"]
    finally:
        env.close()
    return (equity / CAPITAL - 1.0) * 1e4
