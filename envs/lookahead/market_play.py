"""An episode of a `MarketEnv`, played and kept, and the same on another future."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.fills import MarketFill
from envs.lookahead.compare import bits
from envs.lookahead.report import Report
from envs.market import MarketEnv
from envs.views import View
from grid.dataset import to_iso

type Parts = dict[str, NDArray[np.float32]]

_APART = ("fills", "decision", "ts_event_ns")  # of info: compared as what they are


class Seen(NamedTuple):
    """Everything that an agent and its trainer get to see up to a time.

    Attributes:
        times_ns: of the decisions; the last one is the cut.
        obs: one a decision, in parts.
        masks: one a decision.
        rewards: of the steps.
        accounts: numbers of `info`, one row a decision.
        fills: each with the number of the step that reported it.
    """

    times_ns: list[int]
    obs: list[Parts]
    masks: list[NDArray[np.int8]]
    rewards: list[float]
    accounts: list[tuple[float, ...]]
    fills: list[tuple[int, MarketFill]]


def draw(env: MarketEnv, steps: int, seed: int) -> list[Any]:
    """Return random actions."""
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(steps)]


def play(env: MarketEnv, first: int, actions: Sequence[Any]) -> Seen:
    """Play from decision `first` until the actions are done or the account is ruined."""
    # the same seed on every future: fills may depend on chance
    obs, info = env.reset(seed=first, options={"decision": first})
    seen = Seen([], [], [], [], [], [])
    _keep(seen, env, obs, info)
    for k, action in enumerate(actions):
        obs, reward, terminated, truncated, info = env.step(action)
        seen.rewards.append(float(reward))
        seen.fills.extend((k, fill) for fill in info["fills"])
        _keep(seen, env, obs, info)
        if terminated or truncated:
            break
    return seen


def compare_episodes(views: Sequence[View], before: Seen, after: Seen, report: Report) -> None:
    """Compare bit for bit what was seen on two futures."""
    cut = to_iso(before.times_ns[-1])

    def said(k: int) -> str:
        at = to_iso(before.times_ns[min(k, len(before.times_ns) - 1)])
        return f"at {at} changes when only what comes after {cut} does"

    same = min(len(before.times_ns), len(after.times_ns))
    moved = len(before.times_ns) != len(after.times_ns)
    report.note("decisions", same, said(same) if moved else "")
    _compare_obs(views, before, after, report, said)
    rows: dict[str, tuple[Sequence[Any], Sequence[Any]]] = {
        "decisions": (before.times_ns, after.times_ns),
        "mask": (before.masks, after.masks),
        "account": (before.accounts, after.accounts),
        "reward": (before.rewards, after.rewards),
    }
    for what, (ours, theirs) in rows.items():
        pairs = enumerate(zip(ours, theirs, strict=False), what == "reward")
        odd = next((k for k, (a, b) in pairs if not _equal(a, b)), None)
        report.note(what, same, "" if odd is None else said(odd))
    filled = zip_longest(before.fills, after.fills)
    late = next((a or b for a, b in filled if a != b), None)
    report.note("fills", len(before.fills), "" if late is None else said(late[0] + 1))


def _compare_obs(
    views: Sequence[View], before: Seen, after: Seen, report: Report, said: Any
) -> None:
    shown = {view.name: view.pipeline.spec.features for view in views}
    odd: dict[str, str] = {}
    names = [f"feature {view}.{name}" for view, features in shown.items() for name in features]
    names += [part for part in before.obs[0] if part not in shown]
    for k, (ours, theirs) in enumerate(zip(before.obs, after.obs, strict=False)):
        for part, values in ours.items():
            differs = bits(values) != bits(theirs[part])
            if part in shown:
                columns = np.flatnonzero(differs.any(axis=0)).tolist()
                for column in columns:
                    odd.setdefault(f"feature {part}.{shown[part][column]}", said(k))
            elif differs.any():
                odd.setdefault(part, said(k))
    for name in names:
        report.note(name, len(before.obs), odd.get(name, ""))


def _keep(seen: Seen, env: MarketEnv, obs: Any, info: dict[str, Any]) -> None:
    seen.times_ns.append(info["ts_event_ns"])
    seen.obs.append(_parts(env, obs))
    seen.masks.append(env.action_masks())
    seen.accounts.append(tuple(_numbers(v for k, v in info.items() if k not in _APART)))


def _parts(env: MarketEnv, obs: Any) -> Parts:
    """An observation by its parts, also if it is one flat array."""
    if isinstance(obs, dict):
        return obs
    found: Parts = {}
    at = 0
    for view in env.views:
        size = view.shape[0] * view.shape[1]
        found[view.name] = obs[at : at + size].reshape(view.shape)
        at += size
    return {**found, "account": obs[at:]}


def _numbers(values: Iterable[Any]) -> Iterable[float]:
    for value in values:
        if isinstance(value, dict):
            yield from _numbers(value.values())
        else:
            yield float(value)


def _equal(ours: Any, theirs: Any) -> bool:
    return np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()
