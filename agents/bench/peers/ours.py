"""Our `TradingEnv`, driven as its peers are."""

from agents.bench.env import FEATURES, bars_of
from agents.bench.peers.pace import Bars, Steps, serve, targets
from agents.provenance import versions
from envs.pipeline import fit
from envs.trading import TradingEnv
from grid.spec import TargetRule
from grid.venue import Venue


def make(bars: Bars) -> Steps:
    """Eleven features, a window of 16, account, reward, fees, spread and latency."""
    dataset = bars_of(bars)
    rule = TargetRule(max_qty=100.0)
    rows = (0, dataset.manifest.rows)
    spec = fit(dataset, rows, features=FEATURES, window=16, target=rule)
    env = TradingEnv(dataset, spec, Venue())

    def step(action: int) -> bool:
        _, _, terminated, truncated, _ = env.step(action)
        return terminated or truncated

    return Steps(versions().get("argonaut-nt", ""), env.reset, step, targets(1, 1), targets(1, 2))


if __name__ == "__main__":
    serve(make)
