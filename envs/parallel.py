"""`ParallelMarketEnv`: several agents in one engine, each with its own strategy and account.

A PettingZoo `ParallelEnv`: all act at each decision time. Everybody sees the same market and
trades on a venue of their own where it is played, so one agent's orders do not move another's
prices; what differs between agents is the scheme, the reward and what they did.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import msgspec
import numpy as np
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from envs.player import Obs, Player
from envs.schemes import Mask, Scheme
from envs.stage import Stage
from envs.tape import Tape
from envs.views import Clock, Rows, View, first_of_each
from grid.errors import ConfigError, DataError
from grid.node.commands import Command
from grid.venue import Venue


class Role(msgspec.Struct, frozen=True):
    """What one agent may do and wants.

    Attributes:
        scheme: what its actions mean, see `envs.schemes`.
        reward: name or dotted path, see `envs.rewards`.
    """

    scheme: Scheme
    reward: str = "log_equity"


class ParallelMarketEnv(ParallelEnv[str, Obs, Any]):  # type: ignore[misc]
    """Agents by name on one market.

    An agent that is ruined, or below its maintenance margin, is terminated and leaves; its orders
    are cancelled and its positions closed at the market while the others go on. At the end of the
    episode's times all that are left are truncated.

    Args:
        roles: of the agents, by name.
        views: what all see; the first view of an instrument gives its price.
        venue: costs.
        clock: when decisions are taken, see `envs.views`.
        capital: starting balance of each agent.
        steps: decisions an episode, from a random time; None for one episode over all.
        flat: one Box in place of a Dict.
        clip: bound of every number in an observation.

    Raises:
        ConfigError: there are no agents, or the parts do not fit together.
        DataError: there are too few decision times.
    """

    metadata: dict[str, Any] = {"name": "argonaut_parallel_v0", "render_modes": []}

    def __init__(
        self,
        roles: Mapping[str, Role],
        views: Sequence[View],
        venue: Venue,
        *,
        clock: Clock = Rows(),  # noqa: B008 - frozen
        capital: float = 100_000.0,
        steps: int | None = None,
        flat: bool = True,
        clip: float = 5.0,
    ) -> None:
        if not roles:
            raise ConfigError("roles: expected at least one agent, found none")
        markets = first_of_each(views)
        self._tape = Tape(views, markets, clock, None)
        available = len(self._tape.times_ns) - 1
        if steps is not None and not 1 <= steps <= available:
            raise DataError(f"1 to {available} steps an episode possible, found {steps}")
        self._steps = steps
        self._venue = venue
        resting = any(role.scheme.resting for role in roles.values())
        self._stage = Stage(markets, venue, capital, traders=len(roles), resting=resting)
        try:
            self._players = {
                name: Player(
                    self._stage, n, self._tape, views, role.scheme,
                    reward=role.reward, flat=flat, clip=clip, capital=capital,
                )
                for n, (name, role) in enumerate(roles.items())
            }  # fmt: skip
        except BaseException:
            self._stage.close()
            raise
        self.possible_agents = list(roles)
        self.agents: list[str] = []
        self.observation_spaces = {n: p.observation_space for n, p in self._players.items()}
        self.action_spaces = {n: p.action_space for n, p in self._players.items()}
        self._rng = np.random.default_rng()

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        """Return the same space at each call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        """Return the same space at each call."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Obs], dict[str, dict[str, Any]]]:
        """Start an episode at `options["decision"]`, else at a random one, else at the first."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        count = len(self._tape.times_ns)
        first = (options or {}).get("decision")
        if first is None:
            first = 0 if self._steps is None else int(self._rng.integers(count - self._steps))
        latest = count - 1 - (self._steps or 1)
        if not 0 <= first <= latest:
            raise DataError(f"first decision: expected 0 to {latest}, found {first}")
        self._at = first
        self._last = count - 1 if self._steps is None else first + self._steps
        end = self._tape.reach(self._last, self._venue)
        self._stage.start(
            self._tape.times_ns[first : end + 1].tolist(),
            self._tape.market_rows(first, end),
            int(self._rng.integers(1 << 31)),
        )
        self._behind = 0
        self.agents = list(self.possible_agents)
        for player in self._players.values():
            player.begin()
        return self._observations(self.agents), self._infos(self.agents)

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, Obs],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Carry out all actions at once and run to the next decision.

        Raises:
            ConfigError: an action is missing, or not in its space.
            EngineError: the engine failed.
        """
        acting = self.agents
        if not acting:
            return {}, {}, {}, {}, {}
        missing = [name for name in acting if name not in actions]
        if missing:
            raise ConfigError(f"actions: expected one for each agent, {missing[0]} has none")
        prices = self._prices()
        commands = [
            player.commands(actions[name], prices) if name in acting else self._closing(player)
            for name, player in self._players.items()
        ]
        if any(commands) or not self._stage.is_quiet():
            self._stage.step(commands, self._behind)
            self._behind = 0
        else:
            self._behind += 1
        self._at += 1
        prices = self._prices()
        over = self._at >= self._last
        rewards = {name: self._players[name].rewarded(prices) for name in acting}
        ruined = {name: self._players[name].is_due(prices, self._venue) for name in acting}
        ended = {name: over and not ruined[name] for name in acting}
        self.agents = [] if over else [name for name in acting if not ruined[name]]
        return self._observations(acting), rewards, ruined, ended, self._infos(acting)

    def _closing(self, player: Player) -> list[Command]:
        return player.closing(self._prices()) if self._venue.liquidation else []

    def action_masks(self) -> dict[str, Mask]:
        """Return which actions are possible now, for each agent that is left."""
        prices = self._prices()
        return {name: self._players[name].mask(prices) for name in self.agents}

    def close(self) -> None:
        """Free the engine; harmless when closed already."""
        self._stage.close()
        self.agents = []

    def _prices(self) -> list[float]:
        row: NDArray[np.float64] = self._tape.prices[self._at]
        return [float(price) for price in row]

    def _observations(self, names: Sequence[str]) -> dict[str, Obs]:
        tape, prices = self._tape, self._prices()
        rows, now_ns = tape.rows[self._at].tolist(), int(tape.times_ns[self._at])
        return {
            name: self._players[name].observe(rows, prices, now_ns, tape.step_ns) for name in names
        }

    def _infos(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        prices, now_ns = self._prices(), int(self._tape.times_ns[self._at])
        return {name: {**self._players[name].info(prices), "ts_event_ns": now_ns} for name in names}
