"""An episode played and kept: the same actions can be played again on another future."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.fills import EnvFill
from envs.trading import TradingEnv
from grid.latency import bounds_ns

ACCOUNT: Final = ("equity", "position_qty", "fees", "traded")
_MAX_PAUSE: Final = 4  # decisions between an order that is done and the next


class Reported(NamedTuple):
    """A fill with the number of the step that reported it, and of the decision behind its order."""

    step: int
    decided: int
    fill: EnvFill


class Played(NamedTuple):
    """An episode up to a row: everything that an agent and its trainer get to see.

    Attributes:
        rows: of the decisions; the last one is the cut.
        actions: one less than rows.
        obs: one a decision.
        steps: reward, then what `ACCOUNT` names, of each step.
        fills: in order.
    """

    rows: list[int]
    actions: list[Any]
    obs: list[NDArray[np.float32]]
    steps: list[tuple[float, ...]]
    fills: list[Reported]


class Patient:
    """Random targets, each kept until its order is surely done: so a fill has one decision only."""

    def __init__(self, env: TradingEnv, rng: np.random.Generator) -> None:
        self._space = env.action_space
        self._space.seed(int(rng.integers(2**31)))
        self._rng = rng
        _, self._latency_ns = bounds_ns(env.venue)
        self._arrival_ns = self._last_ns = -1
        self._pause = 0
        self.decided = 0

    def act(self, k: int, now_ns: int) -> Any:
        """Return the action of decision k."""
        if self._last_ns >= self._arrival_ns:
            self._pause -= 1
            if self._pause < 0:
                self._pause = int(self._rng.integers(_MAX_PAUSE))
                self._action, self.decided = self._space.sample(), k
                self._arrival_ns = now_ns + self._latency_ns
        self._last_ns = now_ns
        return self._action


class Repeat:
    """The same actions again."""

    decided = 0

    def __init__(self, actions: Sequence[Any]) -> None:
        self._actions = actions

    def act(self, k: int, now_ns: int) -> Any:
        """Return the action of decision k."""
        return self._actions[k]


def play(env: TradingEnv, first_row: int, policy: Patient | Repeat, steps: int) -> Played:
    """Play from `first_row` until so many steps are done or the account is ruined."""
    # the same seed on every future: fills may depend on chance
    obs, info = env.reset(seed=first_row, options={"row": first_row})
    played = Played([info["row"]], [], [obs], [], [])
    sent: dict[str, int] = {}  # an order that a book could not fill is followed by another one
    for k in range(steps):
        action = policy.act(k, info["ts_event_ns"])
        obs, reward, terminated, truncated, info = env.step(action)
        played.actions.append(action)
        played.rows.append(info["row"])
        played.obs.append(obs)
        played.steps.append((reward, *(float(info[name]) for name in ACCOUNT)))
        sent.setdefault(env.last_order_id, k)
        played.fills.extend(
            Reported(k, sent.get(fill.client_order_id, policy.decided), fill)
            for fill in info["fills"]
        )
        if terminated or truncated:
            break
    return played
