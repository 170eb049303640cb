"""TensorTrade: orders and wallets in Python, filled whole at the price just shown."""
# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["tensortrade==1.0.4"]
# ///

from agents.bench.peers.pace import Bars, Steps, serve, targets


def make(bars: Bars) -> Steps:
    """Buy, sell or hold all of one instrument; one row of bars as the observation."""
    import tensortrade
    from tensortrade.env import default
    from tensortrade.env.default.actions import BSH
    from tensortrade.env.default.rewards import SimpleProfit
    from tensortrade.feed.core import DataFeed, Stream
    from tensortrade.oms.exchanges import Exchange, ExchangeOptions
    from tensortrade.oms.instruments import USD, Instrument
    from tensortrade.oms.services.execution.simulated import execute_order
    from tensortrade.oms.wallets import Portfolio, Wallet

    synthetic = Instrument("SYN", 2, "synthetic")
    prices = Stream.source(bars["close"].tolist(), dtype="float").rename("USD-SYN")
    options = ExchangeOptions(commission=5e-5)
    exchange = Exchange("SIM", service=execute_order, options=options)(prices)
    cash, held = Wallet(exchange, 1_000_000 * USD), Wallet(exchange, 0 * synthetic)
    names = ("open", "high", "low", "close", "volume")
    env = default.create(
        portfolio=Portfolio(USD, [cash, held]),
        action_scheme=BSH(cash=cash, asset=held),
        reward_scheme=SimpleProfit(window_size=2),
        feed=DataFeed([Stream.source(bars[n].tolist(), dtype="float").rename(n) for n in names]),
        window_size=1,
        max_allowed_loss=0.99,
        enable_logger=False,
    )

    def step(action: int) -> bool:
        _, _, terminated, truncated, _ = env.step(action)
        return bool(terminated or truncated)

    return Steps(tensortrade.__version__, env.reset, step, targets(0, 0), targets(0, 1))


if __name__ == "__main__":
    serve(make)
