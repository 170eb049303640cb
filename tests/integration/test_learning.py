"""Does training find what is there, and nothing where nothing is? On the production path.

The planted signal's best policy is known, so the agent is measured as a share of it, on rows that
it has not seen. The walk has no best policy: an agent that earns there has been told the future.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from agents.checkpoint import Checkpoint
from agents.config import RunConfig
from agents.evaluation import evaluate, run
from agents.metrics import Track
from agents.policy import OnnxPolicy
from agents.scorecard import AGENT
from agents.statistics.verdict import LUCK, NOTHING, WORTH, Verdict
from agents.training import train
from envs.pipeline import Pipeline
from envs.synthetic import BASE_VOLUME, INSTRUMENT, Market, signal, walk
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.home import Home
from grid.spec import Spec
from tests.support import runs

ROWS, TRAIN_ROWS = 45_000, 30_000
STEPS = 12_288


@dataclass
class Learned:
    """An agent's run over unseen rows, and the env to run others in."""

    home: Home
    checkpoint: Path
    agent: Track
    verdict: Verdict

    def beside(self, make: Any) -> Track:
        """Run `make(env, spec)` over the same rows under the same costs."""
        policy = OnnxPolicy(Checkpoint.open(self.checkpoint))
        m = policy.checkpoint.manifest
        data = Dataset.find(self.home.datasets, runs.NAME)
        env = TradingEnv(data, policy.spec, m.venue, rows=m.data.test_rows)
        try:
            return run(env, make(env, policy.spec))
        finally:
            env.close()


class Oracle:
    """The best policy of a signal market: the sign of the signal, which is volume's."""

    def __init__(self, env: TradingEnv, spec: Spec) -> None:
        self.spec = spec
        self._at = (spec.window - 1) * len(spec.features) + spec.features.index("log_volume")

    def act(self, obs: NDArray[np.float32]) -> float:
        volume = float(obs[self._at]) * self.spec.std[0] + self.spec.mean[0]
        return 1.0 if volume > np.log1p(BASE_VOLUME) else -1.0


class Leak:
    """A policy that is shown the next row in place of this one."""

    def __init__(self, env: TradingEnv, spec: Spec) -> None:
        self.spec = spec
        lo = env._timeline.lo - Pipeline(spec).lookback + 1
        columns = {k: np.asarray(v[lo:]) for k, v in env.dataset.columns.items()}
        returns = Pipeline(spec).raw(columns)[:, spec.features.index("log_return:1")]
        self._next = iter(np.append(returns[1:], 0.0))

    def act(self, obs: NDArray[np.float32]) -> float:
        return 1.0 if next(self._next) > 0 else -1.0


def learn(root: Path, market: Market) -> Learned:
    home = runs.home_with_data(root, market.columns, INSTRUMENT)
    tree = runs.learning_tree(home, TRAIN_ROWS, total_steps=STEPS)
    checkpoint = train(msgspec.convert(tree, RunConfig), home, progress=False)
    found = evaluate(checkpoint, home, trials=24, out=root / "out")
    assert found.facts.verdict is not None
    return Learned(home, checkpoint, found.tracks[AGENT], found.facts.verdict)


def profit(track: Track) -> float:
    return float(track.equity[-1] - track.equity[0])


def t_of(steps: NDArray[np.float64]) -> float:
    spread = float(steps.std(ddof=1))
    return float(steps.mean()) / spread * np.sqrt(len(steps)) if spread > 0 else 0.0


def t_net(track: Track) -> float:
    return t_of(np.diff(track.equity))


def t_gross(track: Track) -> float:
    """Of what the positions earned, had they cost nothing."""
    return t_of(track.position_qty[1:] * np.diff(track.price))


@pytest.fixture(scope="module")
def on_signal(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return learn(tmp_path_factory.mktemp("signal"), signal(ROWS, seed=1))


@pytest.fixture(scope="module")
def on_walk(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return learn(tmp_path_factory.mktemp("walk"), walk(ROWS, seed=1))


def test_ppo_on_the_planted_signal_comes_close_to_the_oracle_on_unseen_rows(
    on_signal: Learned,
) -> None:
    oracle = on_signal.beside(Oracle)
    assert t_net(oracle) > 8, "the market has no signal worth its costs: the test says nothing"
    assert profit(on_signal.agent) / profit(oracle) >= 0.6
    assert t_net(on_signal.agent) > 8


def test_verdict_on_the_planted_signal_finds_it_and_on_the_walk_does_not(
    on_signal: Learned, on_walk: Learned
) -> None:
    found = on_signal.verdict
    assert found.grade == WORTH
    assert found.chance < 1e-6
    assert found.deflated > 0.999
    assert found.beside["untrained"].chance < 1e-3
    assert on_walk.verdict.grade in (NOTHING, LUCK)


def test_ppo_on_the_walk_finds_nothing(on_walk: Learned) -> None:
    assert t_net(on_walk.agent) < 2
    assert abs(t_gross(on_walk.agent)) < 3


def test_walk_a_leak_of_one_row_is_seen(on_walk: Learned) -> None:
    leak = on_walk.beside(Leak)
    assert t_net(leak) > 50
