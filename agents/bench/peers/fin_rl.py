"""FinRL's envs, `numpy` or `pandas` as the second argument says: shares bought for cash."""
# /// script
# requires-python = ">=3.12"
# dependencies = ["finrl==0.3.7", "gymnasium", "matplotlib", "numpy", "pandas", "pyarrow",
#     "stable-baselines3"]
# ///

import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

import numpy as np

from agents.bench.peers.pace import Bars, Steps, orders, serve

_CASH: Final = 1e6
_FEE: Final = 5e-5  # share of notional, as ours
_INDICATORS: Final = ["return", "range", "body"]


def make(kind: str, bars: Bars) -> Steps:
    """Three indicators, cash, price and shares; fees as ours."""
    _without_its_init("finrl")
    env = {"numpy": _numpy, "pandas": _pandas}[kind](bars)

    def step(action: Any) -> bool:
        _, _, terminated, truncated, _ = env.step(action)
        return bool(terminated or truncated)

    rest, buy, sell = (np.full(1, share, dtype=np.float32) for share in (0.0, 1.0, -1.0))
    act10 = orders(rest, buy, sell)
    return Steps(version("finrl"), env.reset, step, [rest] * len(act10), act10)


def _numpy(bars: Bars) -> Any:
    from finrl.meta.env_stock_trading.env_stocktrading_np import StockTradingEnv

    close = bars["close"]
    market = {
        "price_array": close[:, None],
        "tech_array": np.stack([values for _, values in _indicators(bars)], axis=1),
        "turbulence_array": np.zeros(len(close)),
        "if_train": False,
    }
    return StockTradingEnv(market, max_stock=100, buy_cost_pct=_FEE, sell_cost_pct=_FEE)


def _pandas(bars: Bars) -> Any:
    import pandas as pd
    from finrl.meta.env_stock_trading.env_stocktrading import StockTradingEnv

    frame = pd.DataFrame({k: v for k, v in bars.items() if k != "ts_event"})
    frame["date"] = pd.to_datetime(bars["ts_event"]).astype(str)
    frame["tic"] = "SYN"
    for name, values in _indicators(bars):
        frame[name] = values
    return StockTradingEnv(
        df=frame,
        stock_dim=1,
        hmax=100,
        initial_amount=_CASH,
        num_stock_shares=[0],
        buy_cost_pct=[_FEE],
        sell_cost_pct=[_FEE],
        reward_scaling=1e-4,
        state_space=3 + len(_INDICATORS),
        action_space=1,
        tech_indicator_list=_INDICATORS,
        print_verbosity=10**9,
    )


def _indicators(bars: Bars) -> list[tuple[str, Any]]:
    close = bars["close"]
    values = (
        np.append(0.0, np.diff(close) / close[:-1]),
        bars["high"] / bars["low"] - 1.0,
        close / bars["open"] - 1.0,
    )
    return list(zip(_INDICATORS, values, strict=True))


def _without_its_init(package: str) -> None:
    """Importing it would import its trainers and brokers, which its envs do not need."""
    found = find_spec(package)
    if found is None:
        raise ModuleNotFoundError(f"No module named {package!r}")
    bare = ModuleType(package)
    bare.__path__ = list(found.submodule_search_locations or ())
    sys.modules[package] = bare


if __name__ == "__main__":
    chosen: Callable[[Bars], Steps] = partial(make, sys.argv[2])
    serve(chosen)
