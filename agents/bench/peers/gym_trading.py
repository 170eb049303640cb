"""gym-trading-env: positions as shares of a portfolio in Python, traded at the close just shown."""
# /// script
# requires-python = ">=3.12"
# dependencies = ["gym-trading-env==0.3.5", "numpy", "pandas"]
# ///

import warnings
from importlib.metadata import version

from agents.bench.peers.pace import Bars, Steps, serve, targets


def make(bars: Bars) -> Steps:
    """Three features and two of the position; fees as ours, no borrowing costs."""
    import pandas as pd
    from gym_trading_env.environments import TradingEnv

    warnings.resetwarnings()  # importing it makes an error of every warning
    frame = pd.DataFrame(bars, index=pd.to_datetime(bars["ts_event"])).drop(columns="ts_event")
    frame["feature_return"] = frame["close"].pct_change().fillna(0.0)
    frame["feature_range"] = frame["high"] / frame["low"] - 1.0
    frame["feature_body"] = frame["close"] / frame["open"] - 1.0
    env = TradingEnv(
        frame,
        positions=[-1, 0, 1],
        trading_fees=5e-5,
        initial_position=0,
        portfolio_initial_value=1e6,
        verbose=0,
    )

    def step(action: int) -> bool:
        _, _, terminated, truncated, _ = env.step(action)
        return bool(terminated or truncated)

    return Steps(version("gym-trading-env"), env.reset, step, targets(1, 1), targets(1, 2))


if __name__ == "__main__":
    serve(make)
