"""`TradingEnv`: the market as a Gymnasium env, with the trading engine inside.

One step is one decision: the action names a target position, the engine runs on to the next
decision with latency, spread and fees, and the reward is what that did to the account.
"""

import math
from typing import Any, Literal

import gymnasium

from envs import rewards
from envs.arrivals import Arrivals
from envs.books import book_type, meets_events
from envs.engine import SteppedEngine
from envs.fills import EnvFill
from envs.fitting import check_fit, decision_rows
from envs.made_bars import seen
from envs.pipeline import Pipeline
from envs.sights import Indices, Obs, Windows
from envs.targets import Targets
from envs.timeline import Timeline
from grid.dataset import Dataset
from grid.errors import ConfigError, DataError
from grid.spec import Spec
from grid.venue import Venue


class TradingEnv(gymnasium.Env[Obs, Any]):
    """One instrument, one position, an episode a window of the dataset.

    `terminated` means liquidation: at a decision equity was at the venue's `ruin` share of capital,
    or below the maintenance margin; the engine then closes the position at the market, and reward
    and `info` of the step are those of after that. Where the rows end first, it stays open, marked
    at the last price. `truncated` means that the episode's rows are used up. The same seed gives
    the same episode, bit for bit.

    `info` carries, after every reset and step: `equity`, `fees` and `funding` (for holding the
    position, paid so far) in account currency, `position_qty`, `traded` (notional so far), `price`
    (a bar's close, the mid, a trade's price), `row`, `ts_event_ns`, `liquidated`, and `fills`,
    those since the last decision.

    Args:
        dataset: bars, quotes, trades, or a book; quotes or trades also where the spec's bars are to
            be made of them.
        spec: features, action rule, capital.
        venue: costs.
        rows: half-open range of rows that decisions are taken on, None for all; earlier rows
            serve as warm-up. Of made bars the bars are counted.
        steps: decisions in an episode, which then starts at a random row; None for one episode
            over the whole range.
        reward: its name or dotted path, see `envs.rewards`.
        reward_scale: factor on the reward.
        observation: `window` is the numbers themselves; `index` is the row of the dataset in place
            of its window, then the account: a policy that has the features gathers the window
            itself, see `agents.gather`.
        keep_history: keep every order for `reports`, at the price of memory.
        render_mode: `rgb_array` lets `render` draw the episode; it slows stepping a little.

    Raises:
        ConfigError: spec, venue and dataset do not fit together.
        DataError: the range is empty or too short.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        dataset: Dataset,
        spec: Spec,
        venue: Venue,
        *,
        rows: tuple[int, int] | None = None,
        steps: int | None = None,
        reward: str = "log_equity",
        reward_scale: float = 1.0,
        observation: Literal["window", "index"] = "window",
        keep_history: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode: expected rgb_array or none, found {render_mode!r}")
        self.render_mode = render_mode
        self._film: Any = None
        dataset = seen(dataset, spec)
        manifest = dataset.manifest
        check_fit(dataset, spec, venue)
        self._spec, self._every = spec, spec.every
        self.venue = venue
        self.dataset = dataset
        self.pipeline = Pipeline(spec)
        rows = decision_rows(dataset, self.pipeline, rows)
        self._steps = steps
        self._reward = rewards.find(reward)
        self._is_log_equity = reward == "log_equity"
        self._arrivals = Arrivals(manifest.instrument.multiplier)
        self._scale = reward_scale
        self._timeline = timeline = Timeline(dataset, spec, venue, rows, self.pipeline.warmup)
        self._prices, self._times_ns = timeline.prices, timeline.times_ns
        self._first, self._at = timeline.first, timeline.at
        windows = Windows(dataset, self.pipeline, rows, timeline.at)
        sight = (
            windows if observation == "window" else Indices(manifest.rows, spec.clip, timeline.at)
        )
        self.observation_space: Any = sight.space
        self._account = sight.account
        self._observe = sight.observe
        targets = Targets(spec.target)
        self.action_space = targets.space
        self._target = targets.of
        available = (timeline.hi - timeline.lo - 1) // spec.every
        if not 1 <= (available if steps is None else steps) <= available:
            raise DataError(
                f"{manifest.name}: rows {timeline.lo} to {timeline.hi} allow 1 to {available} "
                f"steps an episode, found {steps}"
            )
        self._multiplier = manifest.instrument.multiplier
        self._ruin = venue.ruin * spec.capital
        self._charges = venue.charges
        self._maintenance = venue.maintenance(manifest.instrument) * self._multiplier
        self._row = self._last_row = self._end_row = -1
        self._liquidated = False
        # last, so that whatever is wrong leaves no engine behind
        self._engine = SteppedEngine(
            spec,
            manifest.instrument,
            venue,
            keep_history=keep_history,
            book=book_type(manifest, venue),
            by_events=meets_events(manifest, venue),
        )
        self._ledger = self._engine.ledger
        self._order_qty = self._engine.strategy.intent.order_qty
        self._reached: tuple[float, float] | None = None  # a target, and the position that is it

    @property
    def last_order_id(self) -> str:
        """Client order id of the newest order of the episode; empty before the first."""
        return self._engine.strategy.last_order_id

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Start an episode, at `options["row"]`, else at a random row, else at the first.

        With a timer, at the first decision that knows of that row. Where fills depend on chance,
        `options["fill_seed"]` seeds it, else the env's own seed.

        Raises:
            DataError: the row asked for leaves no room for the episode.
        """
        super().reset(seed=seed)
        timeline, every = self._timeline, self._every
        last_start = timeline.hi - 1 - (self._steps or 1) * every
        row = (options or {}).get("row")
        if row is None:
            row = timeline.lo
            if self._steps is not None:
                row = int(self.np_random.integers(timeline.lo, last_start + 1))
        else:
            row = timeline.number_of(row)
            if not timeline.lo <= row <= last_start:
                raise DataError(f"first row: expected {timeline.lo} to {last_start}, found {row}")
        steps = self._steps or (timeline.hi - 1 - row) // every
        self._row = row
        self._last_row = row + steps * every
        self._end_row = timeline.reach(self._last_row)
        self._liquidated = False
        fill_seed = (options or {}).get("fill_seed")
        if fill_seed is None and self.venue.draws:
            fill_seed = int(self.np_random.integers(1 << 31))
        market, times_ns = timeline.market(row, self._end_row)
        self._engine.start(
            market.manifest, market.columns, fill_seed, events=market.events, times_ns=times_ns
        )
        self._fills_seen = 0
        self._traded = 0.0
        self._behind = 0
        self._reward.reset()
        self._arrivals.begin()
        self._order_id = self._engine.strategy.last_order_id
        self._equity = self._peak = self._spec.capital
        self._remember_account(self._prices[row - self._first])
        info = self._info(self._prices[row - self._first])
        if self.render_mode is not None:
            from envs.render import Film  # matplotlib, for those who draw

            self._film = Film()
            self._add_to_film(info)
        return self._observe(row), info

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Move to the action's target and run to the next decision.

        Where nothing is to be ordered, no order is under way and nothing held is paid for, nothing
        can happen in the engine: it stays behind and catches up at the next order.

        Raises:
            ConfigError: the action is not in the action space.
            EngineError: the engine failed.
        """
        if self._row >= self._last_row:
            raise gymnasium.error.ResetNeeded("step after the end of an episode: call reset first")
        target = self._target(action)
        ledger = self._ledger
        every = self._every
        held = ledger.position_qty
        reached = self._reached == (target, held)
        if not reached and self._order_qty(target, held, 0.0) == 0.0:
            self._reached, reached = (target, held), True
        if reached and ledger.working_qty == 0.0 and not (self._charges and held):
            self._behind += every
        else:
            self._engine.step(target, self._behind)
            self._behind = 0
        self._row += every
        price = self._prices[self._row - self._first]
        before, decided = self._equity, self._row - every
        held = ledger.position_qty
        equity = ledger.cash + held * price * self._multiplier
        terminated = equity <= self._ruin or equity < abs(held) * price * self._maintenance
        if not self._is_log_equity:
            self._note_order(target, decided)
        if terminated:
            price = self._liquidate(price)
            equity = ledger.cash + ledger.position_qty * price * self._multiplier
        self._equity = equity
        reward = 0.0
        if equity != before or not self._is_log_equity:
            reward = self._scale * self._rewarded(before, equity)
        if equity > self._peak:
            self._peak = equity
        if equity != before or not self._behind:
            self._remember_account(price)
        truncated = self._row >= self._last_row and not terminated
        obs, info = self._observe(self._row), self._info(price)
        if terminated:
            self._last_row = self._row
        if self._film is not None:
            self._add_to_film(info)
        return obs, reward, terminated, truncated, info

    def render(self) -> Any:
        """Return the episode so far as a picture, uint8 [height, width, 3], in `rgb_array` mode.

        None in any other mode, as Gymnasium has it.

        Raises:
            ResetNeeded: there is no episode yet.
        """
        if self.render_mode is None:
            return None
        if self._film is None:
            raise gymnasium.error.ResetNeeded("render before the first episode: call reset first")
        from envs.render import draw

        manifest = self.dataset.manifest
        return draw(self._film, f"{manifest.instrument.id}, {manifest.name}")

    def reports(self) -> dict[str, Any]:
        """Return the engine's own reports of the episode so far, and end it.

        pandas frames: orders, fills, positions, account. Whole only with `keep_history`.
        """
        self._last_row = self._row
        return self._engine.reports()

    @property
    def funding(self) -> float:
        """Paid so far for holding positions, in account currency."""
        return self._ledger.funding

    def close(self) -> None:
        """Free the engine; harmless when closed already."""
        self._engine.close()
        self._last_row = self._row

    def _add_to_film(self, info: dict[str, Any]) -> None:
        self._film.add(
            info["ts_event_ns"], info["price"], info["position_qty"], info["equity"], info["fills"]
        )

    def _liquidate(self, price: float) -> float:
        """Close the position, as far as there are rows; return the price at the end."""
        ledger, every = self._ledger, self._every
        self._liquidated = self.venue.liquidation
        if not self._liquidated:
            return price
        while (ledger.position_qty or ledger.working_qty) and self._row + every <= self._end_row:
            self._engine.step(0.0, self._behind)
            self._behind = 0
            if not self._is_log_equity:
                self._note_order(0.0, self._row)
            self._row += every
            price = self._prices[self._row - self._first]
        return price

    def _note_order(self, target: float, row: int) -> None:
        """Remember what the order of a decision, if it gave one, saw."""
        order_id = self._engine.strategy.last_order_id
        given = () if order_id == self._order_id else (order_id,)
        self._order_id = order_id
        self._arrivals.decided(target, self._prices[row - self._first], given)

    def _rewarded(self, before: float, equity: float) -> float:
        if self._is_log_equity and equity > 0.0 and before > 0.0:
            return math.log(equity / before)
        traded = self._ledger.traded
        fills: list[rewards.Executed] = []
        if not (self._behind or self._is_log_equity):
            new = self._engine.fills[self._fills_seen :]
            fills = [self._arrivals.executed(fill) for fill in new]
        step = rewards.Step(
            before, equity, self._peak, self._spec.capital, traded - self._traded, fills
        )
        self._traded = traded
        return self._reward(step)

    def _remember_account(self, price: float) -> None:
        ledger, account = self._ledger, self._account
        account[0], account[1], account[2], account[3] = self.pipeline.account(
            ledger.position_qty, ledger.pending_qty, ledger.unrealized(price), self._equity
        )

    def _info(self, price: float) -> dict[str, Any]:
        ledger = self._ledger
        new: list[EnvFill] = []
        if not self._behind:
            new = self._engine.fills[self._fills_seen :]
            self._fills_seen += len(new)
        return {
            "equity": self._equity,
            "position_qty": ledger.position_qty,
            "fees": ledger.fees,
            "funding": ledger.funding,
            "traded": ledger.traded,
            "price": price,
            "row": self._row if self._at is None else self._at[self._row],
            "ts_event_ns": self._times_ns[self._row - self._first],
            "liquidated": self._liquidated,
            "fills": new,
        }
