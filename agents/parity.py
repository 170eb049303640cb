"""Do env, live and replay agree? Checks of a recorded run, each with a yes or no and the facts.

Everything is compared exactly: observations byte for byte, prices and fees as doubles.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.baselines import PREFIX
from agents.policy import Policy, load_policy
from envs import rerun
from envs.follower import Follower
from envs.pipeline import Pipeline
from grid.errors import CheckpointError
from grid.home import Home
from grid.transcript import Transcript


class Check(msgspec.Struct, frozen=True):
    """One comparison.

    Attributes:
        what: is compared with what.
        equal: whether all of it was.
        detail: how much was compared, or the first difference.
    """

    what: str
    equal: bool
    detail: str


def compare(run: Transcript, home: Home) -> list[Check]:
    """Return all checks of one recorded run, up to the first hole in its recording.

    Raises:
        CheckpointError: the checkpoint of an agent cannot be found.
        EngineError: the replay failed in the engine.
    """
    recording = _whole(run)
    run = run.before_hole()
    if run.by_hand is not None:  # nothing that follows is repeated, and nothing is said of it
        taken, run = len(run.decisions), run.before_manual_orders()
        said = f"{len(run.decisions)} of {taken} decisions compared, the rest is after it"
        recording = msgspec.structs.replace(
            recording,
            what=f"{recording.what}, to the first manual order",
            detail=f"{recording.detail}; {said}",
        )
    if not run.decisions:
        return [recording]
    live = rerun.recorded(run)
    again = rerun.rerun(run)
    checks = [check for agent in run.agents for check in _agent(run, agent, home)]
    checks += [
        _sequence("orders: live = replay", live.orders, again.orders),
        _sequence("fills: live = replay", live.fills, again.fills),
        _value("cash: live = replay", live.cash, again.cash),
        _value("position: live = replay", live.position_qty, again.position_qty),
    ]
    run = run.before_intervention()  # an env knows no person who intervenes, and no limits
    if not run.decisions or run.restored is not None:  # nor does it begin with a position
        return [*checks, recording]
    live = rerun.recorded(run)
    steps, fills = rerun.as_env(run)
    champion = run.actions_of(run.agents[0]) if run.agents else {}
    seen = [(s.seq, s.obs) for s in steps if s.seq in champion]
    wanted = [(seq, action.obs) for seq, action in sorted(champion.items()) if seq >= steps[0].seq]
    checks.append(_sequence("observations: live = env", wanted, seen))
    equity = [(s.seq, s.equity) for s in steps if s.seq in run.decisions]
    checks.append(
        _sequence(
            "equity: live = env",
            [(seq, run.decisions[seq].account.equity) for seq, _ in equity],
            equity,
        )
    )
    until_ns = rerun.still_ns(run)
    anonymous = [
        filled._replace(client_order_id="")
        for fill, filled in zip(run.fills, live.fills, strict=True)
        if fill.ts_market_ns < until_ns
    ]
    checks.append(_sequence("fills: live = env", anonymous, fills))
    return [*checks, recording]


def observations(run: Transcript) -> dict[int, bytes]:
    """Return what an agent sees at each decision, computed from the recorded rows.

    Only at decisions for which there were rows enough.
    """
    follower = Follower(Pipeline(run.spec))
    found: dict[int, bytes] = {}
    rows = iter(run.rows)
    for seq, decision in sorted(run.decisions.items()):
        while follower.rows < decision.market_seq:
            follower.push(next(rows))
        if follower.ready:
            found[seq] = follower.observe(decision.account).astype("<f4").tobytes()
    return found


def find_policy(run: Transcript, agent: str, home: Home) -> Policy:
    """Return the policy that an agent joined with, from the checkpoints in the home folder.

    Raises:
        CheckpointError: it is not there.
    """
    return _policy(run.policy_of(agent), agent, run, home)


def _policy(name: str, agent: str, run: Transcript, home: Home) -> Policy:
    if name.startswith(PREFIX):
        return load_policy(name, run.spec)
    found: list[Path] = []
    if name:
        kept = home.models / "checkpoints" / name
        found = [*home.runs.glob(f"*/checkpoints/{name}"), *([kept] if kept.is_dir() else [])]
    if not found:
        raise CheckpointError(
            f"agent {agent}: checkpoint {name or 'unknown'} expected in {home.runs} or "
            f"{home.models}, found none"
        )
    return load_policy(found[0], run.spec)


def render(checks: Sequence[Check]) -> str:
    """Return the checks as a table."""
    width = max(len(c.what) for c in checks)
    return "\n".join(
        f"{'equal ' if c.equal else 'DIFFER'}  {c.what:<{width}}  {c.detail}" for c in checks
    )


def _whole(run: Transcript) -> Check:
    if not run.missing:
        return Check("recording: whole", True, "no event missing")
    compared = len(run.before_hole().decisions)
    return Check(
        "recording: whole",
        False,
        f"{run.missing} events missing; compared up to the first hole, {compared} of "
        f"{len(run.decisions)} decisions",
    )


def _agent(run: Transcript, agent: str, home: Home) -> list[Check]:
    acted = run.actions_of(agent)
    computed = observations(run)
    seqs = sorted(seq for seq in acted if seq in computed)
    checks = [
        _sequence(
            f"observations: {agent} = replay",
            [(seq, acted[seq].obs) for seq in sorted(acted)],
            [(seq, computed[seq]) for seq in seqs],
        )
    ]
    joined = run.policy_of(agent)
    used = {seq: acted[seq].policy or joined for seq in seqs}  # it may have changed on the way
    policies = {name: _policy(name, agent, run, home) for name in {*used.values()} or {joined}}
    targets = [
        (seq, policies[used[seq]].act(np.frombuffer(acted[seq].obs, dtype="<f4"))) for seq in seqs
    ]
    checks.append(
        _sequence(
            f"actions: {agent} = replay",
            [(seq, acted[seq].target) for seq in sorted(acted)],
            targets,
        )
    )
    return checks


def _sequence(what: str, recorded: Sequence[Any], again: Sequence[Any]) -> Check:
    if len(recorded) != len(again):
        return Check(what, False, f"{len(recorded)} recorded, {len(again)} again")
    for i, (a, b) in enumerate(zip(recorded, again, strict=True)):
        if a != b:
            return Check(
                what, False, f"item {i + 1} of {len(recorded)}: {_short(a)} != {_short(b)}"
            )
    return Check(what, True, f"{len(recorded)} compared")


def _value(what: str, recorded: float, again: float) -> Check:
    return Check(what, recorded == again, f"{recorded!r} and {again!r}")


def _short(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= 120 else f"{text[:117]}..."
