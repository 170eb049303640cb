"""gym-anytrading: long or short, without orders, sizes or cash."""
# /// script
# requires-python = ">=3.12"
# dependencies = ["gym-anytrading==2.0.0", "numpy", "pandas"]
# ///

from importlib.metadata import version

from agents.bench.peers.pace import Bars, Steps, serve, targets


def make(bars: Bars) -> Steps:
    """A window of 16 rows of price and its difference; the only cost is a fixed spread."""
    import pandas as pd
    from gym_anytrading.envs import ForexEnv

    names = {name: name.capitalize() for name in ("open", "high", "low", "close", "volume")}
    frame = pd.DataFrame(bars, index=pd.to_datetime(bars["ts_event"])).rename(columns=names)
    env = ForexEnv(frame, window_size=16, frame_bound=(16, len(frame)))

    def step(action: int) -> bool:
        _, _, terminated, truncated, _ = env.step(action)
        return bool(terminated or truncated)

    return Steps(version("gym-anytrading"), env.reset, step, targets(0, 0), targets(0, 1))


if __name__ == "__main__":
    serve(make)
