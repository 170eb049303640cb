"""`MarketEnv`: several instruments, several views, any scheme of actions.

Where `TradingEnv` is one position at full speed, this is the general case: Dict or flat
observations of several datasets, target weights or single orders, decisions on bars, on quotes or
on a timer, with open orders in the observation and masks for impossible actions.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium

from envs.player import Obs, Player
from envs.schemes import Mask, Scheme
from envs.stage import Stage
from envs.stage_markets import split
from envs.tape import Tape
from envs.views import Clock, Rows, View, first_of_each
from grid.dataset import Dataset
from grid.errors import DataError
from grid.node.commands import Command
from grid.venue import Venue


class MarketEnv(gymnasium.Env[Obs, Any]):
    """One trader, several instruments, an episode a span of decision times.

    Observation: each view under its name; `account` (`ACCOUNT`, then `HOLDING` for each
    instrument); with order-level actions `orders`, slots of open orders (`ORDER`); these three
    name their columns in `envs.market_spec`.
    `terminated` means liquidation, at ruin or below the maintenance margin: the engine cancels all
    orders and closes all positions at the market, as far as there are decision times, and reward
    and `info["liquidated"]` tell of it. `truncated` means the end of the episode's times.

    Args:
        views: what is seen; the first view of an instrument gives its price.
        markets: what is traded, one dataset for each instrument, and beside its quotes its trades,
            which fill limits and move their queues; None for the first view of each.
        scheme: what actions mean, see `envs.schemes`.
        venue: costs.
        clock: when decisions are taken, see `envs.views`.
        capital: starting balance.
        steps: decisions an episode, from a random time; None for one episode over all.
        span_ns: half-open span of decision times, None for all.
        reward: name or dotted path, see `envs.rewards`.
        reward_scale: factor on the reward.
        flat: one Box in place of a Dict.
        clip: bound of every number in an observation.
        keep_history: keep closed orders and positions for `reports`, at the price of memory.

    Attributes:
        times_ns: int64 [decisions], of the decisions.
        prices: float64 [decisions, instruments], at the decisions, as they are traded.

    Raises:
        ConfigError: the parts do not fit together.
        DataError: there are too few decision times.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(
        self,
        views: Sequence[View],
        scheme: Scheme,
        venue: Venue,
        *,
        markets: Sequence[Dataset] | None = None,
        clock: Clock = Rows(),  # noqa: B008 - frozen
        capital: float = 100_000.0,
        steps: int | None = None,
        span_ns: tuple[int, int] | None = None,
        reward: str = "log_equity",
        reward_scale: float = 1.0,
        flat: bool = False,
        clip: float = 5.0,
        keep_history: bool = False,
    ) -> None:
        traded = list(markets) if markets is not None else first_of_each(views)
        self.views = tuple(views)
        self.markets = tuple(traded)
        self.scheme = scheme
        self.venue = venue
        self._tape = Tape(views, split(traded)[0], clock, span_ns)
        self.times_ns = self._tape.times_ns
        self.prices = self._tape.prices
        self._capital = capital
        self._scale = reward_scale
        available = len(self._tape.times_ns) - 1
        if steps is not None and not 1 <= steps <= available:
            raise DataError(f"1 to {available} steps an episode possible, found {steps}")
        self._steps = steps
        self._stage = Stage(
            traded, venue, capital, resting=scheme.resting, keep_history=keep_history
        )
        try:
            self._player = Player(
                self._stage, 0, self._tape, views, scheme,
                reward=reward, flat=flat, clip=clip, capital=capital,
            )  # fmt: skip
        except BaseException:
            self._stage.close()
            raise
        self.action_space = self._player.action_space
        self.observation_space = self._player.observation_space
        self._at = self._last = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Start an episode at `options["decision"]`, else at a random one, else at the first."""
        super().reset(seed=seed)
        count = len(self._tape.times_ns)
        steps = self._steps
        first = (options or {}).get("decision")
        if first is None:
            first = 0 if steps is None else int(self.np_random.integers(count - steps))
        if not 0 <= first < count - (steps or 1):
            raise DataError(
                f"first decision: expected 0 to {count - (steps or 1) - 1}, found {first}"
            )
        self._at = first
        self._last = count - 1 if steps is None else first + steps
        self._end = self._tape.reach(self._last, self.venue)
        self._liquidated = False
        self._stage.start(
            self._tape.times_ns[first : self._end + 1].tolist(),
            self._tape.market_rows(first, self._end),
            int(self.np_random.integers(1 << 31)),
        )
        self._behind = 0
        self._player.begin()
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Carry out the action and run to the next decision.

        Raises:
            ConfigError: the action is not in the action space.
            EngineError: the engine failed.
        """
        if self._at >= self._last:
            raise gymnasium.error.ResetNeeded("step after the end of an episode: call reset first")
        self._advance(self._player.commands(action, self._prices()))
        terminated = self._player.is_due(self._prices(), self.venue)
        if terminated and self.venue.liquidation:
            self._liquidated = True
            while not self._player.is_flat() and self._at < self._end:
                self._advance(self._player.closing(self._prices()))
        reward = self._scale * self._player.rewarded(self._prices())
        truncated = self._at >= self._last and not terminated
        if terminated:
            self._last = self._at
        return self._observe(), reward, terminated, truncated, self._info()

    def _advance(self, commands: list[Command]) -> None:
        if commands or not self._stage.is_quiet():
            self._stage.step([commands], self._behind)
            self._behind = 0
        else:
            self._behind += 1
        self._at += 1

    def action_masks(self) -> Mask:
        """Return which actions are possible now, as sb3-contrib's MaskablePPO asks."""
        return self._player.mask(self._prices())

    def reports(self) -> dict[str, Any]:
        """Return the engine's own reports of the episode so far, and end it; see `envs.stage`."""
        self._last = self._at
        return self._stage.reports(0)

    def close(self) -> None:
        """Free the engine; harmless when closed already."""
        self._stage.close()
        self._last = self._at

    def _prices(self) -> list[float]:
        prices: list[float] = self._tape.prices[self._at].tolist()
        return prices

    def _observe(self) -> Obs:
        tape = self._tape
        return self._player.observe(
            tape.rows[self._at].tolist(),
            self._prices(),
            int(tape.times_ns[self._at]),
            tape.step_ns,
        )

    def _info(self) -> dict[str, Any]:
        info = self._player.info(self._prices())
        info["ts_event_ns"] = int(self._tape.times_ns[self._at])
        info["decision"] = self._at
        info["liquidated"] = self._liquidated
        return info
