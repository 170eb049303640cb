"""Do env, live and replay agree? Checks of a recorded run, each with a yes or no and the facts.

Everything is compared exactly: observations byte for byte, prices and fees as doubles.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agents.answers import again
from agents.baselines import PREFIX
from agents.policy import Policy, load_policy
from envs import rerun
from envs.follower import Follower
from envs.pipeline import Pipeline
from grid.errors import CheckpointError
from grid.home import Home
from grid.limits import Limits
from grid.rejudging import rejudge
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
    checks.append(_sequence("orders: live = replay", live.orders, again.orders))
    if is_by_chance(run):
        detail = "not compared: by chance, drawn since the run's beginning, which is not here"
        checks.append(Check("fills: live = replay", True, detail))
    else:
        checks += [
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


def is_by_chance(run: Transcript) -> bool:
    """Whether the prices of a run's fills depend on draws before its recording was cut."""
    return run.base is not None and run.venue.draws


def judged(run: Transcript, limits: Limits | None) -> tuple[Check, list[str]]:
    """Return whether gate and limits judge all actions as they did, and each difference.

    Args:
        run: from its beginning; of one that was cut nothing is compared.
        limits: of the node; None if they are not known.
    """
    compared, differences = rejudge(run.before_hole(), limits)
    detail = differences[0] if differences else f"{compared} compared"
    return Check("answers, limits: live = again", not differences, detail), differences


def observations(run: Transcript) -> dict[int, bytes]:
    """Return what an agent sees at each decision, computed from the recorded rows.

    Only at decisions for which there were rows enough.
    """
    follower = Follower(Pipeline(run.spec))
    found: dict[int, bytes] = {}
    rows = iter(run.rows)
    for seq, decision in sorted(run.decisions.items()):
        while run.rows_before + follower.rows < decision.market_seq:
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
    if not name:
        raise CheckpointError(f"agent {agent}: expected to know its checkpoint, found none told")
    return load_policy(find_checkpoint(name, home), run.spec)


def find_checkpoint(name: str, home: Home) -> Path:
    """Return where the checkpoint of a digest lies in the home folder.

    Raises:
        CheckpointError: it is not there.
    """
    kept = home.models / "checkpoints" / name
    found = [*home.runs.glob(f"*/checkpoints/{name}"), *([kept] if kept.is_dir() else [])]
    if not found:
        raise CheckpointError(
            f"checkpoint {name} expected in {home.runs} or {home.models}, found none"
        )
    return found[0]


def policies(run: Transcript) -> set[str]:
    """Return the policies that acted: digests of checkpoints, and baseline:NAME."""
    told = {acted.action.policy for acted in run.acted} - {""}
    return told | {run.policy_of(agent) for agent in run.agents}


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
    names = {a.action.policy or joined for a in run.acted if a.action.agent_id == agent}
    policies = {name: _policy(name, agent, run, home) for name in names or {joined}}
    told = again(run, agent, policies)
    untold = {seq for seq in seqs if seq not in told}  # of a memory that is not in the recording
    check = _sequence(
        f"actions: {agent} = replay",
        [(seq, acted[seq].target) for seq in sorted(acted) if seq not in untold],
        [(seq, told[seq]) for seq in seqs if seq in told],
    )
    if untold:
        said = f"{check.detail}; {len(untold)} rest on a memory that was not recorded"
        check = msgspec.structs.replace(check, detail=said)
    return [*checks, check]


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
